"""What a caged run costs: its start and end beside a bare process, tool calls, tokens through the proxy, and many at once.

- start and end: from the decision to the agent's first line, and from its last line to the kept effect, caged and uncaged, beside
  `subprocess.run` of the same program. All take turns within a round.
- tool calls: from within the cage over MCP, beside the same request to a server that says a constant.
- tokens: events of a model's stream through the proxy, beside the same stream without it.
- many at once: memory of the hub with that many caged agents, each with a tool call and a stream behind it.

`--rounds N` (default 21), `--agents N` (default 20).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from _measure import Result, keep, result, show
from dispatch import send, wait
from intake import potato

from potato.bootstrap import make_hub, make_local_forge, open_store
from potato.config.loader import load_config
from potato.forges.github.normalise import normalise
from potato.hub.context import Hub
from potato.hub.workflow import handle
from potato.ports import Delivery, Effect, RunRecord

_PYTHON = "/usr/bin/python3"
_PROVIDER_KEY = "made-up-key"
_NOBODY = "http://127.0.0.1:1"
_AGENT = """
import time
began = time.time_ns()
import json
print(json.dumps({"proposals": [{"kind": "comment", "body": "x"}], "summary": "%d %d" % (began, time.time_ns())}), flush=True)
"""
_CALLER = """
import http.client, json, os, statistics, sys, time
url = os.environ["POTATO_MCP_URL"]
connection = http.client.HTTPConnection(url.split("/")[2])
body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "comment", "arguments": {"body": ""}}})
headers = {"authorization": "Bearer " + os.environ["POTATO_RUN_TOKEN"], "content-type": "application/json",
           "accept": "application/json, text/event-stream"}
def call():
    began = time.perf_counter()
    connection.request("POST", "/mcp", body, headers)
    connection.getresponse().read()
    return (time.perf_counter() - began) * 1e3
first = call()
times = sorted(call() for _ in range(200))
print(json.dumps({"proposals": [], "summary": json.dumps([first, statistics.median(times), times[int(len(times) * 0.95)]])}))
"""
_READER = """
import http.client, json, os, sys, time
connection = http.client.HTTPConnection(os.environ["POTATO_MCP_URL"].split("/")[2])
headers = {"authorization": "Bearer " + os.environ["POTATO_RUN_TOKEN"], "content-type": "application/json"}
connection.request("POST", "/openai/v1/responses", json.dumps({"model": "MODEL", "input": "hi", "stream": True}), headers)
began = time.perf_counter()
answer = connection.getresponse()
late = []
for line in answer:
    if b'"at"' in line:
        late.append((time.time_ns() - json.loads(line[5:])["at"]) / 1e6)
late.sort()
spent = (time.perf_counter() - began) * 1e3
print(json.dumps({"proposals": [], "summary": json.dumps([spent, late[len(late) // 2], len(late)])}))
"""
_STAYER = """
import http.client, json, os, sys, time
host = os.environ["POTATO_MCP_URL"].split("/")[2]
headers = {"authorization": "Bearer " + os.environ["POTATO_RUN_TOKEN"], "content-type": "application/json",
           "accept": "application/json, text/event-stream"}
tools = http.client.HTTPConnection(host)
body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "comment", "arguments": {"body": "x"}}}
tools.request("POST", "/mcp", json.dumps(body), headers)
tools.getresponse().read()
models = http.client.HTTPConnection(host)
models.request("POST", "/openai/v1/responses", json.dumps({"model": "burst", "input": "hi" * 50000, "stream": True}), headers)
models.getresponse().read()
print("at rest", file=sys.stderr, flush=True)
time.sleep(float(open("/agent/rest").read()))
print(json.dumps({"proposals": []}))
"""


def config(url: str, *, sandbox: str = "auto", script: str = "agent.py") -> str:
    """One agent of this script."""
    agent: dict[str, Any] = {
        "command": [_PYTHON, script], "sandbox": sandbox, "permissions": ["comment"], "timeout": "5m", "files": ["rest"],
    }  # fmt: skip
    if sandbox == "auto":
        agent["secrets"] = ["PROVIDER_KEY"]
    return json.dumps({
        "routing": [{"name": "opened", "if": 'event == "pull_request" && action == "opened"', "run": ["agent"]}],
        "agents": {"agent": agent}, "providers": {"openai": {"api": "openai", "url": url, "key": "PROVIDER_KEY"}},
    })  # fmt: skip


class Watch:
    """Notes when the decision was kept, and when the run came to rest with its effect."""

    decided = ended = 0

    def run_changed(self, run: RunRecord) -> None:
        """See the port."""
        if run.state == "queued":
            self.decided = time.time_ns()
        if run.state in ("succeeded", "failed"):
            self.ended = time.time_ns()


class Bench:
    """A hub in this process with one agent."""

    def __init__(self, folder: Path, url: str, *, sandbox: str = "auto", script: str = _AGENT) -> None:
        folder.mkdir()
        (folder / "agent.py").write_text(script)
        (folder / "rest").write_text("0")
        (folder / "orchestrator.yml").write_text(config(url, sandbox=sandbox))
        self.store, self.engine = open_store(f"sqlite:///{folder / 'potato.db'}")
        self.watch = Watch()
        loaded = load_config(str(folder / "orchestrator.yml")).config
        assert loaded is not None
        self.hub: Hub = make_hub(loaded, self.store, make_local_forge({"trusted": True}), self.watch, {"PROVIDER_KEY": _PROVIDER_KEY})
        self._count = 0

    async def run(self) -> RunRecord:
        """One delivery to its end."""
        self._count += 1
        side = {"ref": "main", "sha": "a" * 40, "repo": {"id": 1}}
        pull = {"number": self._count, "state": "open", "user": {"login": "a"}, "head": side, "base": side}
        told = {"action": "opened", "number": self._count, "repository": {"full_name": "octo/demo", "id": 1}, "pull_request": pull}
        body = json.dumps({**told, "sender": {"login": "a"}}).encode()
        outcome = await handle(self.hub, Delivery(f"d{self._count}", "pull_request", body, "file"), normalise("pull_request", body))
        (run,) = outcome.runs
        assert run.state == "succeeded", (run.reason, run.log)
        return run

    async def times(self) -> tuple[float, float]:
        """(from decision to start, from end to effect), in milliseconds."""
        run = await self.run()
        began, ended = map(int, run.summary.split())
        assert [one.effect.state for one in run.proposals if isinstance(one.effect, Effect)] == ["staged"]
        return (began - self.watch.decided) / 1e6, (self.watch.ended - ended) / 1e6


def bare(folder: Path) -> tuple[float, float]:
    """The same of a bare process."""
    asked = time.time_ns()
    done = subprocess.run([_PYTHON, folder / "agent.py"], input=b"{}", capture_output=True, check=True)
    returned = time.time_ns()
    began, ended = map(int, json.loads(done.stdout)["summary"].split())
    return (began - asked) / 1e6, (returned - ended) / 1e6


async def start_and_end(folder: Path, rounds: int) -> list[Result]:
    """In turns."""
    caged, uncaged = Bench(folder / "caged", _NOBODY), Bench(folder / "uncaged", _NOBODY, sandbox="none")
    names = ("bare process", "uncaged run", "caged run")
    starts: dict[str, list[float]] = {name: [] for name in names}
    ends: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 2):
        for name, (start, end) in zip(names, (bare(folder / "caged"), await uncaged.times(), await caged.times()), strict=True):
            if number >= 2:  # noqa: PLR2004 - the first two load what is loaded once
                starts[name].append(start)
                ends[name].append(end)
    found = [result(f"start, {name}", "ms", starts[name]) for name in names] + [result(f"end, {name}", "ms", ends[name]) for name in names]
    for name in names[1:]:
        both = [
            sum(pair[:2]) - sum(pair[2:])
            for pair in zip(starts[name], ends[name], starts["bare process"], ends["bare process"], strict=True)
        ]
        found.append(result(f"start and end added, {name}", "ms", both))
    return found


# tools


@contextlib.asynccontextmanager
async def constant() -> AsyncIterator[str]:
    """An HTTP server of the same make that reads a request and says a constant."""
    from uvicorn import Config, Server

    async def app(_scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's face
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    server = Server(Config(app, port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
    server.should_exit = True
    await task


async def tool_calls(folder: Path, rounds: int) -> list[Result]:
    """Medians of 200 calls in each of some runs."""
    bench = Bench(folder / "tools", _NOBODY, script=_CALLER)
    first, median, late, floor = list[float](), list[float](), list[float](), list[float]()
    for _ in range(max(3, rounds // 4)):
        told = json.loads((await bench.run()).summary)
        first.append(told[0])
        median.append(told[1])
        late.append(told[2])
        async with constant() as url:
            process = await asyncio.create_subprocess_exec(
                _PYTHON, "-c", _CALLER, env={"POTATO_MCP_URL": url, "POTATO_RUN_TOKEN": "x"}, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            floor.append(json.loads(json.loads(out)["summary"])[1])
    return [
        result("HTTP to a constant", "ms", floor), result("MCP tool call", "ms", median), result("MCP tool call, p95", "ms", late),
        result("MCP tool call, a run's first", "ms", first),
    ]  # fmt: skip


# tokens


async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Streams events that say when they were made: `paced` every 5 ms, `burst` as fast as they go."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", head.lower())
        body = json.loads(await reader.readexactly(int(size[1]) if size else 0))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for number in range(2000 if body["model"] == "burst" else 200):
            event = {"type": "response.output_text.delta", "delta": "word ", "item_id": "msg_1", "sequence": number, "at": time.time_ns()}
            writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            await writer.drain()
            if body["model"] == "paced":
                await asyncio.sleep(0.005)
        usage = {"type": "response.completed", "response": {"usage": {"input_tokens": 5, "output_tokens": 2000}}}
        writer.write(b"data: " + json.dumps(usage).encode() + b"\n\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def provide() -> None:
    """As a process of its own, so that it does not share the hub's loop."""

    async def serve() -> None:
        server = await asyncio.start_server(provider, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def providing() -> Iterator[str]:
    """Its address."""
    process = subprocess.Popen([sys.executable, __file__, "--provide"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def tokens(folder: Path, url: str, rounds: int) -> list[Result]:
    """Of each model both ways, in turns."""
    found: list[Result] = []
    for model, count in (("burst", 2000), ("paced", 200)):
        code = _READER.replace("MODEL", model)
        bench = Bench(folder / model, url, script=code)
        direct, proxied, late, later = list[float](), list[float](), list[float](), list[float]()
        for number in range(max(5, rounds // 2) + 1):
            told = json.loads((await bench.run()).summary)
            process = await asyncio.create_subprocess_exec(
                _PYTHON, "-c", code, env={"POTATO_MCP_URL": f"{url}/mcp", "POTATO_RUN_TOKEN": "x"}, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            plain = json.loads(json.loads(out)["summary"])
            assert told[2] == plain[2] == count
            if number:
                proxied.append(told[0] / count)
                direct.append(plain[0] / count)
                later.append(told[1])
                late.append(plain[1])
        if model == "burst":
            found += [result("token of a burst, direct", "ms", direct), result("token of a burst, proxied", "ms", proxied)]
            found.append(result("token of a burst, added", "ms", [a - b for a, b in zip(proxied, direct, strict=True)]))
        else:
            found += [result("paced token's delay, direct", "ms", late), result("paced token's delay, proxied", "ms", later)]
            found.append(result("paced token's delay, added", "ms", [a - b for a, b in zip(later, late, strict=True)]))
    return found


# many at once


def resident(pid: int) -> float:
    """Megabytes that a process holds now."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def many(folder: Path, url: str, agents: int) -> list[Result]:
    """The hub before, with all of them at rest after their calls, and after."""
    folder.mkdir()
    (folder / "agent.py").write_text(_STAYER)
    (folder / "rest").write_text("0")
    database = f"sqlite:///{folder / 'potato.db'}"
    ended = "SELECT count(*) FROM run WHERE state = 'succeeded'"
    with potato(folder, database, "--concurrency", str(agents), config=config(url), env={"PROVIDER_KEY": _PROVIDER_KEY}) as (pid, port):
        for number in range(3):
            send(port, number)
        wait(database, ended, 3, 60)
        before = resident(pid)
        (folder / "rest").write_text("15")
        for number in range(agents):
            send(port, 1000 + number)
        streams = "SELECT count(*) FROM transcript WHERE kind = 'model_call'"
        wait(database, streams, 3 + agents, 120)
        during = resident(pid)
        wait(database, ended, 3 + agents, 120)
        after = resident(pid)
    return [
        result("hub before", "MB", [before]), result(f"hub with {agents} caged agents", "MB", [during]), result("hub after", "MB", [after]),
        result("added by each", "MB", [(during - before) / agents]),
    ]  # fmt: skip


async def measured(rounds: int, agents: int) -> list[list[Result]]:
    """All of it."""
    with tempfile.TemporaryDirectory() as name, providing() as url:
        folder = Path(name)
        return [
            await start_and_end(folder, rounds), await tool_calls(folder, rounds), await tokens(folder, url, rounds),
            await asyncio.to_thread(many, folder / "many", url, agents),
        ]  # fmt: skip


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--provide", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.provide:
        provide()
        return
    parts = asyncio.run(measured(chosen.rounds, chosen.agents))
    for part in parts:
        show(part, part[0].name)
        print()
    keep([one for part in parts for one in part], chosen.json)


if __name__ == "__main__":
    main()
