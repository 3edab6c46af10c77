"""The tables. Times for people are ISO 8601 in UTC; times that are compared are seconds since 1970; JSON is canonical text."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

from potato.store.packed import Packed

metadata: Final = MetaData()

ACCEPTED: Final = text("delivery.state = 'accepted'")
UNREADY: Final = text("run.state = 'queued' AND run.ready = 0")
INTENDED: Final = text("effect.state = 'intended'")
"""Conditions of partial indexes, word for word: SQLite uses such an index only for a query that says the same without parameters."""

_REPOSITORY = String(201)
_TIME = String(40)

delivery: Final = Table(
    "delivery",
    metadata,
    Column("delivery_id", String(200), primary_key=True),
    Column("event", String(64), nullable=False),
    Column("source", String(20), nullable=False),
    Column("received_at", _TIME, nullable=False, index=True),
    Column("body_digest", String(80), nullable=False),
    Column("body", Packed, nullable=False),
    # where it is on its way: see potato.ports.hub.DeliveryState
    Column("state", String(12), nullable=False, server_default="decided"),
    Column("repository", _REPOSITORY),
    Column("head_sha", String(64)),
    Column("config_digest", String(80)),
    # what makes it the same as another: both unique where present
    Column("same_body", String(80)),
    Column("same_event", String(80)),
    # of those still to be decided
    Column("hub", String(80)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("turn", Double, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    Index("delivery_head", "repository", "head_sha"),
    Index("delivery_same_body", "same_body", unique=True, sqlite_where=text("same_body IS NOT NULL"),
          postgresql_where=text("same_body IS NOT NULL")),
    Index("delivery_same_event", "same_event", unique=True, sqlite_where=text("same_event IS NOT NULL"),
          postgresql_where=text("same_event IS NOT NULL")),
    Index("delivery_accepted", "turn", sqlite_where=text("state = 'accepted'"), postgresql_where=text("state = 'accepted'")),
    Index("delivery_hub", "hub", sqlite_where=text("hub IS NOT NULL"), postgresql_where=text("hub IS NOT NULL")),
)  # fmt: skip
decision: Final = Table(
    "decision",
    metadata,
    Column("delivery_id", String(200), ForeignKey("delivery.delivery_id"), primary_key=True),
    Column("config_digest", String(80), nullable=False),
    Column("decided_at", _TIME, nullable=False),
    Column("body", Text, nullable=False),
)
run: Final = Table(
    "run",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("delivery_id", String(200), ForeignKey("delivery.delivery_id"), nullable=False, index=True),
    Column("agent", String(80), nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rules", Text, nullable=False),
    Column("priority", String(10), nullable=False),
    Column("repository", _REPOSITORY),
    Column("number", BigInteger),
    Column("created_at", _TIME, nullable=False, index=True),
    Column("updated_at", _TIME, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("summary", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    Column("log", Text, nullable=False),
    # what it is bound to
    Column("config_digest", String(80), nullable=False, server_default=""),
    Column("head_sha", String(64)),
    Column("occurred_at", _TIME),
    Column("after", Text, nullable=False, server_default="[]"),
    # waiting: for guards or until a time (`ready` 0), then in a lane (`ready` 1)
    Column("ready", Integer, nullable=False, server_default="0"),
    Column("not_before", Double),
    Column("delay_s", Double, nullable=False, server_default="0"),
    Column("lane", Integer),
    Column("tag", Double),
    Column("queued_at", Double),
    # working: `worker` holds it, `judged` says that its proposals are kept, and `lost` counts processes that died while its agent ran
    Column("worker", String(80)),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("judged", Integer, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    Column("stop_state", String(20)),
    Column("stop_reason", Text),
    # where it comes from, and what it used
    Column("actor", String(100)),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("lineage", Text, nullable=False, server_default="[]"),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("micros", BigInteger, nullable=False, server_default="0"),
    Column("expires_at", Double),
    Column("model", String(200)),
    # the agents of `any_of` that it was placed among, and who let it work as if its event were trusted
    Column("equals", Text, nullable=False, server_default="[]"),
    Column("lifted_by", String(100)),
    Index("run_in_lane", "lane", "tag", sqlite_where=text("tag IS NOT NULL"), postgresql_where=text("tag IS NOT NULL")),
    Index("run_of_worker", "worker", sqlite_where=text("worker IS NOT NULL"), postgresql_where=text("worker IS NOT NULL")),
    Index("run_due", "not_before", sqlite_where=text("not_before IS NOT NULL"), postgresql_where=text("not_before IS NOT NULL")),
    Index("run_unready", "agent", sqlite_where=text("state = 'queued' AND ready = 0"),
          postgresql_where=text("state = 'queued' AND ready = 0")),
    Index("run_subject", "repository", "number", "agent"),
    Index("run_agent_started", "agent", "started_at"),
    Index("run_expiring", "expires_at", sqlite_where=text("expires_at IS NOT NULL"), postgresql_where=text("expires_at IS NOT NULL")),
)  # fmt: skip
transcript: Final = Table(
    "transcript",
    metadata,
    Column("run_id", String(80), ForeignKey("run.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", _TIME, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("body", Text, nullable=False),
)
"""What agents did, event by event."""

proposal: Final = Table(
    "proposal",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("run_id", String(80), ForeignKey("run.id"), nullable=False, index=True),
    Column("kind", String(64), nullable=False),
    Column("args", Text, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", String(80), nullable=False),
)
effect: Final = Table(
    "effect",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("run_id", String(80), ForeignKey("run.id"), nullable=False, index=True),
    Column("proposal_id", String(100), ForeignKey("proposal.id"), nullable=False),
    Column("state", String(20), nullable=False),
    Column("detail", Text, nullable=False),
    Column("url", Text),
    Column("at", _TIME, nullable=False),
    Column("actor", String(100), nullable=False, server_default=""),
    Column("begun_at", Double, nullable=False, server_default="0"),
    Index("effect_begun", "begun_at", sqlite_where=text("state = 'intended'"), postgresql_where=text("state = 'intended'")),
)  # fmt: skip
lane: Final = Table(
    "lane",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("repository", _REPOSITORY, nullable=False),
    Column("agent", String(80), nullable=False),
    Column("priority", String(10), nullable=False),
    Column("head", Double),
    Column("waiting", Integer, nullable=False),
    Column("blocked_by", Text, nullable=False, server_default=""),
    Column("held", Integer, nullable=False, server_default="0"),
    Index("lane_key", "repository", "agent", "priority", unique=True),
    Index("lane_waiting", "head", sqlite_where=text("head IS NOT NULL"), postgresql_where=text("head IS NOT NULL")),
)
"""Runs of one repository, agent and priority that wait for a slot; `head` is the least tag among them.

`held` says that a guard, a pause or a budget keeps them.
"""

flow: Final = Table(
    "flow",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("priority", String(10), primary_key=True),
    Column("tag", Double, nullable=False),
)
"""The last tag given in each repository and priority."""

admission: Final = Table(
    "admission",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("virtual", Double, nullable=False),
)
"""One row: the virtual time. Who releases runs locks it."""

worker: Final = Table(
    "worker",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("host", String(255), nullable=False),
    Column("version", String(40), nullable=False),
    Column("agents", Text),
    Column("slots", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("seen_at", _TIME, nullable=False),
)
"""Leases: a process counts `beat` up while it lives."""

agent_health: Final = Table(
    "agent_health",
    metadata,
    Column("agent", String(80), primary_key=True),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("in_a_row", Integer, nullable=False),
    Column("unhealthy_until", Double, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("last_run_at", _TIME),
)
head_report: Final = Table(
    "head_report",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("head_sha", String(64), primary_key=True),
    Column("delivery_id", String(200), nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("posted", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=False, server_default=""),
    Index("head_report_due", "not_before", sqlite_where=text("wanted > posted"), postgresql_where=text("wanted > posted")),
)
"""Check runs to write: one for each commit; `wanted` counts changes, `posted` is the last one told."""

config: Final = Table(
    "config",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("file", Text, nullable=False),
    Column("files", LargeBinary, nullable=False),
    Column("kept_at", _TIME, nullable=False),
)
"""Every config that decided something, with its files, so that any worker can run what it decided."""

mark: Final = Table(
    "mark",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""Positions of the background jobs: the next time of a schedule, the last delivery looked at."""

trace: Final = Table(
    "trace",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("effect_key", String(100), nullable=False),
    Column("run_id", String(80), nullable=False, index=True),
    Column("actor", String(100), nullable=False),
    Column("at", Double, nullable=False),
)
"""What effects left on the forge (a comment, a commit, a label), by which an event finds the run that caused it."""

notice: Final = Table(
    "notice",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("topic", String(200), primary_key=True),
    Column("text", Text, nullable=False),
    Column("delivery_id", String(200), nullable=False),
    Column("run_id", String(80), nullable=False),
    Column("posted", Integer, nullable=False, server_default="0"),
    Column("not_before", Double, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=False, server_default=""),
    Index("notice_due", "not_before", sqlite_where=text("posted = 0"), postgresql_where=text("posted = 0")),
)
"""What is said on a pull request or issue, once for each topic."""

pause: Final = Table(
    "pause",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("repository", _REPOSITORY),
    Column("agent", String(80)),
    Column("mode", String(10), nullable=False),
    Column("note", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", _TIME, nullable=False),
    Column("until", Double),
    Column("ended_at", _TIME),
    Column("ended_by", String(200)),
)
override: Final = Table(
    "override",
    metadata,
    Column("guard", String(300), primary_key=True),
    Column("by", String(200), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("until", Double, nullable=False),
)
"""Guards that a person has set aside for a time."""

guard_state: Final = Table(
    "guard_state",
    metadata,
    Column("guard", String(300), primary_key=True),
    Column("holds", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", _TIME, nullable=False),
    Column("until", Double),
)
ci_outcome: Final = Table(
    "ci_outcome",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("repository", _REPOSITORY, nullable=False),
    Column("at", Double, nullable=False, index=True),
    Column("outcome", String(20), nullable=False),
)
"""How workflow runs ended: `ok`, `own` (the code's fault), or a class of infrastructure failure."""

budget: Final = Table(
    "budget",
    metadata,
    Column("scope", String(300), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("micros", BigInteger, nullable=False),
)
"""What is spent or reserved, by scope and UTC day (no day: for ever)."""

reservation: Final = Table(
    "reservation",
    metadata,
    Column("run_id", String(80), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("scopes", Text, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("open", Integer, nullable=False),
)
approval: Final = Table(
    "approval",
    metadata,
    Column("proposal_id", String(100), primary_key=True),
    Column("approver", String(100), primary_key=True),
    Column("answer", String(10), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("source", String(300), nullable=False),
    Column("at", Double, nullable=False),
    Column("used", Integer, nullable=False, server_default="0"),
)
"""What people answered to a proposal, bound to its digest."""

repository_config: Final = Table(
    "repository_config",
    metadata,
    Column("repository", String(201), primary_key=True),
    Column("sha", String(64), nullable=False),
    Column("own", String(80), nullable=False),
    Column("problem", Text, nullable=False),
    Column("problem_sha", String(64), nullable=False),
    Column("version", BigInteger, nullable=False),
)
"""Which config of a repository is in use: `own` is the digest its files are kept under in `config`. The empty name is the hub's own."""
