"""What the hub needs: states of deliveries, lanes, workers, configs, reports. The log is append-only on Postgres too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_DELIVERY = (
    sa.Column("state", sa.String(12), nullable=False, server_default="decided"),
    sa.Column("repository", sa.String(201)),
    sa.Column("head_sha", sa.String(64)),
    sa.Column("config_digest", sa.String(80)),
    sa.Column("same_body", sa.String(80)),
    sa.Column("same_event", sa.String(80)),
    sa.Column("hub", sa.String(80)),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Double, nullable=False, server_default="0"),
    sa.Column("turn", sa.Double, nullable=False, server_default="0"),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)
_RUN = (
    sa.Column("config_digest", sa.String(80), nullable=False, server_default=""),
    sa.Column("head_sha", sa.String(64)),
    sa.Column("occurred_at", sa.String(40)),
    sa.Column("after", sa.Text, nullable=False, server_default="[]"),
    sa.Column("ready", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Double),
    sa.Column("delay_s", sa.Double, nullable=False, server_default="0"),
    sa.Column("lane", sa.Integer),
    sa.Column("tag", sa.Double),
    sa.Column("queued_at", sa.Double),
    sa.Column("worker", sa.String(80)),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("judged", sa.Integer, nullable=False, server_default="0"),
    sa.Column("stop_state", sa.String(20)),
    sa.Column("stop_reason", sa.Text),
)


def upgrade() -> None:
    """Add columns and their indexes, then the new tables."""
    for column in _DELIVERY:
        op.add_column("delivery", column)
    for column in _RUN:
        op.add_column("run", column)
    op.create_index("ix_delivery_received_at", "delivery", ["received_at"])
    op.create_index("delivery_head", "delivery", ["repository", "head_sha"])
    _partial("delivery_same_body", "delivery", ["same_body"], "same_body IS NOT NULL", unique=True)
    _partial("delivery_same_event", "delivery", ["same_event"], "same_event IS NOT NULL", unique=True)
    _partial("delivery_accepted", "delivery", ["turn"], "state = 'accepted'")
    _partial("delivery_hub", "delivery", ["hub"], "hub IS NOT NULL")
    _partial("run_in_lane", "run", ["lane", "tag"], "tag IS NOT NULL")
    _partial("run_of_worker", "run", ["worker"], "worker IS NOT NULL")
    _partial("run_due", "run", ["not_before"], "not_before IS NOT NULL")
    _partial("run_unready", "run", ["agent"], "state = 'queued' AND ready = 0")
    op.create_index("run_subject", "run", ["repository", "number", "agent"])
    op.create_index("run_agent_started", "run", ["agent", "started_at"])
    _queue()
    _processes()
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("run", "number", type_=sa.BigInteger)
        op.execute(
            "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
        )


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _queue() -> None:
    op.create_table(
        "lane",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("repository", sa.String(201), nullable=False),
        sa.Column("agent", sa.String(80), nullable=False),
        sa.Column("priority", sa.String(10), nullable=False),
        sa.Column("head", sa.Double),
        sa.Column("waiting", sa.Integer, nullable=False),
        sa.Column("blocked_by", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("lane_key", "lane", ["repository", "agent", "priority"], unique=True)
    _partial("lane_waiting", "lane", ["head"], "head IS NOT NULL")
    op.create_table(
        "flow",
        sa.Column("repository", sa.String(201), primary_key=True),
        sa.Column("priority", sa.String(10), primary_key=True),
        sa.Column("tag", sa.Double, nullable=False),
    )
    admission = op.create_table(
        "admission",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("virtual", sa.Double, nullable=False),
    )
    op.bulk_insert(admission, [{"id": 1, "virtual": 0.0}])


def _processes() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("agents", sa.Text),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.String(40), nullable=False),
    )
    op.create_table(
        "agent_health",
        sa.Column("agent", sa.String(80), primary_key=True),
        sa.Column("succeeded", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("in_a_row", sa.Integer, nullable=False),
        sa.Column("unhealthy_until", sa.Double, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("last_run_at", sa.String(40)),
    )
    op.create_table(
        "head_report",
        sa.Column("repository", sa.String(201), primary_key=True),
        sa.Column("head_sha", sa.String(64), primary_key=True),
        sa.Column("delivery_id", sa.String(200), nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("posted", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
    )
    _partial("head_report_due", "head_report", ["not_before"], "wanted > posted")
    op.create_table(
        "config",
        sa.Column("digest", sa.String(80), primary_key=True),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("files", sa.LargeBinary, nullable=False),
        sa.Column("kept_at", sa.String(40), nullable=False),
    )
    op.create_table(
        "mark",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
