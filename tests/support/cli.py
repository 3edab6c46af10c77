"""Run the installed command line as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POTATO = Path(sys.executable).with_name("potato")


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def potato(*args: str | Path, cwd: Path, env: dict[str, str] | None = None, stdin: bytes | None = None, timeout: float = 60) -> Done:
    """In `cwd`, with nothing in the environment but PATH, HOME and `env`."""
    base = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [POTATO, *map(str, args)], cwd=cwd, env=base | (env or {}), input=stdin or b"", capture_output=True, timeout=timeout, check=False
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
