"""Run one agent process and leave nothing of it behind. Run as a script, with the standard library only.

usage: supervisor.py STATUS_FD SPEC_FD

SPEC_FD holds one JSON object (see `potato.spokes.cage.spec`): the argv, its environment and folder, and how it is locked up.

Every process that the agent starts, daemons included, becomes a child of this one (a subreaper). When
the agent ends, times out, is cancelled (SIGTERM, or the death of the parent) or is done with (SIGUSR1), all of them are killed. The
verdict is the exit code, which only the kernel can tell: one of the constants below. STATUS_FD gets a line of JSON with
the words to it, {"exit", "left", "error"}; an agent that finds a way to write there changes the words and nothing else.

With a cage this process gives up its user and moves into namespaces of its own: its one network interface is a loopback, on which it
opens the socket that the hub then serves (the descriptor is sent over `gate_fd`), and its one writable file system is a tmpfs of a fixed
size. Then bubblewrap locks the agent up in further namespaces below these. What the agent left in its workspace is read here, after
everything it started is dead.

Source: prctl(2), PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG; user_namespaces(7); netdevice(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # typing takes longer to import than the rest together
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]
    Stamp = tuple[int, int, int, int]

DONE = 0
EXITED = 1
TIMED_OUT = 3
CANCELLED = 4
LEFT_PROCESSES = 5
NOT_STARTED = 6
OVER_MEMORY = 7
OVER_CPU = 8

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000
MS_NOSUID_NODEV = 0x2 | 0x4
MS_BIND_REC = 0x1000 | 0x4000
MS_REC_SLAVE = 0x4000 | 0x8_0000
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x1 | 0x40
TERM_GRACE_S = 2.0
EXIT_GRACE_S = 0.3
LOOK_S = 0.25
WORDS = 64 * 1024
PATHS = 32 << 20
CANNOT_EXECUTE = 127
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}


def prctl(option: int, value: int) -> None:
    """Best effort: where there is no prctl, only the process group is killed."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        return


def spawn(spec: Spec, status_fd: int, streams: tuple[int, ...] = ()) -> int:
    """Start it in a session of its own, with other standard `streams` if told; returns its pid. A failed exec writes to the status."""
    argv, cage = spec["argv"], spec.get("cage")
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
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if cage:
            for fd in cage["group_fds"]:
                os.write(fd, b"0")
            for name, most in cage["limits"].items():
                limit(getattr(resource, name), most)
            filter_fd = file_of(bytes.fromhex(cage["refusals"]))
            given = ["--seccomp", str(filter_fd), "--args", str(arguments_fd(cage, spec))]
            argv, environment = [*cage["argv"], *given, "--", *argv], dict[str, str]()
        else:
            os.chdir(spec["folder"])
            environment = spec["environment"]
        os.execvpe(argv[0], argv, environment)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        say(status_fd, {"error": f"{argv[0]}: {reason}"})
    os._exit(CANNOT_EXECUTE)


def limit(number: int, most: int) -> None:
    """Never more than what holds for us already."""
    hard = resource.getrlimit(number)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(number, (most, most))


def arguments_fd(cage: Spec, spec: Spec) -> int:
    """A descriptor with bubblewrap's arguments, which hold secrets and paths of ours: in its argv the agent could read them."""
    arguments = [*cage["bind"]]
    for name, value in spec["environment"].items():
        arguments += ["--setenv", name, value]
    return file_of(b"\0".join(part.encode() for part in arguments) + b"\0")


def file_of(content: bytes) -> int:
    """A descriptor to read this from, which a program that is started inherits."""
    fd = os.memfd_create("potato", 0)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


# the namespaces


def isolate(cage: Spec) -> None:
    """Move into namespaces of our own and give up our user. Raises `OSError` where the kernel does not let us."""
    cage["group_fds"] = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in cage["groups"]]
    uid = cage["uid"]
    if uid is None:
        user, group = os.getuid(), os.getgid()
        unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
        map_ourselves(user, group)
        furnish(cage)
    else:
        unshare(CLONE_NEWNS)
        furnish(cage)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a new user clears it
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        map_ourselves(uid, uid)
    serve_gate(cage["gate_fd"], cage["gate_port"])


def unshare(flags: int) -> None:
    """Raises `OSError`."""
    checked(ctypes.CDLL(None, use_errno=True).unshare(flags), "unshare")


def map_ourselves(user: int, group: int) -> None:
    """In our user namespace we are who we were. From here on nothing may be imported: Python may lie where we cannot go any more."""
    prctl(PR_SET_DUMPABLE, 1)  # else our own /proc files are root's
    for name, text in (("setgroups", b"deny"), ("uid_map", b"%d %d 1" % (user, user)), ("gid_map", b"%d %d 1" % (group, group))):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text)
        os.close(fd)
    prctl(PR_SET_DUMPABLE, 0)


def furnish(cage: Spec) -> None:
    """The run's own file system, with all that the agent gets in it: what it may see may lie where its user could not go."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, uid = cage["home"], cage["uid"]
    checked(libc.mount(b"none", b"/", None, MS_REC_SLAVE, None), "mount")
    options = f"size={cage['disk_bytes']},nr_inodes={cage['inodes']},mode=0700"
    checked(libc.mount(b"tmpfs", home.encode(), b"tmpfs", MS_NOSUID_NODEV, options.encode()), "mount a tmpfs")
    own = [home]
    for name in ("home", "workspace", "tmp", "etc", "agent"):
        own.append(os.path.join(home, name))
        os.mkdir(own[-1], 0o700)
    for name, text in cage["etc"].items():
        own.append(os.path.join(home, "etc", name))
        with open(own[-1], "w", encoding="utf-8") as file:
            file.write(text)
    for outside, inside in cage["files"]:
        own += copied(outside, os.path.join(home, "agent"), inside)
    for number, outside in enumerate(cage["mounts"]):
        point = os.path.join(home, f"mount{number}")
        if os.path.isdir(outside):
            os.mkdir(point)
        else:
            os.close(os.open(point, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        checked(libc.mount(outside.encode(), point.encode(), None, MS_BIND_REC, None), f"mount {outside}")
    for path in own if uid is not None else ():
        os.chown(path, uid, uid)


def copied(outside: str, root: str, inside: str) -> list[str]:
    """Copy a file with its mode to `inside` below `root`; gives what was made."""
    made: list[str] = []
    folder = root
    for part in os.path.dirname(inside).split(os.sep) if os.path.dirname(inside) else ():
        folder = os.path.join(folder, part)
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
            made.append(folder)
    target = os.path.join(root, inside)
    with open(outside, "rb") as source, open(target, "xb") as file:
        while chunk := source.read(1 << 20):
            file.write(chunk)
        os.fchmod(file.fileno(), 0o500 if os.fstat(source.fileno()).st_mode & 0o111 else 0o400)
    return [*made, target]


def checked(result: int, what: str) -> None:
    """Raises `OSError` with what was tried."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def serve_gate(gate_fd: int, port: int) -> None:
    """Bring the loopback up, listen there, and hand the sockets to the hub: they belong to this network wherever they are served.

    The second one is a name server's: without one that says no, programs would wait seconds for each name.
    """
    with socket.socket() as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
    with (
        socket.socket() as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names,
        socket.socket(fileno=gate_fd) as gate,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        names.bind(("127.0.0.1", 53))
        socket.send_fds(gate, [b"gate"], [listener.fileno(), names.fileno()])


# the workspace


def lay_out(spec: Spec, status_fd: int, parent: int) -> int | None:
    """Check the commit out, locked up and watched as the agent will be: what stands in a repository is as hostile as one.

    Gives the verdict where it ended otherwise than well. Raises `OSError`.
    """
    cage = spec["cage"]
    source = cage["source"]
    argv = ["/bin/sh", "-c", _CHECK_OUT, "sh", source["commit"]]
    heard, said = os.pipe()
    os.set_blocking(said, False)  # what is too much to hear is lost, and holds nobody up
    main = spawn({"argv": argv, "environment": {}, "cage": cage}, status_fd, (source["pack_fd"], said, said))
    os.close(said)
    exit_code, verdict = watch(main, {"cage": cage, "timeout_s": source["timeout_s"]}, parent)
    kill_all(main)
    with os.fdopen(heard, "rb") as file:
        words = file.read(WORDS).decode("utf-8", "replace").strip()
    if verdict == TIMED_OUT:
        raise OSError(0, f"the commit was not checked out within {source['timeout_s']:g} s")
    if exit_code and verdict is None:
        raise OSError(0, f"the commit cannot be checked out: {words[-300:]}")
    return CANCELLED if verdict == DONE else verdict


_CHECK_OUT = """set -e
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/tmp PATH=/usr/local/bin:/usr/bin:/bin GIT_LFS_SKIP_SMUDGE=1
cd /workspace
git init -q --template= .
git config core.hooksPath /dev/null
git config core.symlinks true
git config advice.detachedHead false
git config user.name agent
git config user.email agent@potato.invalid
mkdir -p .git/objects/pack .git/info
echo '* -text -eol -ident -filter -working-tree-encoding' > .git/info/attributes
git index-pack --stdin > /dev/null
echo "$1" > .git/shallow
git checkout -q --detach "$1" --
"""


def stamps(root: str) -> dict[str, Stamp]:
    """Path -> what tells whether a file was touched. The time of a change is the kernel's: an agent cannot set it back."""
    found: dict[str, Stamp] = {}
    for path, entry in walk(root):
        told = entry.stat(follow_symlinks=False)
        found[path] = (told.st_mode, told.st_size, told.st_ino, told.st_ctime_ns)
    return found


def walk(root: str) -> Any:  # noqa: ANN401 - an iterator of (path, entry)
    """Every entry that is no folder, following no link, without the top `.git`. Raises `OSError` where they would fill our memory."""
    todo = [""]
    room = PATHS
    while todo:
        folder = todo.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if path != ".git":
                        todo.append(path)
                else:
                    room -= len(path)
                    if room < 0:
                        raise OSError(0, f"the paths of its files have more than {PATHS:,} characters together")
                    yield path, entry


def collect(spec: Spec, before: dict[str, Stamp]) -> None:
    """Write what is new, touched or gone to `changes_fd`: for each a line of JSON, followed by the content where it is a file."""
    source, root = spec["cage"]["source"], os.path.join(spec["cage"]["home"], "workspace")
    files = total = 0
    with os.fdopen(source["changes_fd"], "wb") as out:
        after: set[str] = set()
        for path, entry in walk(root):
            told = entry.stat(follow_symlinks=False)
            after.add(path)
            if before.get(path) == (told.st_mode, told.st_size, told.st_ino, told.st_ctime_ns):
                continue
            files, total = files + 1, total + told.st_size
            if files > source["most_files"] or total > source["most_bytes"]:
                out.write(line({"over": True}))
                return
            content = content_of(os.path.join(root, path), told)
            out.write(line({"path": os.fsencode(path).hex(), "mode": told.st_mode, "size": len(content)}))
            out.write(content)
        for path in sorted(before.keys() - after):
            out.write(line({"path": os.fsencode(path).hex(), "gone": True}))
        out.write(line({"end": True}))


def content_of(path: str, told: os.stat_result) -> bytes:
    """A file's bytes, a link's target; nothing for what is neither."""
    if stat.S_ISLNK(told.st_mode):
        return os.fsencode(os.readlink(path))
    if not stat.S_ISREG(told.st_mode):
        return b""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        return file.read(told.st_size)


def line(value: dict[str, object]) -> bytes:
    """One line of JSON."""
    return json.dumps(value).encode() + b"\n"


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


def used(cage: Spec) -> tuple[int, float]:
    """(bytes of memory, seconds of processor time) that the agent has used, as its processes tell now."""
    memory, ticks = 0, 0
    page, per_s = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    for pid in descendants():
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
            memory += 0 if cage["groups"] else int(fields[21]) * page  # a control group counts it better
    return memory, ticks / per_s


def shared_fairly() -> int:
    """Bytes of memory with each page counted once, not once for each process that shares it. Source: proc_pid_smaps(5), smaps_rollup."""
    total = 0
    for pid in descendants():
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            total += next((int(row.split()[1]) << 10 for row in file if row.startswith(b"Pss:")), 0)
    return total


def over(cage: Spec | None) -> int | None:
    """The verdict on an agent that needs more than it may; nothing while it does not."""
    if cage is None:
        return None
    memory, seconds = used(cage)
    if memory > cage["memory_bytes"] and shared_fairly() > cage["memory_bytes"]:
        return OVER_MEMORY
    return OVER_CPU if seconds > cage["cpu_s"] else None


def supervise(spec: Spec, status_fd: int) -> int:
    """Run to the end of the agent, its time, or a signal to us; returns the verdict."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    parent = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_DUMPABLE, 0)
    os.set_blocking(status_fd, False)
    cage = spec.get("cage")
    before: dict[str, Stamp] = {}
    try:
        if cage:
            early = lock_up(spec, status_fd, parent)
            if early is not None:
                return early
            before = stamps(os.path.join(cage["home"], "workspace")) if cage["source"] else before
    except OSError as error:
        say(status_fd, {"error": f"no cage: {error.strerror}"})
        return NOT_STARTED
    main = spawn(spec, status_fd)
    exit_code, ending = watch(main, spec, parent)
    left = still_running() if ending is None else 0
    kill_all(main)
    verdict = ending
    if verdict is None:
        verdict = NOT_STARTED if exit_code == CANNOT_EXECUTE else EXITED if exit_code else LEFT_PROCESSES if left else DONE
    if cage and cage["source"] and verdict == DONE:
        try:
            collect(spec, before)
        except OSError as error:
            say(status_fd, {"error": f"its workspace cannot be read: {error.strerror}"})
            verdict = EXITED
    say(status_fd, {"exit": exit_code, "left": left})
    return verdict


def lock_up(spec: Spec, status_fd: int, parent: int) -> int | None:
    """Go into the cage, and lay the workspace out. Gives the verdict where it already ends with that. Raises `OSError`."""
    cage = spec["cage"]
    source = cage["source"]
    for fd in (cage["gate_fd"], *([source["pack_fd"], source["changes_fd"]] if source else [])):
        os.set_inheritable(fd, False)
    isolate(cage)
    return lay_out(spec, status_fd, parent) if source else None


def watch(main: int, spec: Spec, parent: int) -> tuple[int | None, int | None]:
    """Wait for the end: the agent's own (its exit code), or one that we make of it (the verdict)."""
    cage = spec.get("cage")
    deadline = time.monotonic() + spec["timeout_s"]
    verdict, ending, looked = EXITED, None, time.monotonic()
    while True:
        ended = reap()
        if main in ended:
            return os.waitstatus_to_exitcode(ended[main]), verdict if ending is not None else None
        now = time.monotonic()
        if ending is not None and now >= ending:
            return None, verdict
        if ending is None and now >= deadline:
            verdict, ending = TIMED_OUT, now + TERM_GRACE_S
            send([-main], signal.SIGTERM)
        if ending is None and cage and now - looked >= LOOK_S:
            looked, too_much = now, over(cage)
            if too_much is not None:
                return None, too_much
        until = deadline if ending is None else ending
        patience = LOOK_S if cage else 1.0
        got = signal.sigtimedwait(WATCHED, max(0.0, min(until - time.monotonic(), patience)))
        orphaned = os.getppid() != parent
        if ending is None and (orphaned or (got is not None and got.si_signo != signal.SIGCHLD)):
            done = not orphaned and got is not None and got.si_signo == signal.SIGUSR1
            verdict, ending = DONE if done else CANCELLED, time.monotonic() + (0 if orphaned else TERM_GRACE_S)
            send([-main], signal.SIGTERM)


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


def read_spec(fd: int) -> Spec:
    """The whole of it."""
    with os.fdopen(fd, "rb") as file:
        return json.load(file)


if __name__ == "__main__":
    sys.exit(supervise(read_spec(int(sys.argv[2])), int(sys.argv[1])))
