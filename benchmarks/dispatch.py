"""From the delivery to the agent's start, with 1, 2 and 4 workers; runs per second beside bare DBOS; fairness; long queues.

Times are taken from the database's rows (when an attempt began) and the sender's clock, which is the same machine's. `--runs N`
(default 60), `--databases sqlite,postgres`, `--flood N` (default 1000 runs of one repository beside a quiet one).
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from _load import template
from _measure import Result, keep, result, show
from intake import ROOT, SECRET, potato
from sqlalchemy import Connection, Engine, insert

from potato.audit.log import append
from potato.bootstrap import SystemClock
from potato.core.admission import Limits, choose
from potato.hub.entries import run_entry
from potato.hub.guards import passage
from potato.store import tables as t
from potato.store.database import Database
from potato.store.engine import open_engine
from potato.store.queue import SqlQueue

BIN = Path(sys.executable)
CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request" && action == "opened"', run: [nothing]}
agents:
  nothing: {ref: 'builtin:codex_triage', permissions: [comment]}
"""


def send(port: int, number: int, repository: str = "octo/demo") -> str:
    """One delivery; gives its id."""
    body = (
        template(2000).replace(b"12345678", str(number).encode()).replace(b"%ACTION%", b"opened").replace(b"octo/demo", repository.encode())
    )
    delivery_id = f"bench-{repository}-{number}-{time.time_ns()}"
    signature = "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
    headers = {"content-type": "application/json", "x-github-event": "pull_request", "x-github-delivery": delivery_id,
               "x-hub-signature-256": signature}  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/webhooks/github", body, headers)
    status = connection.getresponse().status
    connection.close()
    assert status == HTTPStatus.ACCEPTED, status
    return delivery_id


def rows(database: str, statement: str) -> list[tuple[Any, ...]]:
    """Straight from the database."""
    engine = open_engine(database, create=False)
    with engine.connect().execution_options(readonly=True) as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(statement)]
    engine.dispose()
    return found


def wait(database: str, statement: str, wanted: int, timeout_s: float) -> None:
    """Until a count is reached."""
    until = time.monotonic() + timeout_s
    while rows(database, statement)[0][0] < wanted:
        if time.monotonic() > until:
            message = f"not reached: {statement}"
            raise TimeoutError(message)
        time.sleep(0.05)


@contextlib.contextmanager
def workers(folder: Path, database: str, count: int) -> Iterator[list[int]]:
    """So many `potato worker`; gives their process ids."""
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    argv = [str(BIN.with_name("potato")), "worker", "--database", database, "--concurrency", "8"]
    started = [subprocess.Popen(argv, cwd=folder, env=base, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        wait(database, "SELECT count(*) FROM worker WHERE kind = 'worker'", count, 60)
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def latencies(database: str, port: int, count: int) -> list[float]:
    """Milliseconds from sending to the agent's start, one after the other at 10 a second."""
    sent: dict[str, float] = {}
    base = time.time_ns() // 1_000_000 % 1_000_000_000
    for number in range(count):
        at = time.time()
        sent[send(port, base + number)] = at
        time.sleep(0.1)
    wait(database, f"SELECT count(*) FROM run WHERE delivery_id IN ({_quoted(sent)}) AND finished_at IS NOT NULL", count, 60)
    began = dict(rows(database, f"SELECT delivery_id, started_at FROM run WHERE delivery_id IN ({_quoted(sent)})"))
    return [(began[delivery_id] - at) * 1000 for delivery_id, at in sent.items()]


def _quoted(ids: dict[str, float]) -> str:
    return ", ".join(f"'{delivery_id}'" for delivery_id in ids)


def throughput(database: str, port: int, count: int) -> float:
    """Runs per second: from the first start to the last end of a burst."""
    base = time.time_ns() // 1_000_000 % 1_000_000_000
    before = rows(database, "SELECT count(*) FROM run WHERE finished_at IS NOT NULL")[0][0]
    begun = time.time()
    with ThreadPoolExecutor(16) as senders:  # one after the other would measure the answers to the sender
        list(senders.map(partial(send, port), range(base, base + count)))
    wait(database, "SELECT count(*) FROM run WHERE finished_at IS NOT NULL", before + count, 300)
    ends = rows(database, f"SELECT max(finished_at) FROM run WHERE started_at > {begun}")[0][0]
    return count / (ends - begun)


def bare_dbos(url: str, count: int) -> float:
    """Workflows of as many steps (agent, effect) per second, enqueued, in a process of its own with the same poll and slots."""
    done = subprocess.run(
        [str(BIN), str(ROOT / "benchmarks/peers/bare_dbos.py"), url, str(count)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def queue_cost(database: str, queued: int) -> float:
    """Milliseconds to release one run among so many that wait."""
    engine = open_engine(database)
    fill(engine, queued)
    queue = SqlQueue(Database(engine, append, SystemClock()), run_entry, passage, nothing)
    samples: list[float] = []
    for _ in range(50):
        begun = time.perf_counter()
        released = queue.admit(lambda snapshot: choose(snapshot, Limits())[:1])
        samples.append((time.perf_counter() - begun) * 1000)
        assert len(released) == 1
    engine.dispose()
    return statistics.median(samples)


def nothing(_connection: Connection, _run_id: str, _attempt: int, _worker: str) -> None:
    """The durable engine is measured elsewhere."""


def fill(engine: Engine, queued: int) -> None:
    """So many waiting runs in 20 lanes, and a worker with room, by plain inserts."""
    now = "2026-01-01T00:00:00+00:00"
    lanes, runs = 20, queued // 20
    with engine.begin() as connection:
        connection.execute(
            insert(t.delivery).values(delivery_id="d", event="push", source="file", received_at=now, body_digest="x", body=b"")
        )
        connection.execute(
            insert(t.worker).values(id="w", kind="worker", host="h", version="0", slots=1000, state="live", beat=0, seen_at=now)
        )
        for lane in range(lanes):
            place = {"repository": f"o/r{lane}", "agent": "a", "priority": "normal"}
            connection.execute(insert(t.lane).values(**place, id=lane + 1, head=lane / 100, waiting=runs))
            common = {**place, "delivery_id": "d", "state": "queued", "reason": "", "rules": "[]", "created_at": now, "updated_at": now,
                      "attempts": 0, "summary": "", "warnings": "[]", "log": "", "lane": lane + 1, "ready": 1}  # fmt: skip
            connection.execute(
                insert(t.run), [common | {"id": f"r{lane}-{n}", "number": n, "tag": lane / 100 + n / 10} for n in range(runs)]
            )


def fairness(database: str, port: int, flood: int) -> tuple[float, float]:
    """Median milliseconds of a quiet repository's wait: alone, and beside a flood of another."""
    alone = statistics.median(_quiet(database, port))
    base = time.time_ns() // 1_000_000 % 1_000_000_000
    for number in range(flood):
        send(port, base + number, "octo/flood")
    beside = statistics.median(_quiet(database, port))
    wait(database, "SELECT count(*) FROM run WHERE repository = 'octo/flood' AND finished_at IS NOT NULL", flood, 900)
    return alone, beside


def _quiet(database: str, port: int) -> list[float]:
    waits: list[float] = []
    for _ in range(11):
        at = time.time()
        delivery_id = send(port, time.time_ns() // 1_000_000 % 1_000_000_000, "octo/quiet")
        wait(
            database,
            f"SELECT count(*) FROM run WHERE delivery_id = '{delivery_id}' AND started_at IS NOT NULL AND state <> 'queued'",
            1,
            120,
        )
        waits.append((rows(database, f"SELECT started_at FROM run WHERE delivery_id = '{delivery_id}'")[0][0] - at) * 1000)
        time.sleep(0.2)
    return waits


def main() -> None:
    """All of it, on each database."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--flood", type=int, default=1000)
    parser.add_argument("--databases", default="sqlite,postgres")
    args = parser.parse_args()
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        fresh: Callable[[], str] | None = None
        if "postgres" in args.databases:
            from _postgres import cluster

            fresh = stack.enter_context(cluster())
        for kind in args.databases.split(","):
            results += measure(kind, fresh, args.runs, args.flood)
    show(results, "floor: bare DBOS on sqlite" if "sqlite" in args.databases else "floor: bare DBOS on postgres")
    keep(results, args.json)


def measure(kind: str, fresh: Callable[[], str] | None, runs: int, flood: int) -> list[Result]:
    """One database."""
    results: list[Result] = []

    def database(folder: Path, name: str = "potato") -> str:
        return fresh() if kind == "postgres" and fresh else f"sqlite:///{folder / name}.db"

    def told(name: str, unit: str, samples: list[float]) -> None:
        results.append(result(name, unit, samples))
        print(f"{name}: {statistics.median(samples):.2f} {unit}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = database(folder)
        with potato(folder, url, "--concurrency", "40", config=CONFIG) as (_, port):
            samples = latencies(url, port, runs)
            told(f"event to agent start on {kind}, hub alone, p50", "ms", [statistics.median(samples)])
            told(f"event to agent start on {kind}, hub alone, p99", "ms", [max(samples)])
            told(f"runs on {kind}", "per second", [throughput(url, port, 300) for _ in range(3)])
            alone, beside = fairness(url, port, flood)
            told(f"quiet repository on {kind}, alone", "ms", [alone])
            told(f"quiet repository on {kind}, beside {flood} of another", "ms", [beside])
        told(f"floor: bare DBOS on {kind}", "per second", [bare_dbos(database(folder, f"dbos{n}"), 300) for n in range(3)])
        if kind == "postgres":
            url = database(folder)
            with potato(folder, url, "--concurrency", "0", config=CONFIG) as (_, port):
                for count in (1, 2, 4):
                    with workers(folder, url, count):
                        samples = latencies(url, port, runs)
                        told(f"event to agent start on {kind}, {count} worker(s), p50", "ms", [statistics.median(samples)])
                        told(f"event to agent start on {kind}, {count} worker(s), p99", "ms", [max(samples)])
        for queued in (100, 100_000):
            told(f"release of one among {queued:,} on {kind}", "ms", [queue_cost(database(folder, f"queue{queued}"), queued)])
    return results


if __name__ == "__main__":
    main()
