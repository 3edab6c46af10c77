"""What agents did, which models they asked, among which equals a run was placed, and who lifted it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("run", sa.Column("equals", sa.Text, nullable=False, server_default="[]"))
    op.add_column("run", sa.Column("model", sa.String(200)))
    op.add_column("run", sa.Column("lifted_by", sa.String(100)))
    op.create_table(
        "transcript",
        sa.Column("run_id", sa.String(80), sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
