"""The tables. Times are ISO 8601 in UTC; JSON is canonical text."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text

metadata: Final = MetaData()

delivery: Final = Table(
    "delivery",
    metadata,
    Column("delivery_id", String(200), primary_key=True),
    Column("event", String(64), nullable=False),
    Column("source", String(20), nullable=False),
    Column("received_at", String(40), nullable=False),
    Column("body_digest", String(80), nullable=False),
    Column("body", LargeBinary, nullable=False),
)
decision: Final = Table(
    "decision",
    metadata,
    Column("delivery_id", String(200), ForeignKey("delivery.delivery_id"), primary_key=True),
    Column("config_digest", String(80), nullable=False),
    Column("decided_at", String(40), nullable=False),
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
    Column("repository", String(200)),
    Column("number", Integer),
    Column("created_at", String(40), nullable=False, index=True),
    Column("updated_at", String(40), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("summary", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    Column("log", Text, nullable=False),
)
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
    Column("at", String(40), nullable=False),
)
