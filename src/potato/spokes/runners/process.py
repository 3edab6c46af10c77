"""Run an agent as a process: one JSON object in, one out, under the supervisor and with limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from potato.core.budget import MICROS
from potato.core.foreign import as_list, as_object
from potato.core.strict_json import parse_object
from potato.core.text import printable
from potato.errors import PotatoError
from potato.ports import MAX_OUTPUT, MAX_PROPOSALS, Report, Request, Usage
from potato.spokes.runners import supervisor

_MOST: Final = 10**9
_DEADLINE_GRACE_S: Final = 10.0
_ASK_S: Final = 6.0
_PIPE_GRACE_S: Final = 2.0
_supervisors: set[int] = set()
_SUPERVISOR: Final = os.path.join(os.path.dirname(__file__), "supervisor.py")
_LOG_BYTES: Final = 64 * 1024
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True)
class _Output:
    """What came out. `over` is set when there was more than allowed."""

    stdout: bytearray
    stderr: bytearray
    over: bool = False


async def run_process(request: Request, argv: Sequence[str]) -> Report:
    """Run `argv` without a shell, in its config's folder, with a clean environment, and read its report.

    The environment holds PATH, LANG, HOME and TMPDIR (one fresh folder, removed afterwards), POTATO_RUN_ID and
    the run's secrets. A crash, a time-out, garbage, too much output or left processes are a failed report.
    """
    warnings: list[str] = []
    if request.agent.sandbox == "auto":
        warnings.append("sandbox: auto ran without a cage; this version has none yet")
    with tempfile.TemporaryDirectory(prefix="potato-run-", ignore_cleanup_errors=True) as home:
        try:
            output, verdict, words = await _supervised(argv, request, _environment(request, home))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Report(failure=f"it cannot be started: {printable(str(reason), 200)}", warnings=tuple(warnings))
    log = printable_log(bytes(output.stderr), request.secrets)
    failure = _failure(output, verdict, words, request.agent.timeout_s)
    if failure is None:
        try:
            return report_from(bytes(output.stdout), tuple(warnings), log)
        except PotatoError as error:
            failure = f"its output is no report: {error.message}"
    return Report(failure=failure, warnings=tuple(warnings), log=log)


def _environment(request: Request, home: str) -> dict[str, str]:
    base = {
        "PATH": os.environ.get("PATH", _PATH),
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "POTATO_RUN_ID": request.run_id,
    }
    return dict(request.secrets) | base


async def _supervised(argv: Sequence[str], request: Request, environment: Mapping[str, str]) -> tuple[_Output, int, dict[str, Any]]:
    """What came out, the supervisor's verdict (its exit code) and the words to it.

    The agent may turn on its supervisor, so this process is a subreaper too, keeps a deadline of its own, and
    waits for no pipe longer than for the processes.
    """
    supervisor.prctl(supervisor.PR_SET_CHILD_SUBREAPER, 1)
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _SUPERVISOR, str(write_fd), str(request.agent.timeout_s), *argv,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=request.agent.folder, env=dict(environment), pass_fds=(write_fd,), start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    _supervisors.add(process.pid)
    since = supervisor.started(process.pid)
    output = _Output(bytearray(), bytearray())
    pipes = [
        asyncio.create_task(_feed(process, json.dumps(request.as_json(), ensure_ascii=False).encode())),
        asyncio.create_task(_collect_stdout(process, output)),
        asyncio.create_task(_collect_stderr(process, output)),
    ]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.agent.timeout_s + _DEADLINE_GRACE_S):
                await process.wait()
    finally:
        await asyncio.shield(_end(process, since))
        await _finish(pipes)
        words = _words(read_fd)
        os.close(read_fd)
    return output, process.returncode if process.returncode is not None else -signal.SIGKILL, words


async def _end(process: asyncio.subprocess.Process, since: int) -> None:
    """Whatever happened, the supervisor and all that it started end: asked, then killed, then whatever escaped."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _ASK_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    _supervisors.discard(process.pid)
    if process.returncode is not None and process.returncode < 0:
        await _sweep(since)


async def _sweep(since: int) -> None:
    """Kill the orphans that came to us from a supervisor that was killed.

    These are our children that are no supervisors and are younger than the one that was killed (`since`, in ticks).
    """
    for _ in range(200):
        orphans = [pid for pid in supervisor.children() if pid not in _supervisors and supervisor.started(pid) >= since]
        if not orphans:
            return
        supervisor.send([*orphans, *(pid for orphan in orphans for pid in supervisor.descendants(orphan))], signal.SIGKILL)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - WNOHANG does not wait
        await asyncio.sleep(0.01)


async def _finish(pipes: Sequence[asyncio.Task[None]]) -> None:
    """Read what is left in the pipes, but do not wait for whoever still holds them."""
    _, late = await asyncio.wait(pipes, timeout=_PIPE_GRACE_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*pipes, return_exceptions=True)


def _words(read_fd: int) -> dict[str, Any]:
    """The supervisor's last line, as words only."""
    try:
        lines = os.read(read_fd, 64 * 1024).splitlines()
    except BlockingIOError:
        return {}
    words: dict[str, Any] = {}
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            words |= as_object(json.loads(line))
    return words


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - it was opened as a pipe
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _collect_stdout(process: asyncio.subprocess.Process, output: _Output) -> None:
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    while chunk := await process.stdout.read(64 * 1024):
        if output.over:
            continue
        output.stdout += chunk
        if len(output.stdout) > MAX_OUTPUT:
            output.over = True
            output.stdout.clear()
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)


async def _collect_stderr(process: asyncio.subprocess.Process, output: _Output) -> None:
    """Keep the end of the log, drop the rest."""
    assert process.stderr is not None  # noqa: S101 - it was opened as a pipe
    while chunk := await process.stderr.read(64 * 1024):
        output.stderr += chunk
        del output.stderr[: max(0, len(output.stderr) - _LOG_BYTES)]


def _failure(output: _Output, verdict: int, words: Mapping[str, Any], timeout_s: float) -> str | None:
    """Why the run failed, by the supervisor's exit code; nothing only if that says so."""
    if output.over:
        return f"it wrote more than {MAX_OUTPUT:,} bytes to stdout"
    code = words.get("exit")
    match verdict:
        case supervisor.DONE:
            return None
        case supervisor.EXITED if isinstance(code, int) and code < 0:
            return f"it was ended by signal {-code}"
        case supervisor.EXITED:
            return f"it exited with {code if isinstance(code, int) else 'an error'}"
        case supervisor.TIMED_OUT:
            return f"it ran longer than {timeout_s:g} s"
        case supervisor.CANCELLED:
            return "it was stopped"
        case supervisor.LEFT_PROCESSES:
            return f"it left {printable(str(words.get('left')), 20)} process(es) running, which were killed"
        case supervisor.NOT_STARTED:
            return f"it cannot be started: {printable(str(words.get('error', 'exit 127')), 200)}"
        case _:
            return "its supervisor was killed or hung, and everything it started with it"


def report_from(stdout: bytes, warnings: tuple[str, ...], log: str) -> Report:
    """The one JSON object `{"proposals": [...], "summary": "...", "usage": {...}}`. Raises `PotatoError` for anything else."""
    data = parse_object(stdout, "stdout")
    unknown = sorted(data.keys() - {"proposals", "summary", "usage"})
    proposals, summary = data.get("proposals", []), data.get("summary", "")
    if unknown:
        raise PotatoError("bad-report", f"it has the unknown key '{printable(unknown[0], 60)}'.")
    if not isinstance(proposals, list) or not isinstance(summary, str):
        raise PotatoError("bad-report", "'proposals' must be a list and 'summary' text.")
    found = as_list(proposals)
    if len(found) > MAX_PROPOSALS:
        raise PotatoError("bad-report", f"{len(found)} proposals; at most {MAX_PROPOSALS} are read.")
    return Report(found, summary[:4000], None, warnings, log, _usage(data.get("usage")))


def _usage(told: Any) -> Usage | None:  # noqa: ANN401 - an agent's word
    """What it says that it used: `{"tokens": 1200, "cost": 0.05}`. Raises `PotatoError` for anything else."""
    if told is None:
        return None
    parts = as_object(told)
    tokens, cost = parts.get("tokens", 0), parts.get("cost", 0)
    sound = type(told) is dict and not parts.keys() - {"tokens", "cost"} and type(tokens) is int and type(cost) in (int, float)
    if not sound or not (0 <= tokens <= _MOST and 0 <= cost <= _MOST):
        raise PotatoError("bad-report", "'usage' must hold 'tokens' and 'cost', each a number that is not negative.")
    return Usage(tokens, round(cost * MICROS))


def printable_log(raw: bytes, secrets: Mapping[str, str]) -> str:
    """The agent's log, line by line printable and with its secrets masked."""
    text = raw.decode("utf-8", "replace")
    for value in secrets.values():
        if value:
            text = text.replace(value, "***")
    return "\n".join(printable(line) for line in text.splitlines())
