"""The first tables: deliveries, decisions, runs, proposals, effects, and the audit log."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything; on SQLite, triggers keep the log append-only."""
    op.create_table(
        "delivery",
        sa.Column("delivery_id", sa.String(200), primary_key=True),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("received_at", sa.String(40), nullable=False),
        sa.Column("body_digest", sa.String(80), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "decision",
        sa.Column("delivery_id", sa.String(200), sa.ForeignKey("delivery.delivery_id"), primary_key=True),
        sa.Column("config_digest", sa.String(80), nullable=False),
        sa.Column("decided_at", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("delivery_id", sa.String(200), sa.ForeignKey("delivery.delivery_id"), nullable=False, index=True),
        sa.Column("agent", sa.String(80), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("priority", sa.String(10), nullable=False),
        sa.Column("repository", sa.String(200)),
        sa.Column("number", sa.Integer),
        sa.Column("created_at", sa.String(40), nullable=False, index=True),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
    )
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("run_id", sa.String(80), sa.ForeignKey("run.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
    )
    op.create_table(
        "effect",
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("run_id", sa.String(80), sa.ForeignKey("run.id"), nullable=False, index=True),
        sa.Column("proposal_id", sa.String(100), sa.ForeignKey("proposal.id"), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("at", sa.String(40), nullable=False),
    )
    _audit()


def _audit() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "size": 0, "root": hashlib.sha256(b"").digest(), "frontier": b""}])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entry_no_{verb.lower()} BEFORE {verb} ON audit_entry "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
