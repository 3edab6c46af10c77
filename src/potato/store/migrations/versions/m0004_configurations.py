"""Which configs of repositories are in use, and how often a run was lost with its process; guards are named after repositories."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table, and widen names; SQLite has no widths."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("guard_state", "override"):
            op.alter_column(table, "guard", type_=sa.String(300))
    op.add_column("run", sa.Column("lost", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "repository_config",
        sa.Column("repository", sa.String(201), primary_key=True),
        sa.Column("sha", sa.String(64), nullable=False),
        sa.Column("own", sa.String(80), nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("problem_sha", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_repository_config_version", "repository_config", ["version"])
