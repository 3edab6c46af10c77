"""Run one program under the supervisor, locked up or not, and say how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

from potato.core.foreign import as_object
from potato.core.text import printable
from potato.ports import Bounds, Change, Source
from potato.spokes.cage import calls, spec, supervisor
from potato.spokes.cage.cgroups import Groups, make_groups

_DEADLINE_GRACE_S: Final = 10.0
_ASK_S: Final = 6.0
_PIPE_GRACE_S: Final = 2.0
_FAREWELL_S: Final = 0.5
_CHECK_OUT_S: Final = 120.0
_SUPERVISOR: Final = os.path.join(os.path.dirname(__file__), "supervisor.py")
_LOG_BYTES: Final = 64 * 1024
_READ: Final = 64 * 1024
_LINE: Final = 1 << 20
_INODES: Final = 200_000
_MOST_FILES: Final = 2_000
_MOST_BYTES: Final = 64 << 20
_LOWEST_UID: Final = 1_900_000_000
_UIDS: Final = 1 << 26
_GROUPS_SECRET: Final = 4
_DNS_HEAD: Final = 12
_supervisors: set[int] = set()

Serve = Callable[[socket.socket], Awaitable[None]]
Talk = Callable[[asyncio.StreamWriter, asyncio.StreamReader], Awaitable[None]]


class OutputError(Exception):
    """What it wrote is not what it may write; the reason."""


@dataclass(frozen=True, slots=True)
class Cage:
    """How a program is locked up. `files` (path outside, name below `/agent`) and `mounts` are what it sees beside the system.

    `serve` gets the socket that stands at port 4180 of its loopback; `source` becomes its workspace.
    """

    bounds: Bounds = field(default_factory=Bounds)
    mounts: Sequence[spec.Mount] = ()
    files: Sequence[tuple[str, str]] = ()
    source: Source | None = None
    serve: Serve | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A program with its environment, and the folder that it starts in: inside its cage, if it has one."""

    run_id: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    timeout_s: float
    cage: Cage | None


@dataclass(slots=True)
class Ended:
    """How it ended: why it failed, if it did; the end of its log; what differs in its workspace, where it got one."""

    failure: str | None = None
    log: bytes = b""
    timed_out: bool = False
    changes: list[Change] | None = None


async def launch(what: Launch, talk: Talk) -> Ended:
    """Run it to its end, talking on its stdin and stdout. Raises nothing for what it did; on cancellation nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="potato-run-", ignore_cleanup_errors=True) as home:
        if what.cage is None:
            environment = {**what.environment, "HOME": home, "TMPDIR": home}
            plan = {"argv": list(what.argv), "environment": environment, "folder": what.folder, "timeout_s": what.timeout_s, "cage": None}
            return await _supervised(what, plan, talk, ())
        with _locked(what, what.cage, home) as (plan, groups, changes, descriptors):
            ended = await _supervised(what, plan, talk, descriptors, what.cage.serve)
            if ended.failure and groups.killed_for_memory():
                ended.failure = f"it needed more than {what.cage.bounds.memory_bytes:,} bytes of memory"
            if ended.failure is None and changes is not None:
                ended.changes, ended.failure = _changes(changes)
            return ended


@dataclass(slots=True)
class _Plan:
    """What is open while a caged program runs."""

    descriptors: list[int] = field(default_factory=list[int])


@contextlib.contextmanager
def _locked(what: Launch, cage: Cage, home: str) -> Iterator[tuple[dict[str, Any], Groups, IO[bytes] | None, tuple[int, ...]]]:
    """The plan for the supervisor, with what it needs open. All of it is gone afterwards."""
    bounds, descriptors = cage.bounds, _Plan()
    uid = _uid() if os.geteuid() == 0 else None
    groups = make_groups(what.run_id.replace("/", "_") + f"-{os.urandom(_GROUPS_SECRET).hex()}", bounds)
    mounts = [*cage.mounts, *(spec.Mount(path, path) for path in bounds.read)]
    with contextlib.ExitStack() as stack:
        stack.callback(groups.remove)
        changes = pack = None
        if cage.source is not None:
            changes = stack.enter_context(tempfile.TemporaryFile())
            pack = stack.enter_context(open(cage.source.pack, "rb"))
            descriptors.descriptors += [changes.fileno(), pack.fileno()]
        body: dict[str, Any] = {
            "uid": uid, "home": home, "disk_bytes": bounds.disk_bytes, "inodes": _INODES, "etc": spec.ETC, "gate_port": spec.GATE_PORT,
            "mounts": [mount.outside for mount in mounts], "files": [list(pair) for pair in cage.files], "groups": groups.entrances,
            "argv": [bubblewrap() or "bwrap"], "bind": spec.arguments(home, mounts, what.folder), "refusals": calls.refusals().hex(),
            "memory_bytes": bounds.memory_bytes, "cpu_s": bounds.cpu_s,
            "limits": {"RLIMIT_NPROC": bounds.processes, "RLIMIT_FSIZE": bounds.disk_bytes},
            "source": None if changes is None or pack is None or cage.source is None else {
                "commit": cage.source.commit, "pack_fd": pack.fileno(), "changes_fd": changes.fileno(), "timeout_s": _CHECK_OUT_S,
                "most_files": _MOST_FILES, "most_bytes": _MOST_BYTES,
            },
        }  # fmt: skip
        plan = {"argv": list(what.argv), "environment": dict(what.environment), "timeout_s": what.timeout_s, "cage": body}
        yield plan, groups, changes, tuple(descriptors.descriptors)


def _uid() -> int:
    """A user of this run alone: high above those of people, services and containers, and by chance no other run's."""
    return _LOWEST_UID + int.from_bytes(os.urandom(4), "big") % _UIDS


@functools.cache
def bubblewrap() -> str | None:
    """Where it is."""
    return shutil.which("bwrap")


async def _supervised(what: Launch, plan: dict[str, Any], talk: Talk, descriptors: tuple[int, ...], serve: Serve | None = None) -> Ended:
    """Run the plan. The agent may turn on its supervisor, so this process is a subreaper too, keeps a deadline of its own, and
    waits for no pipe longer than for the processes.
    """  # noqa: D205 - one sentence more
    supervisor.prctl(supervisor.PR_SET_CHILD_SUBREAPER, 1)
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    if plan["cage"]:
        plan["cage"]["gate_fd"] = theirs.fileno()
    plan_fd = os.memfd_create("plan")
    os.write(plan_fd, json.dumps(plan).encode())
    os.lseek(plan_fd, 0, os.SEEK_SET)
    passed = (write_fd, plan_fd, *((theirs.fileno(),) if plan["cage"] else ()), *descriptors)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _SUPERVISOR, str(write_fd), str(plan_fd),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_LINE,
            env={}, pass_fds=passed, start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(read_fd)
        ours.close()
        raise
    finally:
        os.close(write_fd)
        os.close(plan_fd)
        theirs.close()
    return await _attended(what, process, talk, read_fd, ours, serve)


async def _attended(what: Launch, process: asyncio.subprocess.Process, talk: Talk, read_fd: int, gate: socket.socket,
                    serve: Serve | None) -> Ended:  # fmt: skip
    _supervisors.add(process.pid)
    since = supervisor.started(process.pid)
    log = bytearray()
    assert process.stdin is not None  # noqa: S101 - all three were opened as pipes
    assert process.stdout is not None  # noqa: S101
    talking = asyncio.create_task(_talk(process, talk))
    logging = asyncio.create_task(_collect_log(process, log))
    serving = asyncio.create_task(_open_gate(gate, serve)) if serve else None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(what.timeout_s + _DEADLINE_GRACE_S + (_CHECK_OUT_S if what.cage and what.cage.source else 0)):
                await process.wait()
    finally:
        await asyncio.shield(_end(process, since, caged=what.cage is not None))
        await _finish([talking, logging])
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PIPE_GRACE_S):
                await process.stdin.wait_closed()  # what it did not read fails here, and nowhere else
        if serving is not None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        gate.close()
        words = _words(read_fd)
        os.close(read_fd)
    verdict = process.returncode if process.returncode is not None else -signal.SIGKILL
    broken = talking.exception() if talking.done() and not talking.cancelled() else None
    failure = str(broken) if isinstance(broken, OutputError) else _failure(what, verdict, words, bytes(log))
    if failure is None and broken is not None:
        failure = f"it could not be talked to: {type(broken).__name__}"
    return Ended(failure, bytes(log), verdict == supervisor.TIMED_OUT)


async def _talk(process: asyncio.subprocess.Process, talk: Talk) -> None:
    """Talk with it. One that may not go on is ended, and so, as done, is one that stays after the talk."""
    assert process.stdin is not None  # noqa: S101 - opened as pipes
    assert process.stdout is not None  # noqa: S101
    ending = signal.SIGUSR1
    try:
        await talk(process.stdin, process.stdout)
    except (BrokenPipeError, ConnectionResetError):
        return
    except OutputError:
        ending = signal.SIGTERM
        raise
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S if ending == signal.SIGUSR1 else 0):
                await _drained(process.stdout)
        with contextlib.suppress(ProcessLookupError):
            if not process.stdout.at_eof():
                process.send_signal(ending)
        await _drained(process.stdout)


async def _drained(stdout: asyncio.StreamReader) -> None:
    """Whatever still comes goes nowhere."""
    while await stdout.read(_READ):
        pass


async def _open_gate(gate: socket.socket, serve: Serve) -> None:
    """Take the listening socket of its network, and serve it until cancelled."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[list[socket.socket]] = loop.create_future()

    def take() -> None:
        loop.remove_reader(gate.fileno())
        _, descriptors, _, _ = socket.recv_fds(gate, 16, 2)
        ready.set_result([socket.socket(fileno=descriptor) for descriptor in descriptors])

    loop.add_reader(gate.fileno(), take)
    try:
        opened = await ready
    finally:
        loop.remove_reader(gate.fileno())
    if not opened:
        return
    listener, names = opened
    listener.setblocking(False)
    names.setblocking(False)
    with listener:
        transport, _ = await loop.create_datagram_endpoint(_NoNames, sock=names)
        try:
            await serve(listener)
        finally:
            transport.close()


class _NoNames(asyncio.DatagramProtocol):
    """The name server of a cage: there is no such name, and it says so at once. Source: RFC 1035, 4.1.1."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # a datagram endpoint has this one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401 - asyncio's face
        if len(data) >= _DNS_HEAD:
            self._transport.sendto(data[:2] + b"\x81\x83" + data[4:6] + b"\0\0\0\0\0\0" + data[_DNS_HEAD:], addr)


async def _end(process: asyncio.subprocess.Process, since: int, *, caged: bool) -> None:
    """Whatever happened, the supervisor and all that it started end: asked, then killed, then whatever escaped.

    From a cage nothing escapes: with the supervisor its bubblewrap ends, and with that all that lives in its process namespace.
    """
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
    if process.returncode is not None and process.returncode < 0 and not caged:
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


async def _collect_log(process: asyncio.subprocess.Process, log: bytearray) -> None:
    """Keep the end of what it says on stderr, drop the rest."""
    assert process.stderr is not None  # noqa: S101 - opened as a pipe
    while chunk := await process.stderr.read(_READ):
        log += chunk
        del log[: max(0, len(log) - _LOG_BYTES)]


def _failure(what: Launch, verdict: int, words: Mapping[str, Any], log: bytes) -> str | None:
    """Why the run failed, by the supervisor's exit code; nothing only if that says so."""
    code = words.get("exit")
    match verdict:
        case supervisor.DONE:
            return None
        case supervisor.EXITED if isinstance(code, int) and code < 0:
            return f"it was ended by signal {-code}"
        case supervisor.EXITED if what.cage and log.rpartition(b"bwrap: execvp ")[1] and code == 1:
            return f"it cannot be started: {printable(log.rpartition(b'bwrap: execvp ')[2].decode('utf-8', 'replace').strip(), 200)}"
        case supervisor.EXITED if what.cage and isinstance(code, int) and code > 128:  # noqa: PLR2004 - a shell's way to tell a signal
            return f"it was ended by signal {code - 128}"
        case supervisor.EXITED:
            said = words.get("error")
            return printable(str(said), 200) if said else f"it exited with {code if isinstance(code, int) else 'an error'}"
        case supervisor.TIMED_OUT:
            return f"it ran longer than {what.timeout_s:g} s"
        case supervisor.CANCELLED:
            return "it was stopped"
        case supervisor.LEFT_PROCESSES:
            return f"it left {printable(str(words.get('left')), 20)} process(es) running, which were killed"
        case supervisor.NOT_STARTED:
            return f"it cannot be started: {printable(str(words.get('error', 'exit 127')), 300)}"
        case supervisor.OVER_MEMORY:
            return f"it needed more than {what.cage.bounds.memory_bytes if what.cage else 0:,} bytes of memory"
        case supervisor.OVER_CPU:
            return f"it needed more than {what.cage.bounds.cpu_s if what.cage else 0:g} s of processor time"
        case _:
            return "its supervisor was killed or hung, and everything it started with it"


def _changes(file: IO[bytes]) -> tuple[list[Change], str | None]:
    """What differs in the workspace, and why that cannot be taken, if so. What stands there is the agent's."""
    file.seek(0)
    changes: list[Change] = []
    while told := file.readline(_READ):
        entry = as_object(json.loads(told))
        if entry.get("end"):
            return changes, None
        if entry.get("over"):
            return [], f"it changed more than {_MOST_FILES:,} files or {_MOST_BYTES:,} bytes of its workspace"
        path = os.fsdecode(bytes.fromhex(entry["path"]))
        changes.append(Change(path) if entry.get("gone") else Change(path, entry["mode"], file.read(entry["size"])))
    return [], "its workspace could not be read"
