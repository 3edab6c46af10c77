"""One peer's engine over given rules and events, in the peer's own environment: standard library and the peer only.

stdin:  {"peer": NAME, "programs": {INDEX or "policy": text}, "events": [fields, ...], "rounds": n}
stdout: {"peer", "version", "compile_s", "convert_us": [of each round: the median of the events],
         "evaluate_us": [of each round: the mean of the events, all rules], "matched": [[rule indices] of each event]}

Everything is compiled once. Each round converts every event to what the peer evaluates, then evaluates all rules on each.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import operator
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

Event = dict[str, Any]
Programs = Mapping[str, str]
IN_ONE: Final = 100  # rules in one CEL program, far below cel-cpp's limit of 100,000 characters
ITERATIONS: Final = 3_000  # of lists in one program, below cel-cpp's budget of 10,000 with up to three clauses on lists a rule


@dataclass(frozen=True)
class Engine:
    """Compiled rules: an event to the peer's form of it, and that to the indices of the rules that match."""

    convert: Callable[[Event], Any]
    evaluate: Callable[[Any], list[int]]


def common_expression_language(programs: Programs, _: Sequence[Event]) -> Engine:
    """The Rust engine. A `Context` is converted once; `execute` of a dict would convert it for every rule."""
    cel: Any = importlib.import_module("cel")
    rules = [(int(index), cel.compile(text).execute) for index, text in programs.items()]
    return Engine(cel.Context, lambda context: [index for index, execute in rules if execute(context)])


def cel_expr_python(programs: Programs, events: Sequence[Event]) -> Engine:
    """Google's C++ engine, with declared types. Entering it costs more than a rule, so many rules are one list.

    An activation keeps the memory of all evaluations of it until it goes.
    """
    cel: Any = importlib.import_module("cel_expr_python.cel")
    types = {str: cel.Type.STRING, int: cel.Type.INT, bool: cel.Type.BOOL, list: cel.Type.List(cel.Type.STRING)}
    environment = cel.NewEnv(variables={name: types[type(value)] for event in events for name, value in event.items()})
    lists = [(indices, environment.compile(text).eval) for indices, text in in_lists(programs, events)]

    def evaluate(activation: Any) -> list[int]:  # noqa: ANN401 - the peer's
        matched: list[int] = []
        for indices, run in lists:
            truths = run(activation).plain_value()
            if not isinstance(truths, list):
                raise SystemExit(f"cel-expr-python: {truths}")  # what it gives for an error is the text of it
            matched += [index for index, truth in zip(indices, cast("list[bool]", truths), strict=True) if truth]
        return matched

    return Engine(environment.Activation, evaluate)


def cel_python(programs: Programs, events: Sequence[Event]) -> Engine:
    """Pure Python, transpiled to Python. It loads all variables for each program, so many rules are one list. Not safe in threads."""
    celpy: Any = importlib.import_module("celpy")
    environment = celpy.Environment(runner_class=celpy.CompiledRunner)
    lists = [(indices, environment.program(environment.compile(text)).evaluate) for indices, text in in_lists(programs, events)]

    def convert(event: Event) -> dict[str, Any]:
        return {name: celpy.json_to_cel(value) for name, value in event.items()}

    def evaluate(context: dict[str, Any]) -> list[int]:
        return [index for indices, run in lists for index, truth in zip(indices, run(context), strict=True) if truth]

    return Engine(convert, evaluate)


def in_lists(programs: Programs, events: Sequence[Event]) -> list[tuple[list[int], str]]:
    """CEL texts joined to programs that each return a list of truths, with the rules' indices."""
    items = [(int(index), text) for index, text in programs.items()]
    longest = max(len(cast("list[str]", value)) for event in events for value in event.values() if isinstance(value, list))
    step = max(1, min(IN_ONE, ITERATIONS // max(longest, 1)))
    parts = [items[start : start + step] for start in range(0, len(items), step)]
    return [([index for index, _ in part], f"[{', '.join(text for _, text in part)}]") for part in parts]


def regopy(programs: Programs, _: Sequence[Event]) -> Engine:
    """Microsoft's C++ engine of OPA's language: one policy, compiled to a bundle, one query for all rules."""
    rego: Any = importlib.import_module("regopy")
    interpreter = rego.Interpreter()
    interpreter.add_module("rules.rego", programs["policy"])
    bundle = interpreter.build(None, ["rules/matched"])
    if not bundle.ok():
        raise SystemExit(f"regopy: {bundle.node().at(0).json()}")

    def evaluate(document: Any) -> list[int]:  # noqa: ANN401 - the peer's
        interpreter.set_input(document)
        output = interpreter.query_bundle_entrypoint(bundle, "rules/matched")
        if not output.ok():
            raise SystemExit(f"regopy: {output.node().at(0).json()}")
        return sorted(output[0][0])

    return Engine(rego.Input, evaluate)


def rule_engine(programs: Programs, _: Sequence[Event]) -> Engine:
    """Pure Python. Lists become tuples here, else it copies them at each use; its values are untyped, for types are checked at run time."""
    package: Any = importlib.import_module("rule_engine")
    context = package.Context(resolver=operator.getitem)
    rules = [(int(index), package.Rule(text, context=context).matches) for index, text in programs.items()]

    def convert(event: Event) -> Event:
        return {name: tuple(cast("list[str]", value)) if isinstance(value, list) else value for name, value in event.items()}

    return Engine(convert, lambda fields: [index for index, matches in rules if matches(fields)])


PEERS: Final[Mapping[str, Callable[[Programs, Sequence[Event]], Engine]]] = {
    "common-expression-language": common_expression_language,
    "cel-expr-python": cel_expr_python,
    "cel-python": cel_python,
    "regopy": regopy,
    "rule-engine": rule_engine,
}


def main() -> None:
    """Measure and print."""
    task = json.load(sys.stdin)
    events: list[Event] = task["events"]
    start = time.perf_counter()
    engine = PEERS[task["peer"]](task["programs"], events)
    compile_s = time.perf_counter() - start
    matched = [engine.evaluate(engine.convert(event)) for event in events]  # and fills the caches
    convert_us: list[float] = []
    evaluate_us: list[float] = []
    for _ in range(task["rounds"]):
        converting: list[float] = []
        evaluating = 0.0
        for event in events:
            start = time.perf_counter()
            converted = engine.convert(event)
            middle = time.perf_counter()
            engine.evaluate(converted)
            evaluating += time.perf_counter() - middle
            converting.append((middle - start) * 1e6)
        convert_us.append(statistics.median(converting))
        evaluate_us.append(evaluating * 1e6 / len(events))
    version = importlib.metadata.version(task["peer"])
    report = {"peer": task["peer"], "version": version, "compile_s": compile_s, "convert_us": convert_us, "evaluate_us": evaluate_us}
    print(json.dumps({**report, "matched": matched}))


if __name__ == "__main__":
    main()
