"""How an agent is locked up, as bubblewrap's arguments.

Inside, an agent sees the system read-only, a home, a workspace and `/tmp` on one tmpfs, and the files of its config that it was given. It
has no other network than a loopback with the hub's gate, no capability, and cannot make namespaces of its own.

Source: bwrap(1)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

HOME: Final = "/home/agent"
WORKSPACE: Final = "/workspace"
CONFIG: Final = "/agent"
GATE_PORT: Final = 4180
PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
UID: Final = 1000
_SHARED_BYTES: Final = 64 << 20

_SYSTEM: Final = ("/usr",)
_MERGED: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC: Final = ("alternatives", "ca-certificates", "ssl", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types")
ETC: Final = {
    "passwd": f"root:x:0:0::/:/usr/sbin/nologin\nagent:x:{UID}:{UID}::{HOME}:/bin/sh\n",
    "group": f"root:x:0:\nagent:x:{UID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "# this one knows no name: what an agent may reach, it reaches through the hub\nnameserver 127.0.0.1\n",
}
"""Files of our own that stand in /etc there."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Something of this machine that an agent sees, read-only, at `inside`."""

    outside: str
    inside: str


def arguments(home: str, mounts: Sequence[Mount], folder: str) -> list[str]:
    """Bubblewrap's arguments but for the environment. `home` is the folder that the run's tmpfs is mounted on."""
    given: list[str] = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--disable-userns"]
    given += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", str(UID), "--gid", str(UID), "--hostname", "cage"]
    given += ["--clearenv"]
    for path in _system():
        given += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    for name in _ETC:
        given += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ETC:
        given += ["--ro-bind", f"{home}/etc/{name}", f"/etc/{name}"]
    given += ["--proc", "/proc", "--dev", "/dev", "--size", str(_SHARED_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108 - the same
    given += ["--dir", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp"]  # noqa: S108 - the cage's own
    for name, inside in (("home", HOME), ("workspace", WORKSPACE), ("tmp", "/tmp")):  # noqa: S108 - the cage's own
        given += ["--bind", os.path.join(home, name), inside]
    given += ["--ro-bind", f"{home}/agent", CONFIG]
    for number, mount in enumerate(mounts):
        given += ["--ro-bind", f"{home}/mount{number}", mount.inside]
    return [*given, "--remount-ro", "/", "--chdir", folder]


def _system() -> Iterator[str]:
    yield from (path for path in (*_SYSTEM, *_MERGED) if os.path.lexists(path))


def interpreter() -> list[Mount]:
    """What our own Python needs, where it does not lie in the system: its installation and its environment."""
    import potato

    wanted = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), os.path.dirname(potato.__file__)}
    outside = sorted(path for path in wanted if not path.startswith("/usr/"))
    return [Mount(path, path) for path in outside if not any(path.startswith(f"{other}/") for other in outside)]


def environment(own: Mapping[str, str], run_id: str, *, workspace: bool) -> dict[str, str]:
    """What an agent gets: its own, under a few that no secret can replace."""
    base = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": HOME, "TMPDIR": "/tmp", "POTATO_RUN_ID": run_id}  # noqa: S108
    return dict(own) | base | ({"POTATO_WORKSPACE": WORKSPACE} if workspace else {})
