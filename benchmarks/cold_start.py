"""Cold start of `potato explain` on the specification's config, beside Python's own start and an `import click`.

Each round runs every command once, in turn; wall time of the whole process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _measure import finish, result

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 21
DELIVERY = ROOT / "src/potato/cli/demo_data/deliveries/pull_request.labeled.json"
CONFIG = ROOT / "examples/specification/orchestrator.yml"
POTATO = Path(sys.executable).with_name("potato")

COMMANDS: dict[str, list[str]] = {
    "python3 -c pass": [sys.executable, "-c", "pass"],
    'python3 -c "import click"': [sys.executable, "-c", "import click"],
    'python3 -c "import pydantic, yaml, msgspec"': [sys.executable, "-c", "import pydantic, yaml, msgspec"],
    "potato --version": [str(POTATO), "--version"],
    "potato explain --json": [
        str(POTATO), "explain", "--config", str(CONFIG), "--event", "pull_request", "--payload", str(DELIVERY), "--json",
    ],
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(ROUNDS + 1):
        for name, argv in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
            if number:  # the first round fills the caches
                samples[name].append((time.perf_counter() - start) * 1000)
    finish([result(name, "ms", times) for name, times in samples.items()], "python3 -c pass")


if __name__ == "__main__":
    main()
