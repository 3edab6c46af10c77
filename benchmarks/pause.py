"""How soon a pause with --cancel has stopped 50 agents that run, beside killing as many bare processes.

The time is from when the pause is committed (and from when the command was started) to when no agent's process is left, watched in /proc.
`--rounds N` (default 5), `--agents N` (default 50).
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measure import Result, keep, result, show
from dispatch import send, wait
from intake import potato

_CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request" && action == "opened"', run: [sleeper]}
agents:
  sleeper: {command: [python3, MARK], sandbox: none, permissions: [comment]}
"""
_LOOK_S = 0.02


def alive(mark: str) -> int:
    """Processes, zombies aside, whose command line holds the mark."""
    count = 0
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "cmdline").read_text() and (process / "stat").read_text().split()[2] != "Z":
                count += 1
    return count


def wait_until_gone(mark: str) -> float:
    """The time when no process is left."""
    while alive(mark):
        time.sleep(_LOOK_S)
    return time.time()


def paused(agents: int, number: int) -> tuple[float, float]:
    """One round: start them, pause, look. Gives milliseconds from the commit, and from the command's start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mark = f"sleeper{number}.py"
        (folder / mark).write_text("import time\ntime.sleep(600)\n")
        database = f"sqlite:///{folder / 'potato.db'}"
        with potato(folder, database, "--concurrency", str(agents), config=_CONFIG.replace("MARK", mark)) as (_, port):
            for index in range(agents):
                send(port, number * 1000 + index)
            wait(database, "SELECT count(*) FROM run WHERE state = 'running'", agents, 120)
            until = time.monotonic() + 30
            while alive(mark) < agents and time.monotonic() < until:
                time.sleep(0.05)
            asked = time.time()
            with subprocess.Popen([sys.executable, "-m", "potato", "pause", "--database", database, "--cancel", "--note", "benchmark"],
                                  stdout=subprocess.DEVNULL):  # fmt: skip
                wait(database, "SELECT count(*) FROM pause", 1, 30)
                committed = time.time()
                end = wait_until_gone(mark)
            return (end - committed) * 1000, (end - asked) * 1000


def bare(agents: int, number: int) -> float:
    """The floor: SIGTERM to as many processes, and waiting for them."""
    mark = f"bare-sleeper-{number}"
    processes = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", mark]) for _ in range(agents)]
    time.sleep(1)

    begun = time.time()
    for process in processes:
        process.terminate()
    took = (wait_until_gone(mark) - begun) * 1000
    for process in processes:
        process.wait()
    return took


def main() -> None:
    """In turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--agents", type=int, default=50)
    args = parser.parse_args()
    ours: list[tuple[float, float]] = []
    floor: list[float] = []
    for number in range(args.rounds):
        ours.append(paused(args.agents, number + 1))
        floor.append(bare(args.agents, number + 1))
    results: list[Result] = [
        result(f"a pause has stopped {args.agents} agents", "ms", [one[0] for one in ours]),
        result("the same, from the start of the command", "ms", [one[1] for one in ours]),
        result("floor: SIGTERM to as many processes", "ms", floor),
    ]
    show(results, "floor: SIGTERM to as many processes")
    keep(results, args.json)


if __name__ == "__main__":
    main()
