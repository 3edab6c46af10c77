"""The cage, tried from within by a hostile agent. Rows A09, A10, A12, A13, A14 of the threats."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract.test_runners import PYTHON, request, survivors

from potato.ports import Bounds, Report, Request
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate
from potato.spokes.runners.command import CommandRunner

CANARY = "canary-of-the-cage-7d31"
HOSTILE = Path(__file__).with_name("hostile_agent.py")
BOUNDS = Bounds(memory_bytes=512 << 20, disk_bytes=64 << 20, processes=128, cpu_s=60)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What there is to find: a file, a port, sockets, shared memory, a process with a secret in its environment."""
    monkeypatch.setenv("HUB_SECRET", CANARY)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "secret.txt").write_text(CANARY)
    (tmp_path / "hub" / "potato.db").write_text(CANARY)
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "secret.txt").write_text(CANARY)
    (tmp_path / "agent" / "hostile_agent.py").write_bytes(HOSTILE.read_bytes())
    libc = ctypes.CDLL(None)
    libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    segment = libc.shmget(0x706F7461, 4096, 0o1666)
    told = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=False).stdout.splitlines()
    address = next((line.split()[3].split("/")[0] for line in told if " lo " not in line), "127.0.0.2")
    with (
        socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named,
        subprocess.Popen(["sleep", "300"], env={"HUB_SECRET": CANARY, "PATH": os.environ["PATH"]}) as process,
    ):  # fmt: skip
        abstract.bind(f"\0potato-{os.getpid()}")
        abstract.listen()
        named.bind(str(tmp_path / "hub" / "hub.sock"))
        named.listen()
        yield {
            "file": str(tmp_path / "hub" / "secret.txt"), "database": str(tmp_path / "hub" / "potato.db"), "canary": CANARY[::-1], "pid": os.getpid(),
            "port": server.getsockname()[1], "address": address, "abstract": f"potato-{os.getpid()}", "socket": str(tmp_path / "hub" / "hub.sock"),
            "shm": 0x706F7461, "hostname": socket.gethostname(), "marker": str(tmp_path / "hub"), "daemon": "mark-cage-daemon", "token": "of-another-run",
            "ways": None,
        }  # fmt: skip
        process.kill()
    libc.shmctl(segment, 0, None)


def hostile(folder: Path, outside: dict[str, Any], **options: Any) -> Request:
    asked = request(folder / "agent", command=(PYTHON, "hostile_agent.py"), sandbox="auto", timeout_s=60,
                    environment={"HOSTILE_KNOWS": json.dumps(outside)}, **options)  # fmt: skip
    return replace(asked, bounds=BOUNDS)


async def caged(asked: Request) -> Report:
    gate = Gate()
    try:
        return await CommandRunner(gate, Sandbox()).run(asked)
    finally:
        await gate.close()


async def test_none_of_the_ways_out_succeeds(tmp_path: Path, outside: dict[str, Any]) -> None:
    report = await caged(hostile(tmp_path, outside))
    assert report.failure is None, report.log
    assert json.loads(report.summary) == {}
    assert int(report.log.splitlines()[-1].split()[0]) >= 79
    assert survivors("mark-cage-daemon") == []
    assert CANARY not in report.log


async def test_the_same_agent_gets_out_without_a_cage(tmp_path: Path, outside: dict[str, Any]) -> None:
    """The suite can fail: it finds what there is to find where nothing holds it."""
    harmless = {"read_the_hubs_file", "read_the_hubs_database", "environments_of_others", "the_hubs_own_port", "signal_the_hub",
                "an_abstract_socket_of_the_host", "sockets_of_the_host", "the_hubs_processes"}  # fmt: skip
    known = json.dumps({**outside, "ways": sorted(harmless)})
    asked = request(tmp_path / "agent", command=(PYTHON, "hostile_agent.py"), sandbox="none", environment={"HOSTILE_KNOWS": known})
    report = await CommandRunner().run(asked)
    assert set(json.loads(report.summary)) >= harmless - {"environments_of_others"}, report.log


@pytest.mark.parametrize(
    ("code", "said", "timeout_s"),
    [
        ("x = []\nwhile True: x.append(bytearray(10_000_000))", "it needed more than 268,435,456 bytes of memory", 20),
        ("import os\nfor _ in range(3): os.fork()\nwhile True: pass", "it needed more than 2 s of processor time", 20),
        ("import time; time.sleep(600)", "it ran longer than 1.5 s", 1.5),
    ],
)
async def test_what_needs_too_much_ends_with_its_reason(tmp_path: Path, code: str, said: str, timeout_s: float) -> None:
    asked = request(tmp_path, command=(PYTHON, "-c", code), sandbox="auto", timeout_s=timeout_s)
    started = time.monotonic()
    report = await caged(replace(asked, bounds=replace(BOUNDS, memory_bytes=256 << 20, cpu_s=2)))
    assert report.failure == said
    assert time.monotonic() - started < 15


async def test_without_a_sandbox_nothing_untrusted_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is trusted needs to be told to do without."""
    monkeypatch.setattr("potato.spokes.cage.sandbox.bubblewrap", lambda: None)
    asked = request(tmp_path, command=(PYTHON, "-c", "print('{}')"), sandbox="auto")
    for trusted, sandbox, said in (
        (True, "auto", "there is no sandbox here (bubblewrap is not installed). Install bubblewrap and allow user namespaces; or write sandbox"),
        (False, "auto", "there is no sandbox here (bubblewrap is not installed)"),
        (False, "none", "the event is untrusted, and 'sandbox: none' would run it without a cage"),
    ):  # fmt: skip
        report = await CommandRunner().run(replace(asked, trusted=trusted, agent=replace(asked.agent, sandbox=sandbox)))
        assert str(report.failure).startswith(f"no-sandbox: {said}")
        assert report.trouble == "refused"
    report = await CommandRunner().run(replace(asked, agent=replace(asked.agent, sandbox="none")))
    assert report.failure is None
