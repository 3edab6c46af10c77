"""Coding agents that break off, write garbage or too much: fakes in place of the binaries, in real cages."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract.test_runners import request, survivors

from potato.ports import Report
from potato.ports.session import NoSession
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate
from potato.spokes.runners.acp import AcpRunner
from potato.spokes.runners.claude import ClaudeRunner
from potato.spokes.runners.codex import CodexRunner

RUNNERS: dict[str, Any] = {"codex": CodexRunner, "claude": ClaudeRunner, "acp": AcpRunner}
EACH = pytest.mark.parametrize("runner", RUNNERS)
SUMMARY = {
    "codex": {"type": "item.completed", "item": {"type": "agent_message", "text": "all done"}},
    "claude": {"type": "result", "subtype": "success", "result": "all done"},
}
ACP = """
def read():
    line = sys.stdin.readline()
    return json.loads(line) if line else sys.exit(0)
def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n"); sys.stdout.flush()
def answer(result):
    say({"id": read()["id"], "result": result})
def update(kind, text):
    say({"method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": kind, "content": {"type": "text", "text": text}}}})
def greet():
    answer({"protocolVersion": 1, "agentCapabilities": {"mcpCapabilities": {"http": True}}})
    answer({"sessionId": "s"})
"""


class Listening(NoSession):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def tell(self, kind: Any, text: str, **more: Any) -> None:
        self.told.append((kind, text))


async def run(runner: str, folder: Path, code: str, *, timeout_s: float = 20, prompt: str = "Do it.") -> tuple[Report, Listening]:
    (folder / "binaries").mkdir(exist_ok=True)
    (folder / "config").mkdir(exist_ok=True)
    program = folder / "binaries" / runner
    program.write_text(f"#!/usr/bin/python3\nimport json, os, sys, time\n{ACP if runner == 'acp' else ''}\n{code}\n")
    program.chmod(0o755)
    gate, session = Gate(), Listening()
    asked = request(folder / "config", command=(str(program),), sandbox="auto", timeout_s=timeout_s)
    bounds = replace(asked.bounds, read=(str(folder / "binaries"),)) if runner == "acp" else asked.bounds
    try:
        report = await RUNNERS[runner](gate, Sandbox()).run(
            replace(asked, session=session, bounds=bounds, agent=replace(asked.agent, prompt=prompt))
        )
    finally:
        await gate.close()
    return report, session


@pytest.mark.parametrize("runner", SUMMARY)
async def test_a_prompt_of_any_length_comes_by_stdin_and_the_last_words_back(runner: str, tmp_path: Path) -> None:
    code = f"prompt = sys.stdin.read()\nassert '-dash' == prompt[:5] and len(prompt) > 300_000 and not any('x' * 99 in a for a in sys.argv)\nprint('{json.dumps(SUMMARY[runner])}')"
    report, _ = await run(runner, tmp_path, code, prompt="-dash" + "x" * 300_000)
    assert (report.failure, report.summary) == (None, "all done")


@EACH
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sys.exit(3)", "it exited with 3"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("sys.stdin.read(1); time.sleep(60)", "it ran longer than 1.5 s"),
        ("import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: time.sleep(1)", "it ran longer than 1.5 s"),
    ],
)  # fmt: skip
async def test_one_that_ends_badly_says_how(runner: str, code: str, said: str, tmp_path: Path) -> None:
    started = time.monotonic()
    report, _ = await run(runner, tmp_path, code, timeout_s=1.5)
    assert said in str(report.failure), report
    assert time.monotonic() - started < 15


@EACH
async def test_garbage_is_left_out(runner: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    garbage = [b"\xff\xfe\n", b"{\n", b"null\n", b"[1]\n", b'"x"\n', b"[" * 100_000 + b"\n", b'{"type": 5}\n', b'{"type": "item.completed", "item": 7}\n',
               b'{"message": {"content": "x"}}\n', b'{"jsonrpc": "2.0", "id": {}, "method": "x"}\n', b'{"jsonrpc": "2.0", "id": 99, "result": 1}\n',
               b'{"jsonrpc": "2.0", "method": "session/update", "params": 5}\n', b'{"jsonrpc": "2.0", "method": 5}\n', b"\n"]  # fmt: skip
    code = f"for line in {garbage!r}: sys.stdout.buffer.write(line)\nsys.stdout.flush()\n"
    if runner == "acp":
        code += "greet(); update('agent_message_chunk', 'all '); update('agent_message_chunk', 'done'); answer({'stopReason': 'end_turn'})\ntime.sleep(60)"
    else:
        code += f"sys.stdin.read(); print('{json.dumps(SUMMARY[runner])}')"
    started = time.monotonic()
    report, session = await run(runner, tmp_path, code)
    assert (report.failure, report.summary) == (None, "all done"), report
    assert time.monotonic() - started < 10  # one that stays after the talk is ended
    assert "Traceback" not in caplog.text
    assert len(session.told) < 20


@EACH
@pytest.mark.parametrize("line", ["x" * 1000 + "\n", "x"])
@pytest.mark.slow
async def test_one_that_writes_without_end_is_ended(runner: str, line: str, tmp_path: Path) -> None:
    report, session = await run(runner, tmp_path, f"while True: sys.stdout.write({line!r} * 10_000)", timeout_s=30)
    assert "it wrote " in str(report.failure), report
    assert len(session.told) < 20


async def test_an_acp_agent_that_asks_and_never_reads_is_held_in_bounds(tmp_path: Path) -> None:
    code = "greet()\nfor n in range(3_000): say({'id': n, 'method': 'fs/read_text_file', 'params': {'path': '/etc/passwd', 'sessionId': 's'}})\ntime.sleep(60)"
    report, _ = await run("acp", tmp_path, code, timeout_s=60)
    assert report.failure == "it asked for more than 2,000 things", report


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("answer({'protocolVersion': 1})", "it takes no MCP server over HTTP"),
        ("answer({'protocolVersion': 'x', 'agentCapabilities': 5})", "its answer is none of the protocol"),
        ("greet(); answer({'stopReason': 'refusal'})", "it stopped: refusal"),
        ("greet(); say({'id': read()['id'], 'error': {'code': -1, 'message': 'no\\x1b[31m credit'}})", "no\\x1b[31m credit"),
        ("greet(); sys.exit(0)", "it ended the conversation"),
    ],
)  # fmt: skip
async def test_an_acp_agent_that_does_not_keep_to_the_protocol(code: str, said: str, tmp_path: Path) -> None:
    report, _ = await run("acp", tmp_path, code)
    assert said in str(report.failure), report


@pytest.mark.slow
async def test_a_flood_of_thoughts_is_one_event(tmp_path: Path) -> None:
    code = "greet()\nfor n in range(20_000): update('agent_thought_chunk', 'hm ' * 100)\nupdate('agent_message_chunk', 'done'); answer({'stopReason': 'end_turn'})"
    report, session = await run("acp", tmp_path, code, timeout_s=60)
    assert (report.failure, report.summary) == (None, "done"), report
    assert [kind for kind, _ in session.told] == ["reasoning", "message"]
    assert len(session.told[0][1]) <= 1 << 20


async def test_a_binary_beside_the_config_shows_itself_and_nothing_else(tmp_path: Path) -> None:
    """The folder of a binary is shown for what lies beside it; not where the hub's config does."""
    (tmp_path / "codex").write_text("#!/bin/sh\ncat > /dev/null; ls /opt/agent >&2; echo '" + json.dumps(SUMMARY["codex"]) + "'\n")
    (tmp_path / "codex").chmod(0o755)
    (tmp_path / "secret.txt").write_text("x")
    gate = Gate()
    report = await CodexRunner(gate, Sandbox()).run(request(tmp_path, command=(str(tmp_path / "codex"),), sandbox="auto"))
    await gate.close()
    assert (report.failure, report.log.split()) == (None, ["codex"])


@EACH
async def test_what_it_started_ends_with_it(runner: str, tmp_path: Path) -> None:
    code = "import subprocess\nsubprocess.Popen(['/usr/bin/python3', '-c', '\"mark-of-a-coder\"; import time; time.sleep(600)'], start_new_session=True)\n"
    code += "print('it started', file=sys.stderr)\n"
    code += (
        "greet(); answer({'stopReason': 'end_turn'})" if runner == "acp" else f"sys.stdin.read(); print('{json.dumps(SUMMARY[runner])}')"
    )
    report, _ = await run(runner, tmp_path, code)
    assert "it started" in report.log, report
    assert survivors("mark-of-a-coder") == []


async def test_a_tool_that_claude_code_lacks_is_told(tmp_path: Path) -> None:
    """The binary leaves out silently what it does not have."""
    (tmp_path / "claude").write_text(
        "#!/bin/sh\ncat > /dev/null\n"
        """echo '{"type": "system", "subtype": "init", "tools": ["Bash", "Read"]}'\n"""
        f"echo '{json.dumps(SUMMARY['claude'])}'\n"
    )
    (tmp_path / "claude").chmod(0o755)
    gate = Gate()
    asked = request(tmp_path, command=(str(tmp_path / "claude"),), sandbox="auto")
    report = await ClaudeRunner(gate, Sandbox()).run(replace(asked, agent=replace(asked.agent, tools=("Read", "Grep", "Write"))))
    await gate.close()
    assert (report.failure, report.summary) == (None, "all done")
    assert report.warnings == ("Claude Code, as it is started here, has no tool Grep, Write; it has Bash, Edit and Read",)
