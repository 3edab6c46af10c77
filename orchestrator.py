#!/usr/bin/env python3
"""The door: set Potato up in ./.venv from the hashed lock, then run it with the arguments given.

    python3 orchestrator.py demo
    python3 orchestrator.py --config .codex/orchestrator/config.yml

Needs Python 3.11 and nothing else: uv comes by its hash through whatever pip there is. Standard library only.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
UV_LOCK = ROOT / "requirements" / "uv.lock.txt"
LOCKS = (ROOT / "requirements" / "runtime.lock.txt", ROOT / "requirements" / "build.lock.txt")
MINIMUM = (3, 11)


class SetupError(Exception):
    """Setting up cannot go on; the text says what to do."""


def say(text: str) -> None:
    """Progress goes to stderr; stdout belongs to the command."""
    print(f"potato: {text}", file=sys.stderr, flush=True)


def run(argv: list[str], what: str) -> None:
    """Run a tool; its output is shown only if it fails."""
    env = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PIP_REQUIRE_VIRTUALENV", "UV_PROJECT_ENVIRONMENT"):
        env.pop(name, None)
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{what} failed (exit {done.returncode}):\n{done.stdout.strip()[-3000:]}")


def pip_command(scratch: Path) -> list[str]:
    """A pip that runs, wherever it is: installed, bundled with Python, or in Debian's package of wheels."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "pip"]
    import importlib.util

    wheels: list[str] = []
    spec = importlib.util.find_spec("ensurepip")
    if spec and spec.origin:
        wheels += glob.glob(os.path.join(os.path.dirname(spec.origin), "_bundled", "pip-*.whl"))
    wheels += glob.glob("/usr/share/python-wheels/pip-*.whl")
    if not wheels and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        say("no pip here; taking Debian's python3-pip-whl (unpacked, not installed)")
        if not glob.glob("/var/lib/apt/lists/*Packages*") and os.geteuid() == 0:
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
        subprocess.run(["apt-get", "download", "-qq", "python3-pip-whl"], cwd=scratch, capture_output=True, check=False)
        for package in scratch.glob("python3-pip-whl*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(scratch / "deb")], capture_output=True, check=False)
        wheels += [str(path) for path in scratch.glob("deb/usr/share/python-wheels/pip-*.whl")]
    if not wheels:
        raise SetupError("this Python has no pip. Run: apt-get install python3-pip   (or put uv on PATH)")
    return [sys.executable, os.path.join(max(wheels), "pip")]


def locked_uv_version() -> str:
    """The version that the lock pins."""
    for line in UV_LOCK.read_text(encoding="utf-8").splitlines():
        if line.startswith("uv=="):
            return line.split("==")[1].split()[0]
    raise SetupError(f"{UV_LOCK} pins no uv")


def uv_command(scratch: Path) -> str:
    """Uv of the locked version: from PATH, or installed by its hash into .venv/uv."""
    version = locked_uv_version()
    own = VENV / "uv" / version / "bin" / "uv"
    for found in (str(own), shutil.which("uv")):
        if found and os.access(found, os.X_OK):
            told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.split()
            if len(told) > 1 and told[1] == version:
                return found
    say(f"fetching uv {version} by its hash")
    target = own.parent.parent
    shutil.rmtree(target, ignore_errors=True)
    run([*pip_command(scratch), "install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes",
         "--only-binary", ":all:", "--no-deps", "--target", str(target), "-r", str(UV_LOCK)], "installing uv")  # fmt: skip
    return str(own)


def stamp(locks: tuple[Path, ...]) -> str:
    """Changes whenever .venv must be made anew."""
    parts = [sys.version, sys.executable, str(ROOT)]
    parts += [path.read_text(encoding="utf-8") for path in (*locks, ROOT / "pyproject.toml")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def ensure(locks: tuple[Path, ...] = LOCKS, name: str = "runtime") -> Path:
    """Make .venv hold what the locks say, if it does not yet; returns its bin folder. Raises `SetupError`."""
    if sys.version_info < MINIMUM:
        raise SetupError(f"Python {'.'.join(map(str, MINIMUM))} or newer is needed, this is {sys.version.split()[0]}")
    marker = VENV / f".potato-{name}"
    bin_dir = VENV / "bin"
    if _current(marker, locks):
        return bin_dir
    with (ROOT / ".venv.lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="potato-setup-") as scratch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _current(marker, locks):
            return bin_dir
        uv = uv_command(Path(scratch))
        if not (bin_dir / "python").exists():
            say("making .venv")
            run([uv, "venv", "--quiet", "--allow-existing", "--no-config", "--python", sys.executable, str(VENV)], "making .venv")
        say("installing the locked packages")
        arguments = [argument for path in locks for argument in ("-r", str(path))]
        python = ["--python", str(bin_dir / "python")]
        run([uv, "pip", "install", "--quiet", "--no-config", *python, "--require-hashes", *arguments], "installing the locked packages")
        run(
            [uv, "pip", "install", "--quiet", "--no-config", *python, "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
            "installing Potato",
        )
        marker.write_text(stamp(locks), encoding="utf-8")
    return bin_dir


def _current(marker: Path, locks: tuple[Path, ...]) -> bool:
    return marker.is_file() and marker.read_text(encoding="utf-8") == stamp(locks) and os.access(VENV / "bin" / "potato", os.X_OK)


def main() -> int:
    """Set up, then become `potato`."""
    try:
        bin_dir = ensure()
    except (SetupError, OSError) as error:
        say(f"error: {error}")
        return 1
    potato = str(bin_dir / "potato")
    os.execv(potato, [potato, *sys.argv[1:]])
    return 0  # not reached: this process is `potato` now


if __name__ == "__main__":
    sys.exit(main())
