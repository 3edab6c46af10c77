"""Control groups, by the kernel of this machine, in whichever version it has them: what a run may use, and what a killed hub leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contract.test_runners import PYTHON, request
from security.test_cage import caged

from potato.ports import Bounds
from potato.spokes.cage import cgroups
from potato.spokes.cage.cgroups import Groups, make_groups

BOUNDS = Bounds(memory_bytes=64 << 20, processes=20, cpus=0.5)
ENTER = "import os, sys\nfor path in sys.argv[1:]: open(path, 'w').write('0')\n"

FORKING = """
waiting, held = os.pipe()
def forked(count):
    for number in range(count):
        try:
            if not os.fork():
                os.close(held)
                return 0
        except OSError:
            print(number, flush=True)
            raise
    return count
"""
"""Its children wait until it is gone."""


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = make_groups(f"test-{os.urandom(4).hex()}", BOUNDS)
    if made.memory is None:
        pytest.skip("this process may make no control groups: it is not root, and nothing is delegated to it")
    yield made
    made.remove()
    assert not any(os.path.exists(folder) for folder in made.folders)


def within(groups: Groups, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-c", ENTER + code, *groups.entrances]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_within_what_it_may_use_goes_on(groups: Groups) -> None:
    assert within(groups, "bytearray(16 << 20); print('done')").stdout == "done\n"
    assert not groups.killed_for_memory()


def test_the_kernel_ends_what_needs_too_much_memory(groups: Groups) -> None:
    assert within(groups, "bytearray(96 << 20); print('done')").returncode == -9
    assert groups.killed_for_memory()


def test_memory_is_that_of_all_its_processes(groups: Groups) -> None:
    within(groups, FORKING + "if not forked(8): x = bytearray(16 << 20); os.read(waiting, 1); os._exit(0)\nos.wait()")
    assert groups.killed_for_memory()


def test_more_processes_than_allowed_are_refused(groups: Groups) -> None:
    told = within(groups, FORKING + "if not forked(100): os.read(waiting, 1); os._exit(0)")
    assert told.stderr.endswith("BlockingIOError: [Errno 11] Resource temporarily unavailable\n")
    assert told.stdout == "19\n"


def test_what_a_killed_hub_left_is_taken_away_by_the_next_run(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is young (its process may be about to enter), not what is in use, and nobody else's."""
    parent = Path(groups.folders[0]).parent
    made = {name: parent / f"{prefix}{name}-{os.getpid()}" for name, prefix in
            (("old", cgroups._NAME), ("used", cgroups._NAME), ("young", cgroups._NAME), ("foreign", "other-"))}  # fmt: skip
    long_ago = time.time() - 7200
    for name, folder in made.items():
        folder.mkdir()
        if name != "young":
            os.utime(folder, (long_ago, long_ago))
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as using:
        (made["used"] / "cgroup.procs").write_text(str(using.pid))
        make_groups(f"next-{os.getpid()}", BOUNDS).remove()
        assert [name for name, folder in made.items() if folder.exists()] == ["used", "young", "foreign"]
        using.communicate()
    for name in ("used", "young", "foreign"):
        made[name].rmdir()


async def test_a_caged_run_is_held_by_them(groups: Groups, tmp_path: Path) -> None:
    asked = request(tmp_path, command=(PYTHON, "-c", "bytearray(96 << 20); print('{}')"), sandbox="auto", timeout_s=100)
    assert (
        await caged(replace(asked, bounds=replace(BOUNDS, processes=100, cpus=2)))
    ).failure == "it needed more than 67,108,864 bytes of memory"
    assert (await caged(replace(asked, bounds=Bounds()))).failure is None
