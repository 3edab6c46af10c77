"""What control needs: lineage, pauses, guards' states, budgets, approvals, notices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_RUN = (
    sa.Column("actor", sa.String(100)),
    sa.Column("depth", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lineage", sa.Text, nullable=False, server_default="[]"),
    sa.Column("tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("micros", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("expires_at", sa.Double),
)


def upgrade() -> None:
    """Add columns, then the new tables."""
    for column in _RUN:
        op.add_column("run", column)
    op.add_column("lane", sa.Column("held", sa.Integer, nullable=False, server_default="0"))
    op.add_column("effect", sa.Column("actor", sa.String(100), nullable=False, server_default=""))
    op.add_column("effect", sa.Column("begun_at", sa.Double, nullable=False, server_default="0"))
    _partial("effect_begun", "effect", ["begun_at"], "state = 'intended'")
    _partial("run_expiring", "run", ["expires_at"], "expires_at IS NOT NULL")
    _said()
    _holding()
    _spending()


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _said() -> None:
    op.create_table(
        "trace",
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("effect_key", sa.String(100), nullable=False),
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("ix_trace_run_id", "trace", ["run_id"])
    op.create_table(
        "notice",
        sa.Column("repository", sa.String(201), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("topic", sa.String(200), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("delivery_id", sa.String(200), nullable=False),
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("posted", sa.Integer, nullable=False, server_default="0"),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
    )
    _partial("notice_due", "notice", ["not_before"], "posted = 0")


def _holding() -> None:
    op.create_table(
        "pause",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("repository", sa.String(201)),
        sa.Column("agent", sa.String(80)),
        sa.Column("mode", sa.String(10), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("until", sa.Double),
        sa.Column("ended_at", sa.String(40)),
        sa.Column("ended_by", sa.String(200)),
    )
    op.create_table(
        "override",
        sa.Column("guard", sa.String(80), primary_key=True),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_table(
        "guard_state",
        sa.Column("guard", sa.String(80), primary_key=True),
        sa.Column("holds", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.String(40), nullable=False),
        sa.Column("until", sa.Double),
    )
    op.create_table(
        "ci_outcome",
        sa.Column("id", sa.String(300), primary_key=True),
        sa.Column("repository", sa.String(201), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
    )
    op.create_index("ix_ci_outcome_at", "ci_outcome", ["at"])


def _spending() -> None:
    op.create_table(
        "budget",
        sa.Column("scope", sa.String(300), primary_key=True),
        sa.Column("period", sa.String(10), primary_key=True),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("micros", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "reservation",
        sa.Column("run_id", sa.String(80), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("micros", sa.BigInteger, nullable=False),
        sa.Column("open", sa.Integer, nullable=False),
    )
    op.create_table(
        "approval",
        sa.Column("proposal_id", sa.String(100), primary_key=True),
        sa.Column("approver", sa.String(100), primary_key=True),
        sa.Column("answer", sa.String(10), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("source", sa.String(300), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("used", sa.Integer, nullable=False, server_default="0"),
    )
