"""What control costs a run: lineage, caps and budgets on each database beside the same hub without them, and all guards for one event.

`--runs N` (default 150) a round, `--rounds N` (default 5), in turns so that a noisy minute meets all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _measure import Result, keep, result, show
from _postgres import cluster
from sqlalchemy import Connection, insert

from potato.audit.log import append
from potato.bootstrap import SystemClock
from potato.config.calendar import Weekly
from potato.config.controls import Guard
from potato.core.admission import Limits, choose
from potato.core.budget import Budgets, Limit
from potato.core.hold import Reach
from potato.core.infrastructure import Health, Outcome
from potato.core.lineage import Caps, Track
from potato.hub.entries import run_entry
from potato.hub.guards import passage
from potato.hub.watchman import Watchman
from potato.ports import Cause, Entry, Plan, RunRecord
from potato.ports.control import GuardState, Override
from potato.store import tables as t
from potato.store.database import Database
from potato.store.engine import open_engine
from potato.store.queue import SqlQueue
from potato.store.runs import Runs
from potato.store.sql import SqlStore

MOST = Limit(10**9, 10**12, 10**15)
BUDGETS = Budgets("USD", Limit(None, 1000, 10_000), {}, MOST, MOST, MOST, MOST)


class Uncut(Runs):
    """The same hub without caps."""

    def _cut(self, tx: Any, run: RunRecord, caps: Caps) -> RunRecord:  # noqa: ANN401, ARG002 - as in Runs
        return run


def nothing(_connection: Connection, _run_id: str, _attempt: int, _worker: str) -> None:
    """The durable engine is measured elsewhere."""


class Budgeted:
    """The same budgets everywhere, and nothing else."""

    def rates(self) -> Mapping[str, tuple[int, float]]:
        """None."""
        return {}

    def cooldown_s(self, repository: str | None, agent: str) -> float:  # noqa: ARG002 - the port's face
        """None."""
        return 0.0

    def budgets(self, repository: str | None) -> Budgets:  # noqa: ARG002 - the port's face
        """Of the benchmark."""
        return BUDGETS


class Side:
    """One database with, or without, control."""

    def __init__(self, url: str, *, controlled: bool) -> None:
        self.engine = open_engine(url)
        database = Database(self.engine, append, SystemClock())
        self.store = SqlStore(database, run_entry, passage, queue=True)
        if not controlled:
            self.store._runs = Uncut(run_entry, passage, queue=True)  # noqa: SLF001  # type: ignore[reportPrivateUsage] # the baseline
        self.queue = SqlQueue(database, run_entry, passage, nothing, Budgeted() if controlled else None)
        self.controlled = controlled
        self.count = 0
        now = datetime.now(UTC).isoformat()
        with self.engine.begin() as connection:
            connection.execute(
                insert(t.worker).values(id="w", kind="worker", host="h", version="0", slots=10**6, state="live", beat=0, seen_at=now)
            )

    def one(self) -> None:
        """An event is decided into a run, and the run is released."""
        self.count += 1
        now, name = datetime.now(UTC), f"d{self.count}"
        run = RunRecord(
            id=f"run_{self.count}", agent="a", state="queued", reason="", delivery_id=name, rules=("r",), priority="normal",
            repository="octo/demo", number=self.count, created_at=now, updated_at=now, head_sha="f" * 40, occurred_at="2026",
        )  # fmt: skip
        entry = Entry("decision", {"delivery_id": name})
        tracks = [Track(f"comment:{self.count}"), Track("commit:x", ours_only=False)]
        cause = Cause(tracks, "alice", "octo/demo", patient=True) if self.controlled else None
        self.store.plan(Plan(name, "c", {}, entry, frozenset(), Caps(), lambda _loads, _lineage: [run], cause))
        assert len(self.queue.admit(lambda snapshot: choose(snapshot, Limits()))) == 1

    def round(self, runs: int) -> float:
        """Milliseconds a run."""
        with self.engine.begin() as connection:
            connection.execute(
                insert(t.delivery),
                [
                    {"delivery_id": f"d{self.count + n}", "event": "push", "source": "file", "received_at": "2026", "body_digest": "x",
                     "body": b"{}"}
                    for n in range(1, runs + 1)
                ],
            )  # fmt: skip
        begun = time.perf_counter()
        for _ in range(runs):
            self.one()
        took = (time.perf_counter() - begun) * 1000 / runs
        with self.engine.begin() as connection:  # what is released does not run here
            connection.execute(t.run.update().values(worker=None, state="succeeded"))
        return took


class Facts:
    """What guards ask, at hand."""

    def __init__(self) -> None:
        now = time.time()
        self.seen = [Outcome(now - n, "ok" if n % 3 else "network") for n in range(200)]

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    def overrides(self) -> list[Override]:
        """None."""
        return []

    def note(self, states: list[GuardState]) -> None:
        """Kept nowhere."""

    def outcomes(self, _since: float, _repositories: tuple[str, ...]) -> list[Outcome]:
        """Two hundred."""
        return self.seen

    async def incident(self, _url: str) -> str | None:
        """All is well."""
        return None


async def guards(rounds: int) -> list[float]:
    """Microseconds to ask ten guards once."""
    facts: Any = Facts()
    ten = [Guard(f"g{n}", Reach(), freeze=Weekly(4, 18, 0, 0, 6, 0, "Europe/Berlin")) for n in range(5)]
    ten += [replace(ten[0], name=f"h{n}", freeze=None, health=Health(), status="http://s") for n in range(5)]
    man = Watchman(lambda: ten, facts, facts, facts, facts, lambda: None)
    samples: list[float] = []
    for _ in range(rounds * 20):
        begun = time.perf_counter()
        await man.look()
        samples.append((time.perf_counter() - begun) * 1e6)
    return samples


def main() -> None:
    """In turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    times: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fresh = stack.enter_context(cluster())
        sides: dict[str, Side] = {}
        for kind in ("SQLite", "Postgres"):
            for controlled in (False, True):
                url = fresh() if kind == "Postgres" else f"sqlite:///{folder / str(controlled)}.db"
                sides[f"{kind}, {'with' if controlled else 'without'} control"] = Side(url, controlled=controlled)
        for number in range(args.rounds + 1):
            for name, side in sides.items():
                took = side.round(args.runs)
                if number:
                    times.setdefault(name, []).append(took)
        for side in sides.values():
            side.engine.dispose()
    results: list[Result] = [result(name, "ms a run", samples) for name, samples in times.items()]
    results.append(result("all of ten guards", "us", asyncio.run(guards(args.rounds))))
    show(results, "SQLite, without control")
    for kind in ("SQLite", "Postgres"):
        pairs = zip(times[f"{kind}, with control"], times[f"{kind}, without control"], strict=True)
        more = statistics.median(one - other for one, other in pairs)
        print(f"control adds {more:.2f} ms a run on {kind}")
    keep(results, args.json)


if __name__ == "__main__":
    main()
