"""Normalise and decide, per delivery, over all of GitHub's documented payloads with the specification's rules.

The floor is `json.loads` of the same bytes. Each sample is one pass over all payloads, divided by their number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from _measure import Result, finish, result

from potato.config.loader import load_config
from potato.core.expression import Reading
from potato.core.routing import decide
from potato.core.strict_json import parse_object
from potato.forges.github.normalise import normalise

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "tests/counterparts/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
ROUNDS = 11


def main() -> None:
    """Measure and print."""
    table = load_config(str(ROOT / "examples/specification/orchestrator.yml")).require().table
    deliveries = [(item["name"], json.dumps(p).encode()) for item in json.loads(EXAMPLES.read_text()) for p in item["examples"]]
    events = [normalise(name, body) for name, body in deliveries]
    passes: dict[str, Callable[[], object]] = {
        "json.loads": lambda: [json.loads(body) for _, body in deliveries],
        "strict JSON pass": lambda: [parse_object(body, "it") for _, body in deliveries],
        "normalise (strict pass and fields)": lambda: [normalise(name, body) for name, body in deliveries],
        "evaluate 3 rules": lambda: [[rule.evaluate(Reading(event.fields)) for rule in table.rules] for event in events],
        "decide (3 rules, with traces)": lambda: [decide(event.fields, table) for event in events],
        "normalise and decide": lambda: [decide(normalise(name, body).fields, table) for name, body in deliveries],
    }
    samples: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(ROUNDS + 1):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            if number:
                samples[name].append((time.perf_counter() - start) * 1e6 / len(deliveries))
    results: list[Result] = [result(name, "us per delivery", times) for name, times in samples.items()]
    print(f"{len(deliveries)} payloads, {sum(len(body) for _, body in deliveries) // len(deliveries):,} bytes on average")
    finish(results, "json.loads")


if __name__ == "__main__":
    main()
