#!/usr/bin/env python3
"""The workshop: `python3 dev.py test` sets up all that the tests need and passes them.

commands: test [--fast] [pytest arguments], lint, types, fmt, bench NAME [--json OUT], faults [--kills N], docs, lock, setup
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orchestrator

ROOT: Final = Path(__file__).resolve().parent
BIN: Final = ROOT / ".venv" / "bin"
AGENTS_LOCK: Final = ROOT / "requirements" / "agents.lock.txt"
DEV_LOCKS: Final = (*orchestrator.LOCKS, ROOT / "requirements" / "dev.lock.txt", AGENTS_LOCK)
COUNTERPARTS: Final = ROOT / "tests" / "counterparts"
PEERS: Final = ROOT / ".venv-peers"
PEERS_LOCK: Final = ROOT / "requirements" / "peers.lock.txt"
NEED_PEERS: Final = frozenset({"rules"})
NODE_PEERS: Final = ROOT / "benchmarks" / "peers"
NEED_NODE_PEERS: Final = frozenset({"intake"})
PYTHON_FILES: Final = ("src", "tests", "benchmarks", "orchestrator.py", "dev.py")
NEEDED: Final = {"git": "git", "node": "nodejs", "npm": "npm", "bwrap": "bubblewrap"}
NODE_MINIMUM: Final = 20
UNPACKED: Final = ROOT / ".cache" / "debian"
QEMU: Final = "qemu-system-x86_64"
MACHINE_UNPACKED: Final = ("linux-image-amd64", "busybox-static")
"""Another machine for the tests that need a whole one; what cannot be installed without root is left out, with those tests."""


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def call(*argv: str | Path, check: bool = True, cwd: Path = ROOT) -> int:
    """Run a tool with its output shown; exit with its code if it fails."""
    code = subprocess.run([str(part) for part in argv], cwd=cwd, check=False).returncode
    if code and check:
        sys.exit(code)
    return code


def system_packages() -> None:
    """Install Debian's packages that the tests need; without root, unpack what can be, or say the one command that is missing."""
    os.environ["PATH"] = f"{UNPACKED / 'root' / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    wanted = {**NEEDED, **({QEMU: "qemu-system-x86"} if os.geteuid() == 0 and platform.machine() == "x86_64" else {})}
    missing = [package for tool, package in wanted.items() if shutil.which(tool) is None]
    if os.geteuid() != 0 and missing == ["bubblewrap"] and shutil.which("apt-get"):
        unpack(missing[0])
        missing = []
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"apt-get install {' '.join(missing)}")
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=subprocess.DEVNULL)
        call("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)
    elif missing:
        say(f"missing; run as root: apt-get install -y {' '.join(missing)}")
        sys.exit(2)
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(told.lstrip("v").split(".")[0]) < NODE_MINIMUM:
        say(f"node {told.strip()} is too old; the tests' counterparts need node {NODE_MINIMUM}")
        sys.exit(2)


def unpack(*packages: str) -> None:
    """Fetch packages of Debian's with apt's own checks, with what a package of a kernel stands for, and unpack them here without root."""
    say(f"unpacking {' '.join(packages)} into {UNPACKED.relative_to(ROOT)}")
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (UNPACKED / folder).mkdir(parents=True, exist_ok=True)
    options = [f"Dir::State={UNPACKED}/state", f"Dir::Cache={UNPACKED}/cache", "Dir::State::status=/var/lib/dpkg/status"]
    apt = ["apt-get", "-qq", *(part for option in options for part in ("-o", option))]
    call(*apt, "update", cwd=UNPACKED)
    told = subprocess.run(["apt-cache", *apt[2:], "depends", *packages], capture_output=True, text=True, cwd=UNPACKED, check=True).stdout
    kernels = [line.split()[-1] for line in told.splitlines() if "Depends: linux-image-" in line]
    call(*apt, "download", *packages, *kernels, cwd=UNPACKED)
    for archive in UNPACKED.glob("*.deb"):
        call("dpkg", "-x", archive, UNPACKED / "root")
        archive.unlink()
    for folder in (UNPACKED / "root").glob("lib/modules/*/kernel/drivers/*"):
        if folder.name != "virtio":  # the rest is hundreds of megabytes for hardware that QEMU does not have
            shutil.rmtree(folder)


def node_packages(folder: Path = COUNTERPARTS) -> None:
    """Install a folder's pinned npm packages, once for each lock."""
    lock = (folder / "package-lock.json").read_bytes()
    marker = folder / "node_modules" / ".potato-lock"
    stamp = hashlib.sha256(lock).hexdigest()
    if marker.is_file() and marker.read_text(encoding="utf-8") == stamp:
        return
    say(f"installing the node packages of {folder.relative_to(ROOT)}")
    call("npm", "ci", "--silent", "--no-progress", cwd=folder)
    marker.write_text(stamp, encoding="utf-8")


def setup() -> None:
    """Everything that tests and checks need."""
    try:
        orchestrator.ensure(DEV_LOCKS, "dev")
    except orchestrator.SetupError as error:
        say(f"error: {error}")
        sys.exit(1)
    system_packages()
    if shutil.which(QEMU) and shutil.which("apt-get") and not list((UNPACKED / "root" / "boot").glob("vmlinuz-*")):
        unpack(*MACHINE_UNPACKED)
    node_packages()


def lint(_arguments: list[str]) -> None:
    """Style, layers and types."""
    setup()
    call(BIN / "ruff", "check", *PYTHON_FILES)
    call(BIN / "ruff", "format", "--check", *PYTHON_FILES)
    call(BIN / "lint-imports", "--no-cache")
    _types()


def types(_arguments: list[str]) -> None:
    """pyright, strict."""
    setup()
    _types()


def _types() -> None:
    call("node", COUNTERPARTS / "node_modules" / "pyright" / "index.js", "--project", ROOT / "pyproject.toml")


def fmt(_arguments: list[str]) -> None:
    """Format, and fix what can be fixed."""
    setup()
    call(BIN / "ruff", "check", "--fix", *PYTHON_FILES, check=False)
    call(BIN / "ruff", "format", *PYTHON_FILES)


def test(arguments: list[str]) -> None:
    """Lint, then every test; `--fast` leaves out the slow ones and lint."""
    started = time.monotonic()
    setup()
    fast = "--fast" in arguments
    rest = [argument for argument in arguments if argument != "--fast"]
    if not fast:
        lint([])
    marks = ["-m", "not slow"] if fast else []
    code = call(BIN / "python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *marks, *rest, check=False)
    say(f"{time.monotonic() - started:.0f} s")
    sys.exit(code)


def bench(arguments: list[str]) -> None:
    """One benchmark by name."""
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("_"))
    if not arguments or arguments[0] not in known:
        say(f"usage: dev.py bench {'|'.join(known)} [--json OUT]")
        sys.exit(2)
    setup()
    if arguments[0] in NEED_PEERS:
        peers()
    if arguments[0] in NEED_NODE_PEERS:
        node_packages(NODE_PEERS)
    call(BIN / "python", ROOT / "benchmarks" / f"{arguments[0]}.py", *arguments[1:])


def faults(arguments: list[str]) -> None:
    """Kill hubs hundreds of times and look what is lost or doubled."""
    setup()
    call(BIN / "python", "-m", "support.faults", *arguments, cwd=ROOT / "tests")


def peers() -> None:
    """The engines that benchmarks compare with, in an environment of their own: they need other versions than we do."""
    marker = PEERS / ".potato-lock"
    stamp = hashlib.sha256(PEERS_LOCK.read_bytes()).hexdigest()
    if marker.is_file() and marker.read_text(encoding="utf-8") == stamp:
        return
    say("installing the benchmarks' peers into .venv-peers")
    call(uv(), "venv", "--quiet", "--clear", "--python", BIN / "python", PEERS)
    call(uv(), "pip", "install", "--quiet", "--require-hashes", "--python", PEERS / "bin" / "python", "-r", PEERS_LOCK)
    marker.write_text(stamp, encoding="utf-8")


def uv() -> str:
    """The uv on the PATH, or the one that orchestrator.py fetched."""
    return shutil.which("uv") or str(next((ROOT / ".venv" / "uv").glob("*/bin/uv")))


def docs(_arguments: list[str]) -> None:
    """Build the documentation into site/."""
    setup()
    call(BIN / "zensical", "build", "--clean")


def lock(_arguments: list[str]) -> None:
    """Make the lock files anew from pyproject.toml; they hold hashes and no registry's name."""
    setup()
    compile_ = [uv(), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--python-version", "3.11"]
    runtime = ROOT / "requirements" / "runtime.lock.txt"
    call(*compile_, "pyproject.toml", "-o", runtime)
    for group in ("build", "dev"):
        call(*compile_, "--group", group, "-c", runtime, "-o", ROOT / "requirements" / f"{group}.lock.txt")
    call(*compile_, "pyproject.toml", "--extra", "codex", "--extra", "claude", "-c", runtime, "-o", AGENTS_LOCK)
    call(*compile_, "--group", "peers", "-o", PEERS_LOCK)
    for folder in (COUNTERPARTS, NODE_PEERS):
        call("npm", "install", "--package-lock-only", "--silent", cwd=folder)


COMMANDS: Final[dict[str, Callable[[list[str]], None]]] = {
    "test": test,
    "lint": lint,
    "types": types,
    "fmt": fmt,
    "bench": bench,
    "faults": faults,
    "docs": docs,
    "lock": lock,
    "setup": lambda _arguments: setup(),
}


def main() -> None:
    """Pick the command."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print(__doc__)
        sys.exit(0 if name in ("-h", "--help") else 2)
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")
    COMMANDS[name](sys.argv[2:])


if __name__ == "__main__":
    main()
