"""Run one agent process and leave nothing of it behind. Run as a script, with the standard library only.

usage: supervisor.py STATUS_FD TIMEOUT_S ARGV...

Every process that the agent starts, daemons included, becomes a child of this one (a subreaper). When
the agent ends, times out or is cancelled (SIGTERM, or the death of the parent), all of them are killed. The
outcome goes to STATUS_FD as one line of JSON: {"exit", "timed_out", "cancelled", "left", "error"}.

Source: prctl(2), PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TERM_GRACE_S = 2.0
EXIT_GRACE_S = 0.3
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def prctl(option: int, value: int) -> None:
    """Best effort: where there is no prctl, only the process group is killed."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        return


def spawn(argv: list[str], status_fd: int) -> int:
    """Start the agent in a session of its own; returns its pid. A failed exec writes to the status."""
    pid = os.fork()
    if pid:
        return pid
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        for number in (signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.set_inheritable(status_fd, False)
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(status_fd, json.dumps({"error": f"{argv[0]}: {error.strerror}"}).encode() + b"\n")
    os._exit(127)


def descendants() -> list[int]:
    """Every process below this one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def send(pids: list[int], number: int) -> None:
    """Signal each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def reap() -> dict[int, int]:
    """Collect the ended children: pid -> wait status."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def has_children() -> bool:
    """Whether anything is left to collect, zombies included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill_all(main: int) -> None:
    """Stop everything, then kill it, until nothing is left; new ones cannot appear from stopped ones."""
    for _ in range(200):
        pids = descendants()
        send(pids, signal.SIGSTOP)
        send(pids, signal.SIGKILL)
        reap()
        if not pids and not has_children():
            break
        time.sleep(0.005)
    try:
        os.killpg(main, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def supervise(argv: list[str], timeout_s: float, status_fd: int) -> dict[str, object]:
    """Run to the end of the agent, its time, or a signal to us."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    parent = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    main = spawn(argv, status_fd)
    deadline = time.monotonic() + timeout_s
    outcome: dict[str, object] = {"exit": None, "timed_out": False, "cancelled": False, "left": 0}
    ending: float | None = None
    while True:
        ended = reap()
        if main in ended:
            outcome["exit"] = os.waitstatus_to_exitcode(ended[main])
            break
        now = time.monotonic()
        if ending is not None and now >= ending:
            break
        if ending is None and now >= deadline:
            outcome["timed_out"], ending = True, now + TERM_GRACE_S
            send([-main], signal.SIGTERM)
        until = deadline if ending is None else ending
        got = signal.sigtimedwait(WATCHED, max(0.0, min(until - time.monotonic(), 1.0)))
        orphaned = os.getppid() != parent
        if ending is None and (orphaned or (got is not None and got.si_signo != signal.SIGCHLD)):
            outcome["cancelled"], ending = True, time.monotonic() + (0 if orphaned else TERM_GRACE_S)
            send([-main], signal.SIGTERM)
    if outcome["exit"] is not None and ending is None:
        patience = time.monotonic() + EXIT_GRACE_S
        while descendants() and time.monotonic() < patience:
            reap()
            time.sleep(0.01)
        outcome["left"] = len(descendants())
    kill_all(main)
    return outcome


if __name__ == "__main__":
    fd = int(sys.argv[1])
    os.write(fd, json.dumps(supervise(sys.argv[3:], float(sys.argv[2]), fd)).encode() + b"\n")
