"""Deliveries accepted per second and the 99th percentile of the answer: our hub, receivers that keep nothing, and the database's floors.

16 connections, a 21 KB `pull_request` delivery, none of which matches a rule; the load comes from a process of its own on the same machine.
CPU is the receiver's process alone. `--rounds N` (default 5), `--seconds S` a round (default 3), `--postgres` adds our hub on Postgres.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from _measure import Result, keep, result, show

ROOT = Path(__file__).resolve().parents[1]
SECRET = "made-up"  # noqa: S105 - of a receiver on loopback
BODY = 21_000
CONNECTIONS = 16
CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request" && action == "opened"', run: [codex_triage]}
"""


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def load(
    port: int, seconds: float, rate: float = 0.0, matching: float = 0.0, connections: int = CONNECTIONS, body: int = BODY
) -> dict[str, Any]:
    """One round of load."""
    argv = [port, SECRET, connections, seconds, rate, body, matching]
    done = subprocess.run([sys.executable, ROOT / "benchmarks/_load.py", *map(str, argv)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(argv: list[Any], port: int, folder: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A receiver until the end of the block; gives its process id."""
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        [str(part) for part in argv], cwd=folder, env=base | (env or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def potato(
    folder: Path, database: str, *more: str, config: str = CONFIG, env: Mapping[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """Our hub; gives (process id, port). `env` is added to its environment."""
    port = free_port()
    (folder / "orchestrator.yml").write_text(config, encoding="utf-8")
    argv = [Path(sys.executable).with_name("potato"), "serve", "--port", port, "--database", database, *more]
    with running(argv, port, folder, {"POTATO_WEBHOOK_SECRET": SECRET, "POTATO_API_TOKEN": "t", **(env or {})}) as pid:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
            assert answer.status == HTTPStatus.OK
        yield pid, port


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[tuple[int, int]]:
    """Gidgethub and Starlette."""
    port = free_port()
    with running([sys.executable, ROOT / "benchmarks/peers/gidgethub_receiver.py", port, SECRET], port, folder) as pid:
        yield pid, port


@contextlib.contextmanager
def probot(folder: Path) -> Iterator[tuple[int, int]]:
    """Probot on node."""
    port = free_port()
    with running(["node", ROOT / "benchmarks/peers/probot_receiver.mjs", port, SECRET], port, folder) as pid:
        yield pid, port


def sqlite_floor(folder: Path) -> float:
    """Rows of this size per second, committed durably in groups of 64, by the bare driver."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body BLOB)")
    rows = [(b"x" * BODY,) for _ in range(64)]
    begun = time.perf_counter()
    count = 0
    while time.perf_counter() - begun < 1:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO t (body) VALUES (?)", rows)
        connection.execute("COMMIT")
        count += 64
    took = time.perf_counter() - begun
    connection.close()
    (folder / "floor.db").unlink()
    return count / took


def postgres_floor(database: str) -> float:
    """Rows of this size per second, each committed by itself."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS floor (body bytea)")
        begun = time.perf_counter()
        count = 0
        while time.perf_counter() - begun < 1:
            connection.execute("INSERT INTO floor VALUES (%s)", (b"x" * BODY,))
            count += 1
        took = time.perf_counter() - begun
        connection.execute("DROP TABLE floor")
    return count / took


def main() -> None:
    """Measure in turns, so that a noisy minute meets all alike."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--postgres", action="store_true")
    args = parser.parse_args()
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    late: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(5)]
        receivers = {
            "potato, SQLite (durable)": stack.enter_context(potato(folders[0], f"sqlite:///{folders[0] / 'potato.db'}")),
            "gidgethub + Starlette (keeps nothing)": stack.enter_context(bare(folders[1])),
            "Probot (keeps nothing)": stack.enter_context(probot(folders[2])),
        }
        floors: dict[str, Callable[[], float]] = {"floor: SQLite rows in groups of 64": lambda: sqlite_floor(folders[3])}
        if args.postgres:
            from _postgres import cluster

            database = stack.enter_context(cluster())
            receivers["potato, Postgres (durable)"] = stack.enter_context(potato(folders[4], database()))
            floor = database()
            floors["floor: Postgres single-row commits"] = lambda: postgres_floor(floor)
        time.sleep(1)
        for number in range(args.rounds + 1):
            for name, (pid, port) in receivers.items():
                before = cpu_seconds(pid)
                told = load(port, args.seconds)
                if number:
                    answered = told["statuses"].get("202", 0) + told["statuses"].get("200", 0)
                    rates.setdefault(name, []).append(answered / told["seconds"])
                    cpu.setdefault(name, []).append((cpu_seconds(pid) - before) * 1e6 / max(1, told["count"]))
            for name, floor_rate in floors.items():
                rates.setdefault(name, []).append(floor_rate())
        ours = {name: receiver for name, receiver in receivers.items() if name.startswith("potato")}
        for name, (_, port) in ours.items():
            capacity = statistics.median(rates[name])
            for label, share, connections in (("p99 at 80 % of capacity", 0.8, 64), ("p99 at 10 x overload", 10.0, 400)):
                told = [load(port, args.seconds, capacity * share, connections=connections) for _ in range(3)]
                late[f"{name}: {label}"] = [round_["p99"] for round_ in told]
                print(f"{name}, {label}: answers {told[-1]['statuses']}")
    results: list[Result] = [result(name, "deliveries/s", samples) for name, samples in rates.items()]
    results += [result(f"{name}: CPU", "us per delivery", samples) for name, samples in cpu.items()]
    results += [result(name, "ms", samples) for name, samples in late.items()]
    print(f"{CONNECTIONS} connections, {BODY:,} bytes, {args.rounds} rounds of {args.seconds:.0f} s")
    show(results, "gidgethub + Starlette (keeps nothing)")
    keep(results, args.json)


if __name__ == "__main__":
    main()
