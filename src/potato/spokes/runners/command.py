"""The runner `command`: any program, one JSON object on stdin and one on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace

from potato.config.agent_file import confined
from potato.errors import PotatoError
from potato.ports import MAX_OUTPUT, Report, Request
from potato.spokes.cage import spec
from potato.spokes.cage.process import Cage, Launch, OutputError, launch
from potato.spokes.cage.report import printable_log, report_from
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate
from potato.spokes.runners.coding import visible


class CommandRunner:
    """argv comes from the config only; nothing of the event is ever part of it."""

    def __init__(self, gate: Gate | None = None, sandbox: Sandbox | None = None) -> None:
        self._gate = gate or Gate()
        self._sandbox = sandbox or Sandbox()

    async def run(self, request: Request) -> Report:
        """See `run_program`."""
        return await self.run_program(request, request.agent.command, ())

    async def run_program(self, request: Request, argv: Sequence[str], mounts: Sequence[spec.Mount], more: Sequence[str] = ()) -> Report:
        """Run `argv` without a shell and read its report.

        Caged, it starts in `/agent`, where it sees its own files; uncaged, in its config's folder. A crash, a time-out, garbage or too
        much output are a failed report. `more` are files beside those that argv and `files:` name.
        """
        refusal = await self._sandbox.refusal(request)
        if refusal is not None:
            return refusal
        output = bytearray()
        pass_ = self._gate.admit(request)
        caged = request.agent.sandbox != "none"
        own = {**request.agent.environment, **request.secrets, **(pass_.environment if caged else {})}
        environment = spec.environment(own, request.run_id, workspace=caged and request.source is not None)
        cage = None
        if caged:
            cage = Cage(request.bounds, mounts, visible(request, own_files(request.agent.folder, argv), more), request.source, pass_.serve)
        else:
            environment["PATH"] = os.environ.get("PATH", spec.PATH)
        folder = spec.CONFIG if cage else request.agent.folder

        async def talk(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
            await asyncio.gather(_feed(stdin, json.dumps(request.as_json(), ensure_ascii=False).encode()), _collect(stdout, output))

        try:
            ended = await launch(Launch(request.run_id, argv, environment, folder, request.agent.timeout_s, cage), talk)
        except (OSError, ValueError) as error:
            return Report(failure=f"it cannot be started: {error.strerror if isinstance(error, OSError) else error}")
        log = printable_log(ended.log, request.secrets)
        usage = pass_.models.meter.usage()
        if ended.failure is None:
            try:
                report = report_from(bytes(output))
                return replace(report, log=log, changes=ended.changes, usage=usage or report.usage)
            except PotatoError as error:
                return Report(failure=f"its output is no report: {error.message} {error.hint}".rstrip(), log=log, usage=usage)
        return Report(failure=ended.failure, log=log, usage=usage, trouble="timeout" if ended.timed_out else pass_.models.trouble)


def own_files(folder: str, argv: Sequence[str]) -> list[str]:
    """The words of argv that are files of the config's folder."""
    found: list[str] = []
    for part in argv:
        with contextlib.suppress(ValueError, OSError):
            confined(folder, part)
            found.append(os.path.normpath(part))
    return found


async def _feed(stdin: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(data)
        await stdin.drain()
    stdin.close()


async def _collect(stdout: asyncio.StreamReader, output: bytearray) -> None:
    while chunk := await stdout.read(64 * 1024):
        output += chunk
        if len(output) > MAX_OUTPUT:
            output.clear()
            message = f"it wrote more than {MAX_OUTPUT:,} bytes to stdout"
            raise OutputError(message)
