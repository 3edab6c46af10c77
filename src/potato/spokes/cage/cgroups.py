"""Control groups of a caged run: memory, processes and processor share, counted by the kernel.

Version 1 and 2 alike. Where this process may make none (no root, nothing delegated), the supervisor watches memory itself, and the limits
on processes are those of the user; nothing is left unlimited.

Source: https://docs.kernel.org/admin-guide/cgroup-v1/, https://docs.kernel.org/admin-guide/cgroup-v2.html and
https://systemd.io/CGROUP_DELEGATION/
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from potato.ports import Bounds

_ROOT: Final = "/sys/fs/cgroup"
_OURS: Final = "potato"
_NAME: Final = f"{_OURS}-"
_LEAF: Final = f"{_OURS}.hub"
_PERIOD_US: Final = 100_000
_REMOVE_S: Final = 2.0
_FORGOTTEN_S: Final = 3600.0
_ROUNDS: Final = 20


@dataclass(slots=True)
class Groups:
    """The groups of one run, by controller; `memory` tells whether the kernel holds its memory."""

    folders: list[str] = field(default_factory=list[str])
    memory: str | None = None

    @property
    def entrances(self) -> list[str]:
        """Files by which a process enters."""
        return [os.path.join(folder, "cgroup.procs") for folder in self.folders]

    def killed_for_memory(self) -> bool:
        """Whether the kernel killed something in it that needed more than it may."""
        if self.memory is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError), open(os.path.join(self.memory, name), encoding="ascii") as file:
                return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in file)
        return False

    def remove(self) -> None:
        """Take them away; whoever is still in one keeps it for a moment."""
        until = time.monotonic() + _REMOVE_S
        for folder in self.folders:
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > until:
                        break
                    time.sleep(0.005)
                else:
                    break


def make_groups(name: str, bounds: Bounds) -> Groups:
    """Groups for one run; those that cannot be made are left out."""
    own, groups = _own(), Groups()
    share = str(int(bounds.cpus * _PERIOD_US))
    if "" in own and os.path.exists(f"{_ROOT}/cgroup.controllers"):
        values = {"memory.max": str(bounds.memory_bytes), "memory.swap.max": "0", "memory.oom.group": "1",
                  "pids.max": str(bounds.processes), "cpu.max": f"{share} {_PERIOD_US}"}  # fmt: skip
        home = _home(own[""])
        folder = _made(home, name, values, "memory.max") if home else None
        if folder:
            groups.folders, groups.memory = [folder], folder
        return groups
    wanted = {
        "memory": {"memory.limit_in_bytes": str(bounds.memory_bytes), "memory.memsw.limit_in_bytes": str(bounds.memory_bytes)},
        "pids": {"pids.max": str(bounds.processes)},
        "cpu": {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": share},
    }
    for controller, values in wanted.items():
        if controller in own:
            folder = _made(f"{_ROOT}/{controller}{own[controller]}", name, values, next(iter(values)))
            if folder:
                groups.folders.append(folder)
                groups.memory = folder if controller == "memory" else groups.memory
    return groups


def _own() -> dict[str, str]:
    """Controller -> the path of our own group; version 2 has the empty name."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            found |= dict.fromkeys(controllers.split(","), "" if path == "/" else path)
    return found


def _made(parent: str, name: str, values: Mapping[str, str], needed: str) -> str | None:
    """A new group with these values; nothing if it cannot be, or its most needed value cannot be set."""
    folder = os.path.join(parent, f"{_NAME}{name}")
    try:
        _forget(parent)
        os.mkdir(folder, 0o755)
    except OSError:
        return None
    for key, value in values.items():
        if not _written(os.path.join(folder, key), value) and key == needed:
            os.rmdir(folder)
            return None
    return folder


def _forget(parent: str) -> None:
    """Take away what hubs left that were killed: groups of runs in which nobody has been for long. Raises `OSError`."""
    long_ago = time.time() - _FORGOTTEN_S
    with os.scandir(parent) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.startswith(_NAME) and entry.stat().st_mtime < long_ago:
                    os.rmdir(entry.path)  # never one with a process in it


def _written(path: str, value: str) -> bool:
    """Whether the kernel took it."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError:
        return False
    return True


# version 2: a group that limits those below it has no processes of its own


def _home(own: str) -> str | None:
    """Where the groups of runs stand: in our own group if it is ours to divide, else, for root, in one at the top. Nothing if nowhere."""
    base = _ROOT + (os.path.dirname(own) if os.path.basename(own) == _LEAF else own)
    if not _ours(base):
        base = os.path.join(_ROOT, _OURS)
        with contextlib.suppress(OSError):
            os.mkdir(base, 0o755)
        if not _divided(_ROOT):
            return None
    return base if _divided(base) or (_emptied(base) and _divided(base)) else None


def _ours(base: str) -> bool:
    """Whether we may divide it: the machine's root, the whole of what a container sees, or what a service manager left to us."""
    if base == _ROOT:
        return True
    with contextlib.suppress(OSError):
        return any(os.getxattr(base, name) == b"1" for name in os.listxattr(base) if name in ("trusted.delegate", "user.delegate"))
    return False


def _divided(base: str) -> bool:
    """Whether the groups below it may have limits; makes it so where the kernel lets us."""
    switch = os.path.join(base, "cgroup.subtree_control")
    try:
        with open(switch, encoding="ascii") as file:
            on = file.read().split()
    except OSError:
        return False
    if not {"memory", "pids"} <= set(on) and not _written(switch, "+memory +pids"):
        return False
    if "cpu" not in on:  # good to have; before the others it would make groups below it useless
        _written(switch, "+cpu")
    return True


def _emptied(base: str) -> bool:
    """Whether all of its processes (ours: it is our group) could move to a group below."""
    leaf = os.path.join(base, _LEAF)
    try:
        os.makedirs(leaf, 0o755, exist_ok=True)
        for _ in range(_ROUNDS):
            with open(os.path.join(base, "cgroup.procs"), encoding="ascii") as file:
                there = file.read().split()
            if not there:
                return True
            for pid in there:
                _written(os.path.join(leaf, "cgroup.procs"), pid)
    except OSError:
        return False
    return False
