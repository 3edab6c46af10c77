"""Kill a hub again and again, and look whether anything was lost or done twice.

`python3 dev.py faults [--kills N] [--databases sqlite,postgres]`; the tests run ten of each. Each round sends pull requests of the emulated
GitHub, kills the process with SIGKILL at a random moment or at a chosen step boundary, starts it again, and at the end compares what GitHub
has with what was acknowledged: every acknowledged delivery has a run that ended, and no comment, label or check stands twice.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.github import TOKEN, GitHub, Proxy, emulator, proxied, wait_until
from support.hub import Hub, Postgres, project, query, started

BATCH = 50
BOUNDARIES = (
    "accept:before", "accept:after", "take:after", "plan:before", "plan:after", "admit:after", "start:before", "start:after",
    "save_proposals:before", "save_proposals:after", "begin_effect:before", "begin_effect:after", "apply:after", "finish_effect:before",
    "finish_effect:after", "rest:before", "rest:after",
)  # fmt: skip
"""Where a process can be told to kill itself: before or after this call of a store or forge."""

KILLER = """
import os, signal, sys
where, number = os.environ["KILL_AT"].rsplit(":", 1)[0], int(os.environ["KILL_AT"].rsplit(":", 1)[1])
name, moment = where.split(":")
from potato.store.inbox import SqlInbox
from potato.store.queue import SqlQueue
from potato.store.sql import SqlStore
from potato.forges.github.forge import GitHubForge
import inspect
count = 0
def due():
    global count
    count += 1
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)
for owner in (SqlInbox, SqlQueue, SqlStore, GitHubForge):
    original = vars(owner).get(name)
    if original is None:
        continue
    if inspect.iscoroutinefunction(original):
        async def call(*args, _original=original, **kwargs):
            if moment == "before": due()
            result = await _original(*args, **kwargs)
            if moment == "after": due()
            return result
    else:
        def call(*args, _original=original, **kwargs):
            if moment == "before": due()
            result = _original(*args, **kwargs)
            if moment == "after" and result: due()
            elif moment == "after" and name not in ("take", "admit"): due()
            return result
    setattr(owner, name, call)
"""


@dataclass
class Verdict:
    """What was found after the last kill."""

    sent: int = 0
    kills: int = 0
    problems: list[str] = field(default_factory=list)


class Victim:
    """A hub that is killed and started again, on one port of its own choice each time."""

    def __init__(self, folder: Path, database: str, github_url: str) -> None:
        self.folder = folder
        self.database = database
        self.env = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github_url, "PYTHONPATH": str(folder / "killer")}
        (folder / "killer").mkdir(exist_ok=True)
        (folder / "killer" / "sitecustomize.py").write_text(f"import os\nif os.environ.get('KILL_AT'):\n    exec({KILLER!r})\n")

    @contextlib.contextmanager
    def running(self, kill_at: str | None = None) -> Iterator[Hub]:
        with started(self.folder, self.database, "--concurrency", "4", env=self.env | ({"KILL_AT": kill_at} if kill_at else {})) as hub:
            yield hub


def send_until_kept(victim_hub: Hub, event: dict[str, Any], delivery_id: str) -> bool:
    """Whether it was acknowledged; GitHub would show it as failed otherwise, and somebody would ask for it again."""
    try:
        return victim_hub.send(event, delivery_id=delivery_id) == 202
    except (OSError, AssertionError):
        return False
    except Exception:  # noqa: BLE001 - http.client has several ways to say that the process is gone
        return False


def torment(folder: Path, database: str, github: GitHub, proxy: Proxy, kills: int, seed: int, pulls: int = 3) -> Verdict:
    """Kill so many times: in turns at random moments and at each boundary."""
    dice = random.Random(seed)
    verdict = Verdict()
    victim = Victim(project(folder), database, proxy.url)
    acknowledged: dict[str, int] = {}
    pending: dict[str, tuple[int, dict[str, Any]]] = {}
    for round_number in range(kills):
        boundary = None if round_number % 2 else f"{BOUNDARIES[(round_number // 2) % len(BOUNDARIES)]}:{dice.randint(1, 3)}"
        for _ in range(pulls if round_number < 8 or round_number % 5 == 0 else 1):
            pull = github.pull_request(f"Pull {verdict.sent}", {f"f{verdict.sent}.md": "x"})
            pending[f"d{verdict.sent}"] = (pull["number"], github.event(pull, "opened"))
            verdict.sent += 1
        with contextlib.suppress(AssertionError), victim.running(boundary) as hub:
            until = time.monotonic() + (dice.uniform(0.0, 2.5) if boundary is None else 6.0)
            for delivery_id, (number, event) in list(pending.items()):
                if send_until_kept(hub, event, delivery_id):
                    acknowledged[delivery_id] = number
                    del pending[delivery_id]
            while time.monotonic() < until and hub.process.poll() is None:
                time.sleep(0.02)
            if hub.process.poll() is None:
                hub.kill(signal.SIGKILL)
            verdict.kills += 1
    with victim.running() as hub:
        for delivery_id, (number, event) in list(pending.items()):
            if send_until_kept(hub, event, delivery_id):
                acknowledged[delivery_id] = number
        if not hub.settled(len(acknowledged), 120):
            verdict.problems.append(f"not settled: {Counter(hub.runs().values())}")
        runs = {run["delivery_id"]: run for run in hub.api("/api/v1/runs?limit=1000")}
        wait_until(lambda: not query(database, "SELECT 1 FROM head_report WHERE wanted > posted"), 30)
        for delivery_id, number in acknowledged.items():
            verdict.problems += look(github, delivery_id, number, runs.get(delivery_id))
    return verdict


def look(github: GitHub, delivery_id: str, number: int, run: dict[str, Any] | None) -> list[str]:
    """What is wrong with one acknowledged delivery."""
    if run is None:
        return [f"{delivery_id}: acknowledged and lost"]
    if run["state"] != "succeeded":
        return [f"{delivery_id}: {run['state']}: {run['reason']}"]
    problems: list[str] = []
    comments = github.repo("GET", f"/issues/{number}/comments")
    labels = github.repo("GET", f"/issues/{number}/labels")
    head = github.repo("GET", f"/pulls/{number}")["head"]["sha"]
    checks = [check for check in github.repo("GET", f"/commits/{head}/check-runs")["check_runs"] if check["name"] == "potato"]
    for what, count in (("comments", len(comments)), ("labels", len(labels)), ("checks", len(checks))):
        if count != 1:
            problems.append(f"{delivery_id}: {count} {what}")
    if checks and checks[0]["status"] != "completed":
        problems.append(f"{delivery_id}: its check is {checks[0]['status']}")
    return problems


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failed = False
    for kind in args.databases.split(","):
        begun, kills, sent, problems = time.monotonic(), 0, 0, 0
        while kills < args.kills:
            done = batch(kind, min(BATCH, args.kills - kills), args.seed + kills)
            kills, sent, problems = kills + done.kills, sent + done.sent, problems + len(done.problems)
            took = time.monotonic() - begun
            print(f"{kind}: {kills} kills, {sent} deliveries, {problems} problems, {took:.0f} s", flush=True)
            for problem in done.problems:
                print(f"  {problem}", flush=True)
        failed |= bool(problems)
    return 1 if failed else 0


def batch(kind: str, kills: int, seed: int) -> Verdict:
    """Some kills with a GitHub of their own: the emulated one has the real one's limit of requests an hour."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(emulator(folder, 2))
        proxy = stack.enter_context(proxied(url))
        postgres = Postgres() if kind == "postgres" else None
        if postgres:
            stack.callback(postgres.close)
        database = postgres.database() if postgres else f"sqlite:///{folder / 'potato.db'}"
        return torment(folder, database, GitHub(url, "alice/demo0"), proxy, kills, seed)


if __name__ == "__main__":
    sys.exit(main())
