"""Rule evaluation: 20 realistic rules beside five peers, 10 to 10,000 rules beside the plain loop and the fast CELs, loading, lint.

Every engine's results are compared with ours before anything is timed. Peers get each rule in the form that is fastest for them, and
their conversion of an event is shown apart. `--plot FILE` draws the scaling.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _measure
from _measure import Result, result
from _peers import EVERY, FAST, Measured, measure
from _plot import Series, plot
from _tables import REALISTIC, events, many_repos, mono_repo, realistic_events

from potato.config.lint import lint
from potato.config.loader import load_config
from potato.core import routing
from potato.core.expression import Reading, parse
from potato.core.routing import RoutingTable, Rule, decide

SIZES = (10, 100, 1_000, 10_000)
PATHS = (0, 20, 3_000)
ROUNDS = 7
SAMPLE_S = 0.05
PEER_CLAUSE_EVENTS = 4_000_000
"""Rules x paths beyond which the CELs, at some tenth of a microsecond each, would take minutes."""


def table(texts: Sequence[str]) -> RoutingTable:
    """As loaded from a config whose twenty agents share the rules."""
    nodes = [(text, parse(text)) for text in texts]
    return RoutingTable([Rule(f"r{n}", n + 1, text, node, ((f"agent{n % 20}",),)) for n, (text, node) in enumerate(nodes)], frozenset())


def sampled(call: Callable[[], object], per: int, rounds: int = ROUNDS) -> list[float]:
    """Microseconds a unit of one call, which does `per` units; each sample repeats the call for a while."""
    call()
    samples: list[float] = []
    for _ in range(rounds):
        gc.collect()
        start, calls = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < SAMPLE_S or not calls:
            call()
            calls += 1
        samples.append(spent * 1e6 / calls / per)
    return samples


def one_by_one(rules: RoutingTable, fields: dict[str, Any]) -> list[int]:
    """The plain loop: every rule's closure in turn."""
    reading = Reading(fields)
    return [number for number, rule in enumerate(rules.rules) if rule.evaluate(reading)]


def same(name: str, expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> None:
    """Stop if two engines disagree."""
    if [list(each) for each in expected] != [list(each) for each in found]:
        raise SystemExit(
            f"{name} gives other results: {[(list(a), list(b)) for a, b in zip(expected, found, strict=True) if list(a) != list(b)][:2]}"
        )


def peers() -> list[Result]:
    """Microseconds a rule, on twenty realistic rules and twenty changed paths."""
    rules, given = table(REALISTIC), realistic_events()
    expected = [one_by_one(rules, fields) for fields in given]
    for _ in range(routing.HOT + 1):
        same("the fused function", expected, [decide(fields, rules).matched for fields in given])
    per = len(given) * len(REALISTIC)
    results = [
        result("potato, fused (a table in use)", "us a rule", sampled(lambda: [rules.match(Reading(fields)) for fields in given], per)),
        result("potato, closures (a table's first events)", "us a rule", sampled(lambda: [one_by_one(rules, f) for f in given], per)),
        result("potato, the whole decision, fused", "us a rule", sampled(lambda: [decide(fields, rules) for fields in given], per)),
    ]
    nodes = [rule.node for rule in rules.rules]
    for peer in EVERY:
        told = measure(peer, nodes, given, 3 * ROUNDS)
        same(peer, expected, told.matched)
        results.append(result(f"{peer} {told.version}", "us a rule", [us / len(REALISTIC) for us in told.evaluate_us]))
        results.append(result(f"{peer}, converting the event", "us a rule", [us / len(REALISTIC) for us in told.convert_us]))
    return results


def scaling() -> tuple[list[Result], list[Series]]:
    """Microseconds a decision by rules and paths, for both kinds of table."""
    results: list[Result] = []
    series: list[Series] = []
    for kind, make in (("one repository", mono_repo), ("500 repositories", many_repos)):
        for paths in PATHS:
            lines: dict[str, dict[int, float]] = {}
            for size in SIZES:
                for name, samples in _at(make(size), paths):
                    results.append(result(f"{kind}, {paths} paths, {size} rules: {name}", "us a decision", samples))
                    lines.setdefault(name, {})[size] = statistics.median(samples)
            series += [Series(f"{kind}, {paths} paths", name, points) for name, points in lines.items()]
            told = ", ".join(f"{size:,} rules {us:,.0f} us" for size, us in lines["potato"].items())
            most, few = lines["potato"][10_000], (lines["potato"][10], lines["plain loop"][10])
            print(
                f"  {kind}, {paths} paths: {told}; 10,000 take {most / few[0]:.1f} x our 10, {most / few[1]:.1f} x the plain loop's",
                flush=True,
            )
    return results, series


def _at(texts: Sequence[str], paths: int) -> list[tuple[str, list[float]]]:
    rules, given = table(texts), events(paths)
    expected = [one_by_one(rules, fields) for fields in given]
    for _ in range(routing.HOT + 1):
        same("decide", expected, [decide(fields, rules).matched for fields in given])
    found = [("potato", sampled(lambda: [decide(fields, rules) for fields in given], len(given)))]
    heavy = len(texts) * max(paths, 1) > PEER_CLAUSE_EVENTS
    found.append(("plain loop", sampled(lambda: [one_by_one(rules, fields) for fields in given], len(given), 3 if heavy else ROUNDS)))
    nodes = [rule.node for rule in rules.rules]
    for peer in () if heavy else FAST:
        told: Measured = measure(peer, nodes, given, 3)
        same(peer, expected, told.matched)
        found.append((peer, told.evaluate_us))
    return found


def loading() -> list[Result]:
    """Seconds to load a config with its index, and to lint one."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (100, 1_000, 10_000):
            path = write_config(Path(folder), size)
            results.append(result(f"load {size} rules", "s", _seconds(lambda path=path: load_config(path).require())))
            tables = [load_config(path).require().table for _ in range(3)]
            results.append(result(f"index {size} rules", "s", [_timed(lambda each=each: each.match(Reading({}))) for each in tables]))
        path = write_config(Path(folder), 1_000)
        results.append(result("lint 1,000 rules", "s", _seconds(lambda: lint(load_config(path), lambda: False))))
    return results


def write_config(folder: Path, size: int) -> str:
    """A config of `size` rules, in a form that people write."""
    rules = "".join(f"  - name: rule-{n}\n    if: >-\n      {text}\n    run: [codex_triage]\n" for n, text in enumerate(mono_repo(size)))
    (folder / f"{size}.yml").write_text(f"version: 1\nrouting:\n{rules}", encoding="utf-8")
    return str(folder / f"{size}.yml")


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _seconds(call: Callable[[], object]) -> list[float]:
    call()
    return [_timed(call) for _ in range(3)]


def main() -> None:
    """Measure, print, and draw where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    results = peers()
    scaled, series = scaling()
    results += scaled + loading()
    _measure.show(results, results[0].name)
    _measure.keep(results, given.json)
    if given.plot:
        plot(series, given.plot)


if __name__ == "__main__":
    main()
