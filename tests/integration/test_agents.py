"""Agents at work: whom work moves to, where secrets come from, what a transcript keeps."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from contract.test_http_runner import Remote, remote_server
from support.cli import POTATO, potato
from support.github import wait_until
from support.hub import payload, query, started

from potato.errors import PotatoError
from potato.hub.secrets import MAX_BYTES, Secrets
from potato.hub.transcript import MAX_CHARACTERS, MAX_EVENTS, MAX_TOTAL, Transcript
from potato.testing import FixedClock

CANARY = "canary-of-a-transcript-9f3c"
DELIVERIES = Path(__file__).parents[2] / "src/potato/cli/demo_data/deliveries"


@pytest.fixture
def opened(deliveries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(example for example in deliveries["pull_request"] if example["action"] == "opened")


def equals(*remotes: Remote) -> str:
    agents = {name: {"runner": "http", "url": f"http://127.0.0.1:{one.port}/", "internal": True, "signing_secret": "SIGNING",
                     "permissions": ["comment"], "timeout": "5s"} for name, one in zip("abc", remotes, strict=False)}  # fmt: skip
    rule = {"name": "all", "if": 'event == "pull_request"', "run": [{"any_of": list(agents)}]}
    return json.dumps({"routing": [rule], "agents": agents})


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (429, "rate_limited"),
        pytest.param(503, "overloaded", marks=pytest.mark.slow),
        pytest.param(401, "auth", marks=pytest.mark.slow),
        pytest.param(504, "timeout", marks=pytest.mark.slow),
    ],
)
def test_work_moves_to_the_next_equal_and_the_ill_one_is_left_alone(status: int, why: str, tmp_path: Path, opened: dict[str, Any]) -> None:
    url = f"sqlite:///{tmp_path / 'potato.db'}"
    with remote_server() as first, remote_server() as second:
        first.status = status
        (tmp_path / "orchestrator.yml").write_text(equals(first, second))
        with started(tmp_path, url, env={"SIGNING": "made-up-secret"}) as hub:
            hub.send(payload(opened, 1))
            assert hub.settled(2)
            runs = {run["agent"]: run for run in hub.api("/api/v1/runs")}
            assert (runs["a"]["state"], runs["b"]["state"]) == ("failed", "succeeded")
            assert runs["a"]["reason"] == f"it answered {status}; moved to b"
            entries = [bytes(leaf).decode() for (leaf,) in query(url, "SELECT leaf FROM audit_entry WHERE kind = 'run' ORDER BY seq")]
            assert any(f"moved from a ({why}): least loaded healthy one of a, b" in entry for entry in entries)
            health = {agent["agent"]: agent["healthy"] for agent in hub.api("/api/v1/status")["agents"]}
            assert health == {"a": False, "b": True}
            asked = len(first.asked)
            for number in range(2, 5):
                hub.send(payload(opened, number))
            assert hub.settled(5)
            assert len(first.asked) == asked
            assert len(second.asked) == 4


@pytest.mark.slow
def test_when_all_are_ill_the_work_fails_once_with_its_way(tmp_path: Path, opened: dict[str, Any]) -> None:
    with remote_server() as first, remote_server() as second, remote_server() as third:
        for one in (first, second, third):
            one.status = 429
        (tmp_path / "orchestrator.yml").write_text(equals(first, second, third))
        with started(tmp_path, f"sqlite:///{tmp_path / 'potato.db'}", env={"SIGNING": "made-up-secret"}) as hub:
            hub.send(payload(opened, 1))
            assert hub.settled(3)
            assert [run["state"] for run in hub.api("/api/v1/runs")] == ["failed"] * 3
            assert [len(one.asked) for one in (first, second, third)] == [1, 1, 1]


def test_work_moves_in_ci_too(tmp_path: Path) -> None:
    with remote_server() as first, remote_server() as second:
        first.status = 429
        (tmp_path / "orchestrator.yml").write_text(equals(first, second))
        args = ("run", "--event", "pull_request", "--payload", DELIVERIES / "pull_request.opened.json", "--json")
        done = potato(*args, cwd=tmp_path, env={"SIGNING": "made-up-secret"})
        told = {run["agent"]: run["state"] for run in done.json["runs"]}
        assert told == {"a": "failed", "b": "succeeded"}, done.err


def test_secrets_come_from_the_environment_files_and_plugins(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("from-a-file\n")
    (tmp_path / "large").write_text("x" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    environ = {"A": "from-the-environment", "A_FILE": "/nowhere", "B_FILE": str(tmp_path / "value"), "C_FILE": str(tmp_path / "large"),
               "D_FILE": str(tmp_path / "binary"), "E_FILE": str(tmp_path / "absent"), "F": ""}  # fmt: skip

    def vault(name: str) -> str | None:
        if name == "H":
            raise RuntimeError(CANARY)
        return {"F": "from-a-plugin"}.get(name)

    secrets = Secrets(environ, [vault])
    assert [secrets.get(name) for name in "ABFG"] == ["from-the-environment", "from-a-file", "from-a-plugin", None]
    (tmp_path / "value").write_text("rotated")
    assert secrets.get("B") == "rotated"
    for name, said in {
        "C": "has more than",
        "D": "UnicodeDecodeError",
        "E": "FileNotFoundError",
        "H": "the plugin for H failed: RuntimeError",
    }.items():
        with pytest.raises(PotatoError, match=said) as caught:
            secrets.get(name)
        assert caught.value.code == "secret-unreadable"
        assert CANARY not in str(caught.value)


def test_a_file_that_cannot_be_read_fails_the_run_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yml").write_text(json.dumps({
        "routing": [{"name": "all", "if": 'event == "pull_request"', "run": ["worker"]}],
        "agents": {"worker": {"command": ["true"], "secrets": ["KEY"], "permissions": ["comment"]}},
    }))  # fmt: skip
    args = ("run", "--event", "pull_request", "--payload", DELIVERIES / "pull_request.opened.json", "--json")
    (told,) = potato(*args, cwd=tmp_path, env={"KEY_FILE": str(tmp_path / "nothing")}).json["runs"]
    assert (told["state"], told["reason"]) == ("failed", "secret-unreadable: KEY_FILE cannot be read: FileNotFoundError.")


class Shelf:
    """What a transcript needs of a hub."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.clock = FixedClock()
        self.durable = self.store = self

    async def commit(self, what: Any) -> None:
        what()

    def add_transcript(self, events: Any) -> None:
        self.kept += events


async def test_a_transcript_is_bounded_and_holds_no_secret() -> None:
    shelf = Shelf()
    transcript = Transcript(shelf, "run_1", 1, {"CANARY": CANARY})  # type: ignore[arg-type]
    transcript.add("message", f"it is {CANARY}", {})
    transcript.add("message", "first half " + CANARY[:13], {})
    transcript.add("message", CANARY[13:] + " second half", {})
    transcript.add("tool_call", "comment", {"arguments": {"body": CANARY, "n": 5}})
    transcript.add(
        "message", "x" * 100_000 + "\x1b[31m\u202e", {"ratio": float("nan"), "size": 10**4000, "score": 0.5, "limit": float("inf")}
    )
    for _ in range(3 * MAX_EVENTS):
        transcript.add("message", "y" * 2000, {})
    await transcript.close()
    assert CANARY not in json.dumps([event.body for event in shelf.kept])
    assert CANARY[13:] not in json.dumps([event.body for event in shelf.kept])
    assert shelf.kept[4].body["text"].startswith("x" * MAX_CHARACTERS)
    assert "\x1b" not in shelf.kept[4].body["text"]
    assert {key: shelf.kept[4].body[key] for key in ("ratio", "score", "limit")} == {"ratio": "NaN", "score": 0.5, "limit": "Infinity"}
    assert isinstance(shelf.kept[4].body["size"], str)
    assert len(shelf.kept) <= MAX_EVENTS + 1
    assert sum(len(event.body["text"]) for event in shelf.kept) < MAX_TOTAL + MAX_CHARACTERS
    assert (shelf.kept[-1].kind, shelf.kept[-1].body["text"][:20]) == ("system", "the rest is left out")
    assert [event.number for event in shelf.kept] == list(range(1, len(shelf.kept) + 1))


async def test_a_database_that_is_gone_loses_the_transcript_only() -> None:
    shelf = Shelf()

    async def refuse(_what: Any) -> None:
        raise PotatoError("database-unusable", "gone")

    shelf.commit = refuse  # type: ignore[method-assign]
    transcript = Transcript(shelf, "run_1", 1, {})  # type: ignore[arg-type]
    transcript.add("message", "x", {})
    await transcript.close()
    assert shelf.kept == []


TALKER = """
import http.client, json, os, sys, time
request = json.load(sys.stdin)
def call(name, arguments):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["POTATO_MCP_URL"].split(":")[2].split("/")[0]))
    connection.request("POST", "/mcp", json.dumps(body), {"authorization": "Bearer " + os.environ["POTATO_RUN_TOKEN"],
        "content-type": "application/json", "accept": "application/json, text/event-stream"})
    return json.loads(connection.getresponse().read())["result"]
for number in range(3):
    print(call("comment", {"body": f"number {number}"}), file=sys.stderr)
    time.sleep(0.6)
call("report", {"summary": "talked"})
print(json.dumps({"proposals": []}))
"""


@pytest.mark.slow
def test_a_run_is_followed_while_it_goes_on(tmp_path: Path, opened: dict[str, Any]) -> None:
    url = f"sqlite:///{tmp_path / 'potato.db'}"
    (tmp_path / "talker.py").write_text(TALKER)
    (tmp_path / "orchestrator.yml").write_text(json.dumps({
        "routing": [{"name": "all", "if": 'event == "pull_request"', "run": ["talker"]}],
        "agents": {"talker": {"command": ["python3", "talker.py"], "permissions": ["comment"]}},
    }))  # fmt: skip
    with started(tmp_path, url) as hub:
        hub.send(payload(opened, 1))
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["running"], 20)
        (run,) = hub.api("/api/v1/runs")
        argv = [POTATO, "runs", "show", run["id"][:12], "--follow", "--database", url, "--json"]
        following = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(following.stdout or ()))
        reader.start()
        assert wait_until(lambda: any("number 0" in line for line in lines), 15)
        assert hub.api("/api/v1/runs")[0]["state"] == "running"  # it is seen before the run ends
        assert following.wait(30) == 0
        reader.join()
        following.stdout.close()
        told = [json.loads(line) for line in lines]
        assert [one["kind"] for one in told[:-1]] == ["tool_call", "tool_result"] * 4
        assert (told[-1]["state"], told[-1]["summary"], len(told[-1]["proposals"])) == ("succeeded", "talked", 1)
    shown = potato("runs", "show", run["id"], "--database", url, cwd=tmp_path).out
    assert "→ comment" in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    unknown = potato("runs", "show", "run_nowhere", "--database", url, cwd=tmp_path)
    assert (unknown.code, "there is no such run" in unknown.err) == (2, True)
