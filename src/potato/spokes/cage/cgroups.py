"""Control groups of a caged run: memory, processes and processor share, counted by the kernel.

Version 1 and 2 alike. Where this process may make none (no root, nothing delegated), the supervisor watches memory itself, and the limits
on processes are those of the user; nothing is left unlimited.

Source: https://docs.kernel.org/admin-guide/cgroup-v1/ and https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Final

from potato.ports import Bounds

_ROOT: Final = "/sys/fs/cgroup"
_PERIOD_US: Final = 100_000
_REMOVE_S: Final = 2.0


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
    """Groups for one run, below our own; those that cannot be made are left out."""
    groups = Groups()
    share = str(int(bounds.cpus * _PERIOD_US))
    wanted = {
        "memory": {"memory.limit_in_bytes": str(bounds.memory_bytes), "memory.memsw.limit_in_bytes": str(bounds.memory_bytes)},
        "pids": {"pids.max": str(bounds.processes)},
        "cpu": {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": share},
    }
    own = _own()
    if "" in own and os.path.exists(f"{_ROOT}/cgroup.controllers"):
        merged = {"memory.max": str(bounds.memory_bytes), "memory.swap.max": "0", "memory.oom.group": "1",
                  "pids.max": str(bounds.processes), "cpu.max": f"{share} {_PERIOD_US}"}  # fmt: skip
        folder = _made(_ROOT + own[""], name, merged, "memory.max")
        if folder:
            groups.folders, groups.memory = [folder], folder
        return groups
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


def _made(parent: str, name: str, values: dict[str, str], needed: str) -> str | None:
    """A new group with these values; nothing if it cannot be, or its most needed value cannot be set."""
    folder = os.path.join(parent, f"potato-{name}")
    try:
        os.mkdir(folder, 0o755)
    except OSError:
        return None
    for key, value in values.items():
        try:
            with open(os.path.join(folder, key), "w", encoding="ascii") as file:
                file.write(value)
        except OSError:
            if key == needed:
                os.rmdir(folder)
                return None
    return folder
