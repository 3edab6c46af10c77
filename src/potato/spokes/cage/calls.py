"""The system calls that a caged program is refused: a filter for bubblewrap's --seccomp, in the kernel's own code.

Namespaces do not divide all of a kernel. Keys, performance counters, BPF, io_uring and the older doors of administration are the same
inside as outside, and so are the socket families that know no network namespace: by AF_VSOCK a program in a virtual machine speaks to the
host below it. What a coding agent has no use for is refused here, before the kernel's own checks.

Source: seccomp(2); linux/filter.h; the tables of asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64)
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

_ALLOW: Final = 0x7FFF_0000
_KILL: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_FIRST_AT: Final = 16
_THIRD_AT: Final = 32

_MACHINES: Final = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
"""Machine -> its AUDIT_ARCH, and its column below. Source: linux/audit.h"""

_X32: Final = 0x4000_0000
_UNIX: Final = 1
_INTERNET: Final = (2, 10)
_NETLINK: Final = 16
_NEW_NAMESPACES: Final = 0x7E02_0080  # CLONE_NEWUSER, NEWPID, NEWNET, NEWIPC, NEWUTS, NEWCGROUP, NEWNS and NEWTIME
_SOCKET: Final = (41, 198)
_CLONE: Final = (56, 220)

_REFUSED: Final = {
    # namespaces, mounts and other roots
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # what is one for the whole kernel
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "lookup_dcookie": (212, 18), "syslog": (103, 116), "fanotify_init": (300, 262), "kcmp": (312, 272),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # administration
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
}  # fmt: skip
"""Name -> its numbers by column. They answer EPERM."""

_UNKNOWN: Final = {"clone3": (435, 435), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)}
"""These answer ENOSYS, as an older kernel would: programs then use clone, whose flags a filter can read, and plain system calls."""


def known_machine() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _MACHINES


def refusals(machine: str | None = None) -> bytes:
    """The filter, an array of `struct sock_filter`. Raises `KeyError` for a machine that it knows no numbers of."""
    audit, column = _MACHINES[machine or platform.machine()]
    code = [_step(_LOAD, _MACHINE_AT), _step(_EQUAL, audit, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER_AT)]
    if column == 0:
        code += [_step(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]
    for calls, answer in ((_REFUSED, errno.EPERM), (_UNKNOWN, errno.ENOSYS)):
        for numbers in calls.values():
            number = numbers[column]
            if number is not None:
                code += [_step(_EQUAL, number, 0, 1), _refuse(answer)]
    sockets = [
        _step(_LOAD, _FIRST_AT),
        *(_step(_EQUAL, family, 5 - place, 0) for place, family in enumerate((_UNIX, *_INTERNET))),
        _step(_EQUAL, _NETLINK, 0, 3), _step(_LOAD, _THIRD_AT),
        _step(_EQUAL, 0, 0, 1), _step(_RETURN, _ALLOW), _refuse(errno.EAFNOSUPPORT),
    ]  # fmt: skip
    clones = [_step(_LOAD, _FIRST_AT), _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1), _refuse(errno.EPERM), _step(_RETURN, _ALLOW)]
    code += [_step(_EQUAL, _SOCKET[column], 0, len(sockets)), *sockets]
    code += [_step(_EQUAL, _CLONE[column], 0, len(clones)), *clones]
    return b"".join([*code, _step(_RETURN, _ALLOW)])


def _step(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", operation, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)
