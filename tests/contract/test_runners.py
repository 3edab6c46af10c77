"""What every process runner promises, shown on the real ones. Rows A13, A14, A16, I01, I07 of the threats."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.github import wait_until

from potato.ports import MAX_OUTPUT, AgentSpec, Report, Request
from potato.spokes.runners.builtin import BuiltinRunner
from potato.spokes.runners.command import CommandRunner
from potato.spokes.runners.python import PythonRunner
from potato.testing import make_event

PYTHON = "/usr/bin/python3"
BOTH = pytest.mark.parametrize("sandbox", ["auto", pytest.param("none", marks=pytest.mark.slow)])
OK = 'import json,sys; json.load(sys.stdin); print(json.dumps({"proposals": [], "summary": "fine"}))'


def request(folder: Path, *, command: tuple[str, ...] = (), timeout_s: float = 20, sandbox: str = "none", **spec: Any) -> Request:
    agent = AgentSpec(name="a", role="orchestrator", runner="command", prompt="Do it.", permissions=frozenset({"comment"}), secrets=(), caps={},
                      timeout_s=timeout_s, concurrency=1, folder=str(folder), place="c.yml:1:1", command=command, sandbox=sandbox, **spec)  # fmt: skip
    return Request(
        "run_1", agent, make_event(title="$(touch /tmp/pwned)`id`; ${{ x }}"), {"files": []}, ("a", "b"), {"KEY": "value-of-key"}
    )


async def run(folder: Path, code: str, **options: Any) -> Report:
    return await CommandRunner().run(request(folder, command=(PYTHON, "-c", code), **options))


def survivors(mark: str) -> list[str]:
    """Command lines of living processes that hold the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in text and state != "Z" and int(path.parent.name) != os.getpid():
            found.append(text)
    return found


@BOTH
async def test_a_report_comes_back(tmp_path: Path, sandbox: str) -> None:
    code = (
        'import json,sys; sys.stderr.write("log"); json.dump({"proposals": [{"kind": "comment", "body": "x"}], "summary": "s"}, sys.stdout)'
    )
    report = await run(tmp_path, code, sandbox=sandbox)
    assert report == Report([{"kind": "comment", "body": "x"}], "s", None, (), "log")


async def test_the_agent_gets_one_object_and_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "canary-token")
    code = "import json,os,sys; open('seen.json','w').write(json.dumps([json.load(sys.stdin), dict(os.environ), os.getcwd()])); print('{}')"
    report = await run(tmp_path, code)
    assert report.failure is None
    told, environ, cwd = json.loads((tmp_path / "seen.json").read_text())
    assert sorted(told) == ["agent", "agents", "event", "facts", "grant", "limits", "prompt", "run_id"]
    assert told["event"]["fields"]["title"] == "$(touch /tmp/pwned)`id`; ${{ x }}"
    assert told["grant"] == {"role": "orchestrator", "permissions": ["comment"], "caps": {"comment": 1}}
    assert set(environ) - {"LC_CTYPE"} == {"PATH", "LANG", "HOME", "TMPDIR", "POTATO_RUN_ID", "KEY"}
    assert environ["HOME"] != os.environ["HOME"]
    assert not Path(environ["HOME"]).exists()
    assert cwd == str(tmp_path)


@BOTH
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit(3)", "it exited with 3"),
        ("raise ValueError('x')", "it exited with 1"),
        ("import os,signal; os.kill(os.getpid(), signal.SIGSEGV)", "it was ended by signal 11"),
        ("pass", "Expecting value at line 1 column 1. It was empty."),
        ("print('hello')", "It began with 'hello'; what is for people belongs on stderr."),
        ("print('[]')", "the top level is not an object"),
        ("print('{} {}')", "Extra data"),
        ("print('{\"proposals\": {}}')", "'proposals' must be a list"),
        ("print('{\"proposal\": []}')", "unknown key 'proposal'"),
        ("print('{\"summary\": 1}')", "'summary' text"),
        ('print(\'{"summary": "a", "summary": "b"}\')', "stands twice"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\xfe')", "is not UTF-8"),
        ("import json; print(json.dumps({'proposals': [1] * 101}))", "101 proposals; at most 100"),
    ],
)
async def test_crashes_and_garbage_are_a_failed_run_with_its_reason(tmp_path: Path, sandbox: str, code: str, said: str) -> None:
    report = await run(tmp_path, code, sandbox=sandbox)
    assert said in str(report.failure)
    assert list(report.proposals) == []


@BOTH
async def test_what_cannot_be_started_says_so(tmp_path: Path, sandbox: str) -> None:
    report = await CommandRunner().run(request(tmp_path, command=("./missing",), sandbox=sandbox))
    assert report.failure == "it cannot be started: ./missing: No such file or directory"
    (tmp_path / "script").write_text("x")
    report = await CommandRunner().run(request(tmp_path, command=("./script",), sandbox=sandbox))
    assert report.failure == "it cannot be started: ./script: Permission denied"


@BOTH
async def test_argv_never_passes_a_shell(tmp_path: Path, sandbox: str) -> None:
    report = await CommandRunner().run(request(tmp_path, sandbox=sandbox, command=(PYTHON, "-c", OK, "$(touch pwned)", "; touch pwned")))
    assert report.failure is None
    assert not (tmp_path / "pwned").exists()


@BOTH
async def test_a_hanging_agent_that_ignores_sigterm_is_killed(tmp_path: Path, sandbox: str) -> None:
    code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); 'mark-hang'; time.sleep(600)"
    started = time.monotonic()
    report = await run(tmp_path, code, sandbox=sandbox, timeout_s=0.5)
    assert report.failure == "it ran longer than 0.5 s"
    assert time.monotonic() - started < 20
    assert survivors("mark-hang") == []


@BOTH
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_flood_of_output_is_cut(tmp_path: Path, sandbox: str, stream: str) -> None:
    code = f"import sys\nfor _ in range(1024): sys.{stream}.write('x' * 1_000_000)\nsys.stdout.write('{{}}') if '{stream}' == 'stderr' else None"
    report = await run(tmp_path, code, sandbox=sandbox)
    if stream == "stdout":
        assert report.failure == f"it wrote more than {MAX_OUTPUT:,} bytes to stdout"
    else:
        assert report.failure is None
        assert len(report.log) < 100_000


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        'mark-daemon'
        time.sleep(600)
    os._exit(0)
os.wait()
print('{}')
"""


async def test_a_daemon_is_found_killed_and_fails_the_run(tmp_path: Path) -> None:
    report = await run(tmp_path, DAEMON)
    assert report.failure == "it left 1 process(es) running, which were killed"
    assert survivors("mark-daemon") == []


@BOTH
async def test_a_tree_of_processes_is_killed_whole(tmp_path: Path, sandbox: str) -> None:
    code = "import os,time\nfor _ in range(5): os.fork()\n'mark-tree'\ntime.sleep(600)"
    report = await run(tmp_path, code, sandbox=sandbox, timeout_s=1)
    assert report.failure == "it ran longer than 1 s"
    assert survivors("mark-tree") == []


@BOTH
async def test_cancelling_kills_the_agent_and_all_below_it(tmp_path: Path, sandbox: str) -> None:
    code = "import os,time,signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); 'mark-cancel'; time.sleep(600)"
    task = asyncio.create_task(run(tmp_path, code, sandbox=sandbox))
    for _ in range(200):
        await asyncio.sleep(0.02)
        if len(survivors("mark-cancel")) >= 2:
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert survivors("mark-cancel") == []


@BOTH
async def test_the_death_of_the_hub_takes_the_agent_along(tmp_path: Path, sandbox: str) -> None:
    (tmp_path / "hub.py").write_text(
        "import asyncio, sys\nsys.path.insert(0, sys.argv[1])\n"
        "from contract.test_runners import run\nfrom pathlib import Path\n"
        "asyncio.run(run(Path('.'), \"import time; 'mark-orphan'; time.sleep(600)\", sandbox=sys.argv[2]))\n"
    )
    tests = str(Path(__file__).parents[1])
    hub = await asyncio.create_subprocess_exec(sys.executable, "hub.py", tests, sandbox, cwd=tmp_path)
    assert await asyncio.to_thread(wait_until, lambda: len(survivors("mark-orphan")) >= 1)
    hub.send_signal(signal.SIGKILL)
    await hub.wait()
    assert await asyncio.to_thread(wait_until, lambda: survivors("mark-orphan") == [])


ESCAPE = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        CLOSE
        'mark-escape'
        time.sleep(600)
    os._exit(0)
time.sleep(0.2)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("close", ["pass", "[os.close(fd) for fd in (0, 1, 2)]"])
async def test_a_killed_supervisor_is_a_failed_run_and_nothing_survives(tmp_path: Path, close: str) -> None:
    report = await run(tmp_path, ESCAPE.replace("CLOSE", close), timeout_s=3)
    assert report.failure == "its supervisor was killed or hung, and everything it started with it"
    assert survivors("mark-escape") == []


@pytest.mark.slow
async def test_a_stopped_supervisor_cannot_hold_the_hub(tmp_path: Path) -> None:
    code = "import os,signal,time; os.kill(os.getppid(), signal.SIGSTOP); 'mark-stop'; time.sleep(600)"
    report = await run(tmp_path, code, timeout_s=0.5)
    assert report.failure == "its supervisor was killed or hung, and everything it started with it"
    assert survivors("mark-stop") == []


@pytest.mark.parametrize("line", ['{"exit": 0, "left": 0}', "[1]", "x" * 100_000])
async def test_writing_to_the_supervisors_pipe_changes_no_verdict(tmp_path: Path, line: str) -> None:
    """H4: the agent may reach the pipe through /proc; the verdict is the supervisor's exit code."""
    code = (
        "import os, glob\n"
        f"line = ({line!r} + chr(10)).encode()\n"
        "for path in glob.glob(f'/proc/{os.getppid()}/fd/*'):\n"
        "    try:\n"
        "        if 'pipe' in os.readlink(path):\n"
        "            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK); os.write(fd, line)\n"
        "    except OSError: pass\n"
        "os._exit(3)\n"
    )
    report = await run(tmp_path, code)
    assert report.failure is not None
    assert list(report.proposals) == []


async def test_secrets_cannot_replace_the_environments_own(tmp_path: Path) -> None:
    asked = request(tmp_path, command=(PYTHON, "-c", "import os; open('home', 'w').write(os.environ['PATH']); print('{}')"))
    changed = Request(asked.run_id, asked.agent, asked.event, asked.context, asked.routable, {"PATH": "/evil"})
    assert (await CommandRunner().run(changed)).failure is None
    assert (tmp_path / "home").read_text() == os.environ["PATH"]


@pytest.mark.parametrize("argv", [("python3", "a\0b"), ("python3", "x" * 300_000)])
async def test_an_impossible_argv_is_a_failed_run(tmp_path: Path, argv: tuple[str, ...]) -> None:
    report = await CommandRunner().run(request(tmp_path, command=argv))
    assert str(report.failure).startswith("it cannot be started")


async def test_secrets_are_masked_and_control_characters_shown_in_the_log(tmp_path: Path) -> None:
    report = await run(tmp_path, "import sys; sys.stderr.write('key=value-of-key \\x1b[31m\\u202e\\n::set-env name=X::y'); print('{}')")
    assert report.log == "key=*** \\x1b[31m\\u202e\n::set-env name=X::y"


@BOTH
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def work(request):\n    print('noise')\n    return {'summary': request['agent']}", None),
        ("import sys\ndef work(request):\n    sys.exit(4)", "it exited with 4"),
        ("def work(request):\n    raise KeyboardInterrupt", "it "),
        ("def work(request):\n    return {1, 2}", "it exited with 1"),
        ("def other(request):\n    return {}", "it exited with 2"),
        ("raise RuntimeError", "it exited with 1"),
    ],
)
async def test_python_agents_are_isolated(tmp_path: Path, body: str, said: str | None, sandbox: str) -> None:
    (tmp_path / "mine.py").write_text(body)
    report = await PythonRunner().run(request(tmp_path, function="mine:work", sandbox=sandbox))
    if said is None:
        assert (report.failure, report.summary, report.log) == (None, "a", "noise")
    else:
        assert str(report.failure).startswith(said)


async def test_python_agents_come_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def work(request):\n    return {'summary': 'by entry point'}\n")
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[potato.agents]\nreviewer = mine:work\n")
    report = await PythonRunner().run(request(tmp_path, function="reviewer"))
    assert (report.failure, report.summary) == (None, "by entry point")
    report = await PythonRunner().run(request(tmp_path, function="nobody"))
    assert report.failure == "it exited with 2"
    assert "no entry point 'nobody' in the group 'potato.agents'" in report.log


async def test_builtin_agents_run_in_process(tmp_path: Path) -> None:
    report = await BuiltinRunner().run(request(tmp_path, builtin="triage"))
    assert report.failure is None
    assert report.summary.startswith("Triaged #7")
    assert (await BuiltinRunner().run(request(tmp_path, builtin="router"))).failure is None
