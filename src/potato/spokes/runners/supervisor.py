"""Run one agent process and leave nothing of it behind. Run as a script, with the standard library only.

usage: supervisor.py STATUS_FD TIMEOUT_S ARGV...

Every process that the agent starts, daemons included, becomes a child of this one (a subreaper). When
the agent ends, times out or is cancelled (SIGTERM, or the death of the parent), all of them are killed. The
verdict is the exit code, which only the kernel can tell: one of the constants below. STATUS_FD gets a line of JSON with
the words to it, {"exit", "left", "error"}; an agent that finds a way to write there changes the words and nothing else.

Source: prctl(2), PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

DONE = 0
EXITED = 1
TIMED_OUT = 3
CANCELLED = 4
LEFT_PROCESSES = 5
NOT_STARTED = 6

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
TERM_GRACE_S = 2.0
EXIT_GRACE_S = 0.3
CANNOT_EXECUTE = 127
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
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        say(status_fd, {"error": f"{argv[0]}: {reason}"})
    os._exit(CANNOT_EXECUTE)


def process_tree() -> dict[int, list[int]]:
    """Parent -> children, of all processes that are no zombies."""
    tree: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                tree.setdefault(int(fields[1]), []).append(int(name))
    return tree


def children() -> list[int]:
    """This process's own children."""
    return process_tree().get(os.getpid(), [])


def descendants(root: int | None = None) -> list[int]:
    """Every process below `root`, or below this one."""
    tree = process_tree()
    found: list[int] = []
    todo = [os.getpid() if root is None else root]
    while todo:
        below = tree.get(todo.pop(), [])
        found += below
        todo += below
    return found


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if it is gone. Source: proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


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


def supervise(argv: list[str], timeout_s: float, status_fd: int) -> int:
    """Run to the end of the agent, its time, or a signal to us; returns the verdict."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    parent = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_DUMPABLE, 0)
    os.set_blocking(status_fd, False)
    main = spawn(argv, status_fd)
    deadline = time.monotonic() + timeout_s
    verdict, ending = EXITED, None
    while True:
        ended = reap()
        if main in ended:
            exit_code = os.waitstatus_to_exitcode(ended[main])
            break
        now = time.monotonic()
        if ending is not None and now >= ending:
            exit_code = None
            break
        if ending is None and now >= deadline:
            verdict, ending = TIMED_OUT, now + TERM_GRACE_S
            send([-main], signal.SIGTERM)
        until = deadline if ending is None else ending
        got = signal.sigtimedwait(WATCHED, max(0.0, min(until - time.monotonic(), 1.0)))
        orphaned = os.getppid() != parent
        if ending is None and (orphaned or (got is not None and got.si_signo != signal.SIGCHLD)):
            verdict, ending = CANCELLED, time.monotonic() + (0 if orphaned else TERM_GRACE_S)
            send([-main], signal.SIGTERM)
    left = still_running() if ending is None else 0
    kill_all(main)
    if ending is None:
        verdict = NOT_STARTED if exit_code == CANNOT_EXECUTE else EXITED if exit_code else LEFT_PROCESSES if left else DONE
    say(status_fd, {"exit": exit_code, "left": left})
    return verdict


def still_running() -> int:
    """How many processes are left once the agent has ended and those about to end have had a moment."""
    patience = time.monotonic() + EXIT_GRACE_S
    while descendants() and time.monotonic() < patience:
        reap()
        time.sleep(0.01)
    return len(descendants())


def say(status_fd: int, words: dict[str, object]) -> None:
    """One line, if there is room for it."""
    try:
        os.write(status_fd, json.dumps(words).encode() + b"\n")
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[3:], float(sys.argv[2]), int(sys.argv[1])))
