"""What the runners of coding agents share: the binary, the cage, one way to come back."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from potato.core.prompt import compose
from potato.core.text import printable
from potato.ports import Report, Request
from potato.ports.session import Trouble
from potato.spokes.cage import spec
from potato.spokes.cage.process import Cage, Launch, OutputError, Talk, launch
from potato.spokes.cage.report import printable_log
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate, Pass

MAX_LINE: Final = 4 << 20
MAX_OUTPUT: Final = 64 << 20
BINARIES: Final = "/opt/agent"
SERVER: Final = "potato"


@dataclass(slots=True)
class Outcome:
    """What an agent's own events said: its last words, and what it calls an error."""

    summary: str = ""
    error: str | None = None
    lines: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Program:
    """How to start an agent, once it is known where the gate is. `files` are more of its config's folder that it sees."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    mounts: Sequence[spec.Mount] = ()
    files: Sequence[str] = ()


Prepare = Callable[[Pass, str, str], Program]
"""(its pass, the gate's address, its working folder) -> the program."""

Read = Callable[[asyncio.StreamWriter, asyncio.StreamReader, Outcome], Awaitable[None]]


class Coding:
    """Runs one kind of coding agent."""

    def __init__(self, gate: Gate, sandbox: Sandbox) -> None:
        self._gate = gate
        self._sandbox = sandbox

    async def run(self, request: Request, prepare: Prepare, read: Read) -> Report:
        """Run it in its cage, or where its config says so, without; what it failed of tells whether another may do better."""
        refusal = await self._sandbox.refusal(request)
        if refusal is not None:
            return refusal
        admitted, outcome = self._gate.admit(request), Outcome()

        async def talk(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
            await read(stdin, stdout, outcome)

        if request.agent.sandbox != "none":
            folder = spec.WORKSPACE
            program = prepare(admitted, admitted.url(), folder)
            own = {**request.agent.environment, **request.secrets, **admitted.proxies, **program.environment}
            environment = spec.environment(own, request.run_id, workspace=request.source is not None)
            cage = Cage(request.bounds, program.mounts, visible(request, program.files), request.source, admitted.serve)
            ended = await self._launched(Launch(request.run_id, program.argv, environment, folder, request.agent.timeout_s, cage), talk)
        else:
            async with admitted.outside() as port:
                program = prepare(admitted, admitted.url(port), request.agent.folder)
                own = {**request.agent.environment, **request.secrets, **program.environment}
                environment = spec.environment(own, request.run_id, workspace=False)
                environment["PATH"] = os.environ.get("PATH", spec.PATH)
                plan = Launch(request.run_id, program.argv, environment, request.agent.folder, request.agent.timeout_s, None)
                ended = await self._launched(plan, talk)
            await admitted.models.close()
        return _report(request, ended, outcome, admitted)

    @staticmethod
    async def _launched(plan: Launch, talk: Talk) -> _Ended:
        try:
            ended = await launch(plan, talk)
        except (OSError, ValueError) as error:
            return _Ended(f"it cannot be started: {error.strerror if isinstance(error, OSError) else error}")
        return _Ended(ended.failure, ended.log, ended.timed_out, ended.changes)


@dataclass(slots=True)
class _Ended:
    failure: str | None
    log: bytes = b""
    timed_out: bool = False
    changes: object = None


def _report(request: Request, ended: _Ended, outcome: Outcome, admitted: Pass) -> Report:
    log = printable_log(ended.log, request.secrets)
    failure = ended.failure
    if outcome.error is not None:
        failure = f"{failure}: {outcome.error}" if failure and failure.startswith("it exited") else failure or outcome.error
    trouble: Trouble | None = None
    if failure is not None:
        trouble = "timeout" if ended.timed_out else admitted.models.trouble
        request.session.tell("error", failure)
    return Report(
        (), outcome.summary, failure, tuple(outcome.warnings), log, admitted.models.meter.usage(), trouble, ended.changes,  # type: ignore[arg-type] # a list of changes
    )  # fmt: skip


def visible(request: Request, names: Sequence[str], more: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(path, name below `/agent`) of the files of its config's folder that an agent sees: those named, and those that `files:` names."""
    folder = request.agent.folder
    paths = [*(os.path.join(folder, name) for name in names), *request.agent.files, *more]
    return [(path, os.path.relpath(path, folder)) for path in dict.fromkeys(paths)]


def prompt_of(request: Request, folder: str) -> str:
    """What it is told."""
    names = [tool.name for tool in request.session.tools]
    return compose(request.agent.prompt, request.event, names, folder if request.source else None)


async def say(stdin: asyncio.StreamWriter, text: str) -> None:
    """All of it; an agent that ends before it has read it all is told by how it ends."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(text.encode())
        await stdin.drain()
    stdin.close()


async def lines(stdout: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Line by line. Raises `OutputError` for a line or a whole that is too long."""
    rest, total = b"", 0
    while chunk := await stdout.read(64 * 1024):
        total += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > MAX_LINE or total > MAX_OUTPUT:
            message = f"it wrote a line of more than {MAX_LINE:,} bytes, or more than {MAX_OUTPUT:,} in all"
            raise OutputError(message)
    if rest.strip():
        yield rest


def binary(module: str, *path: str, command: Sequence[str], name: str) -> tuple[str, str] | None:
    """(folder, file name) of an agent's binary: what the config's `command` names, the installed package, the PATH."""
    if command:
        found = shutil.which(command[0])
        return os.path.split(os.path.realpath(found)) if found else None
    try:
        package = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        package = None
    if package is not None and package.submodule_search_locations:
        inside = os.path.join(package.submodule_search_locations[0], *path)
        if os.path.isfile(inside):
            return os.path.dirname(inside), os.path.basename(inside)
    found = shutil.which(name)
    return (os.path.dirname(os.path.realpath(found)), os.path.basename(os.path.realpath(found))) if found else None


def mount(request: Request, folder: str, name: str) -> spec.Mount:
    """Where its cage has the binary: the installed one with its folder, for what lies beside it; one that a config names by itself."""
    if request.agent.command:
        return spec.Mount(os.path.join(folder, name), os.path.join(BINARIES, name))
    return spec.Mount(folder, BINARIES)


def missing(name: str, extra: str) -> Report:
    """Nothing to run."""
    words = f"{name} is not installed here. Install potato-orchestrator[{extra}], or give its path: command: [/path/to/{name}]."
    return Report(failure=words, trouble="auth")


def short(text: str, limit: int = 500) -> str:
    """For reasons."""
    return printable(" ".join(text.split()), limit)
