"""What people and configs choose fits into either database."""

from __future__ import annotations

from datetime import UTC, datetime

from potato.audit.log import append
from potato.bootstrap import SystemClock
from potato.hub.entries import run_entry
from potato.hub.guards import passage
from potato.ports.control import GuardState, Override
from potato.store.database import Database
from potato.store.engine import open_engine
from potato.store.switch import SqlSwitch, SqlWatchtower


def test_the_guard_of_a_repository_with_the_longest_names(database: str) -> None:
    """A name that did not fit would keep the guards of all from being kept, and so hold everything."""
    name = f"{'o' * 39}/{'r' * 100}/{'g' * 80}"
    engine = open_engine(database)
    tables = Database(engine, append, SystemClock())
    tower, switch = SqlWatchtower(tables), SqlSwitch(tables, run_entry, passage)
    tower.note([GuardState(name, holds=True, reason="frozen", since="2026", until=None)])
    switch.override(Override(name, "alice", "now", datetime.now(UTC).isoformat(), datetime.now(UTC).timestamp() + 60))
    assert [(state.guard, state.overridden) for state in tower.states()] == [(name, "alice")]
    engine.dispose()
