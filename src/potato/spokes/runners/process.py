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

from potato.core.foreign import as_list
from potato.core.strict_json import parse_object
from potato.core.text import printable
from potato.errors import PotatoError
from potato.ports import MAX_OUTPUT, MAX_PROPOSALS, Report, Request

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
        environment = _environment(request, home)
        output, status = await _supervised(argv, request, environment)
    log = printable_log(bytes(output.stderr), request.secrets)
    failure = _failure(output, status, request.agent.timeout_s)
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
    return base | dict(request.secrets)


async def _supervised(argv: Sequence[str], request: Request, environment: Mapping[str, str]) -> tuple[_Output, dict[str, Any]]:
    read_fd, write_fd = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _SUPERVISOR, str(write_fd), str(request.agent.timeout_s), *argv,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=request.agent.folder, env=dict(environment), pass_fds=(write_fd,), start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(write_fd)
    output = _Output(bytearray(), bytearray())
    try:
        await asyncio.gather(
            _feed(process, json.dumps(request.as_json(), ensure_ascii=False).encode()),
            _collect_stdout(process, output),
            _collect_stderr(process, output),
        )
        await process.wait()
        with os.fdopen(read_fd, "rb", closefd=False) as pipe:
            lines = pipe.read(64 * 1024).splitlines()
    finally:
        os.close(read_fd)
        await _end(process)
    status: dict[str, Any] = {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            status.update(json.loads(line))
    return output, status


async def _end(process: asyncio.subprocess.Process) -> None:
    """Whatever happened, the supervisor and all below it end; shielded, as this also runs on cancellation."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await asyncio.shield(process.wait())


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


def _failure(output: _Output, status: Mapping[str, Any], timeout_s: float) -> str | None:
    if output.over:
        return f"it wrote more than {MAX_OUTPUT:,} bytes to stdout"
    if "error" in status:
        return f"it cannot be started: {printable(str(status['error']), 200)}"
    if not status:
        return "its supervisor was killed"
    if status["timed_out"]:
        return f"it ran longer than {timeout_s:g} s"
    if status["cancelled"]:
        return "it was stopped"
    if status["exit"] != 0:
        code = status["exit"]
        return f"it was ended by signal {-code}" if code < 0 else f"it exited with {code}"
    if status["left"]:
        return f"it left {status['left']} process(es) running, which were killed"
    return None


def report_from(stdout: bytes, warnings: tuple[str, ...], log: str) -> Report:
    """The one JSON object `{"proposals": [...], "summary": "..."}`. Raises `PotatoError` for anything else."""
    data = parse_object(stdout, "stdout")
    unknown = sorted(data.keys() - {"proposals", "summary"})
    proposals, summary = data.get("proposals", []), data.get("summary", "")
    if unknown:
        raise PotatoError("bad-report", f"it has the unknown key '{printable(unknown[0], 60)}'.")
    if not isinstance(proposals, list) or not isinstance(summary, str):
        raise PotatoError("bad-report", "'proposals' must be a list and 'summary' text.")
    found = as_list(proposals)
    if len(found) > MAX_PROPOSALS:
        raise PotatoError("bad-report", f"{len(found)} proposals; at most {MAX_PROPOSALS} are read.")
    return Report(found, summary[:4000], None, warnings, log)


def printable_log(raw: bytes, secrets: Mapping[str, str]) -> str:
    """The agent's log, line by line printable and with its secrets masked."""
    text = raw.decode("utf-8", "replace")
    for value in secrets.values():
        if value:
            text = text.replace(value, "***")
    return "\n".join(printable(line) for line in text.splitlines())
