"""Commits fetched by git for agents to work on: objects only, never a checkout of ours.

What a repository holds is hostile: it is unpacked within the agent's cage and nowhere else. Git here reads objects with no configuration
but what stands in this file, runs no hook, no filter and no transport but http(s), and is never told anything by the agent's workspace.

Source: git(1), git-config(1), gitattributes(5)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1, sha256
from typing import Final

from potato.core.text import printable
from potato.errors import PotatoError
from potato.ports import Change, Source

_TIMEOUT_S: Final = 300.0
_MAX_PACK: Final = 2 << 30
_MOST_RULES: Final = 4 << 20
_LONGEST_PATH: Final = 512
_DEEPEST_PATH: Final = 32
"""Whatever lies deeper is not looked for in rules for ignoring: their number would grow with the square of the depth."""

_IGNORE_S: Final = 10.0
"""Patterns may take endless time."""

_ARGUMENTS: Final = 64 * 1024
_HERE: Final = "./"
"""Before a path: what begins with a colon is else no path to git but words about some."""

_SHA1_LENGTH: Final = 40
_SETTINGS: Final = {
    "core.hooksPath": "/dev/null", "core.fsmonitor": "false", "core.attributesFile": "/dev/null", "protocol.allow": "never",
    "protocol.http.allow": "always", "protocol.https.allow": "always", "fetch.recurseSubmodules": "false", "submodule.recurse": "false",
    "credential.helper": "", "gc.auto": "0", "maintenance.auto": "false", "transfer.fsckObjects": "true", "http.followRedirects": "false",
    "filter.lfs.required": "false", "core.askPass": "", "advice.detachedHead": "false", "safe.bareRepository": "all", "safe.directory": "*",
}  # fmt: skip


class GitCheckout:
    """One commit in a folder of its own. `source.pack` holds its tree and nothing of its history."""

    def __init__(self, folder: str, git_dir: str, source: Source) -> None:
        self._folder = folder
        self._git_dir = git_dir
        self.source = source

    async def differing(self, changes: Sequence[Change]) -> list[Change]:
        """See the port. Contents are compared here, by their hashes; what the agent's own files say about ignoring does not count."""
        known = await self._known([change.path for change in changes])
        found = [change for change in changes if not _same(change, known.get(change.path), len(self.source.commit))]
        ignored = await self._ignored([change.path for change in found if change.path not in known])
        return [change for change in found if change.path not in ignored]

    async def _known(self, paths: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Which of these the commit has: mode and name of what they hold. Not all of its files: a small commit may have endless ones."""
        known: dict[str, tuple[int, str]] = {}
        for some in _packets(paths):
            told = await git(self._git_dir, "ls-tree", "-z", "--full-tree", self.source.commit, "--", *(_HERE + path for path in some))
            for line in told.split(b"\0"):
                head, _, name = line.partition(b"\t")
                mode, kind, sha = head.decode().split(" ") if name else ("", "tree", "")
                if kind != "tree":
                    known[os.fsdecode(name)] = (int(mode, 8), sha)
        return known

    async def _ignored(self, paths: Sequence[str]) -> set[str]:
        """Which of these the `.gitignore` files leave out that the commit has in the folders above them."""
        paths = [path for path in paths if len(path) <= _LONGEST_PATH and path.count("/") <= _DEEPEST_PATH]
        rules = await self._known(sorted({os.path.join(folder, ".gitignore") for path in paths for folder in _folders(path)}))
        if not rules:
            return set()
        with tempfile.TemporaryDirectory(dir=self._folder) as tree:
            named = {path: name for path, (mode, name) in rules.items() if stat.S_ISREG(mode)}
            await asyncio.to_thread(_write, tree, named, await self._blobs(list(named.values())))
            data = b"".join(os.fsencode(_HERE + path) + b"\0" for path in paths)
            command = ("--work-tree", tree, "check-ignore", "--stdin", "-z", "--no-index")
            told = await git(self._git_dir, *command, data=data, codes=(0, 1), folder=tree, timeout_s=_IGNORE_S)
        return {os.fsdecode(path).removeprefix(_HERE) for path in told.split(b"\0") if path}

    async def _blobs(self, names: Sequence[str]) -> dict[str, bytes]:
        """What they hold, of as many as may be read."""
        data = "".join(f"{name}\n" for name in dict.fromkeys(names)).encode()
        room, wanted = _MOST_RULES, b""
        for line in (await git(self._git_dir, "cat-file", "--batch-check", data=data)).splitlines():
            name, _, size = line.split(b" ")
            if int(size) <= room:
                room, wanted = room - int(size), wanted + name + b"\n"
        told = await git(self._git_dir, "cat-file", "--batch", data=wanted)
        found: dict[str, bytes] = {}
        while told:
            head, _, rest = told.partition(b"\n")
            name, _, size = head.split(b" ")
            found[name.decode()], told = rest[: int(size)], rest[int(size) + 1 :]
        return found

    async def close(self) -> None:
        """See the port."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


def _same(change: Change, known: tuple[int, str] | None, length: int) -> bool:
    if change.content is None or known is None:
        return change.content is None and known is None
    mode = 0o120000 if stat.S_ISLNK(change.mode) else 0o100755 if change.mode & 0o100 else 0o100644
    hashed = (sha1 if length == _SHA1_LENGTH else sha256)(
        b"blob %d\0%s" % (len(change.content), change.content)
    )  # git's own hash, not ours
    return (mode, hashed.hexdigest()) == known and (stat.S_ISREG(change.mode) or stat.S_ISLNK(change.mode))


async def fetched(url: str, commit: str, headers: Mapping[str, str]) -> GitCheckout:
    """A commit from a remote, by its id. Raises `PotatoError` (`checkout-failed`)."""
    folder = tempfile.mkdtemp(prefix="potato-checkout-")
    git_dir = os.path.join(folder, "objects.git")
    try:
        await git(None, "init", "--bare", "--quiet", "--template=", git_dir)
        extra = {f"http.{url}.extraHeader": f"{name}: {value}" for name, value in headers.items()}
        options = ("--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        await git(git_dir, "fetch", *options, url, commit, extra=extra)
        return await _packed(folder, git_dir, commit)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def taken(repository: str, commit: str) -> GitCheckout:
    """A commit of a repository on this machine. Raises `PotatoError` (`checkout-failed`)."""
    folder = tempfile.mkdtemp(prefix="potato-checkout-")
    try:
        return await _packed(folder, repository, commit)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _packets(paths: Sequence[str]) -> Iterator[list[str]]:
    """As many at once as fit into the arguments of a command."""
    some, size = list[str](), 0
    for path in paths:
        if size > _ARGUMENTS:
            yield some
            some, size = [], 0
        some.append(path)
        size += len(path)
    if some:
        yield some


def _folders(path: str) -> list[str]:
    """All that it lies in, the top one as the empty name."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)]


def _write(tree: str, rules: Mapping[str, str], blobs: Mapping[str, bytes]) -> None:
    """Lay files out below `tree`: path -> the name of what it holds."""
    for path, name in rules.items():
        target = os.path.join(tree, path)
        with contextlib.suppress(FileExistsError, NotADirectoryError):  # a broken tree may name a file and a folder alike
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "xb") as file:
                file.write(blobs.get(name, b""))


async def _packed(folder: str, git_dir: str, commit: str) -> GitCheckout:
    """The commit's own objects in one file."""
    tree = (await git(git_dir, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")).strip().decode()
    names = await git(git_dir, "rev-list", "--objects", "--no-object-names", tree)
    pack = os.path.join(folder, "commit.pack")
    data = commit.encode() + b"\n" + names
    into = await asyncio.to_thread(os.open, pack, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        await git(git_dir, "pack-objects", "--stdout", "--quiet", "--window=0", data=data, into=into)
        size = os.fstat(into).st_size
    finally:
        os.close(into)
    if size > _MAX_PACK:
        raise PotatoError("checkout-failed", f"the commit has more than {_MAX_PACK:,} bytes.")
    return GitCheckout(folder, git_dir, Source(commit, pack))


async def git(git_dir: str | None, *arguments: str, data: bytes = b"", extra: Mapping[str, str] | None = None, codes: Sequence[int] = (0,),
              folder: str = "/", into: int | None = None, timeout_s: float = _TIMEOUT_S) -> bytes:  # fmt: skip
    """What git says on stdout, where that does not go `into` a descriptor. Settings and credentials go by the environment: argv is for all
    to see. Raises `PotatoError`.
    """  # noqa: D205 - one sentence more
    settings = {**_SETTINGS, **(extra or {})}
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8", "GIT_CONFIG_COUNT": str(len(settings)),
        **{name: os.environ[name] for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
           if name in os.environ},
    }  # fmt: skip
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    if git_dir is not None:
        environment["GIT_DIR"] = git_dir
    try:
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=folder, env=environment, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE if into is None else into, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise PotatoError("checkout-failed", f"git cannot be run: {error.strerror}.", "Install git.") from None
    try:
        async with asyncio.timeout(timeout_s):
            out, said = await process.communicate(data)
    except TimeoutError:
        raise PotatoError("checkout-failed", f"git {arguments[0]} took more than {timeout_s:g} s.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended, and only the news of that is under way
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode not in codes:
        raise PotatoError("checkout-failed", f"git {arguments[0]} failed: {printable(said.decode('utf-8', 'replace').strip(), 300)}")
    return out or b""
