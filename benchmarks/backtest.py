"""Memory and time of `potato backtest` over 1,000, 10,000 and 100,000 events: the peak must not grow with their number.

The events are GitHub's documented deliveries again and again, as lines of a compressed archive. The floor is `json.loads` of every line.
"""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measure import Result, finish, result

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "tests/counterparts/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
CONFIG = ROOT / "examples/specification/orchestrator.yml"
SIZES = (1_000, 10_000, 100_000)
CHILD = """import sys
from potato.cli.main import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1], file=sys.stderr)
sys.exit(code)
"""


def write(path: Path, size: int) -> None:
    """An archive of that many events, in two thousand repositories."""
    examples = [(item["name"], payload) for item in json.loads(EXAMPLES.read_text()) for payload in item["examples"]]
    with gzip.open(path, "wt", compresslevel=1) as file:
        for number, (event, payload) in zip(range(size), itertools.cycle(examples)):
            received = f"2026-01-{1 + number * 28 // size:02}T00:00:00Z"
            file.write(
                json.dumps({"event": event, "payload": payload, "received_at": received, "facts": {"paths": [f"src/{number}.py"]}}) + "\n"
            )


def main() -> None:
    """Measure and print."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "draft.yml")
        draft.write_text('routing:\n  - if: event == "pull_request" && path ~ "src/*5.py"\n    run: [codex_triage]\n', encoding="utf-8")
        for size in SIZES:
            archive = Path(folder, f"{size}.jsonl.gz")
            write(archive, size)
            start = time.perf_counter()
            with gzip.open(archive, "rb") as file:
                for line in file:
                    json.loads(line)
            results.append(result(f"json.loads of {size} events", "us an event", [(time.perf_counter() - start) * 1e6 / size]))
            argv = ["backtest", "--config", str(draft), "--against", str(archive), "--baseline", str(CONFIG), "--json"]
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", CHILD, *argv], capture_output=True, text=True, check=True)
            results.append(result(f"backtest of {size} events", "us an event", [(time.perf_counter() - start) * 1e6 / size]))
            assert json.loads(done.stdout)["events"] == size
            results.append(result(f"backtest of {size} events, peak memory", "MB", [int(done.stderr.split()[-1]) / 1024]))
    finish(results, results[0].name)


if __name__ == "__main__":
    main()
