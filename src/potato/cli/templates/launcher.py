#!/usr/bin/env python3
"""Install potato-orchestrator @VERSION@ beside this file, once, and run it: python3 orchestrator.py --config FILE."""

import os
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "@VERSION@"
HOME = Path(__file__).resolve().parent / ".potato" / f"venv-{VERSION}"
POTATO = HOME / "bin" / "potato-orchestrator"

if not POTATO.exists():
    venv.create(HOME, with_pip=True, clear=True)
    pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, f"potato-orchestrator=={VERSION}"], stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"potato: installing potato-orchestrator {VERSION} failed")
os.execv(POTATO, [str(POTATO), *sys.argv[1:]])
