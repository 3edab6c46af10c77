"""Tests of rules, `*.test.yml` beside the config: read with every mistake at its place, and rewritten by `--update`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from potato.config.validation import validate
from potato.config.yaml_tree import MAX_BYTES, Path, Tree, read_tree
from potato.core.fields import FIELDS
from potato.core.nearest import in_the_way, why_not
from potato.core.routing import Decision, RuleOutcome
from potato.core.text import did_you_mean
from potato.core.value import Value
from potato.core.vocabulary import ACTIONS
from potato.errors import ConfigError, Problem, UsageError

ENDINGS: Final = (".test.yml", ".test.yaml")
_TRUTHS: Final = {"true": True, "false": False}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Expectation(_Model):
    """What the decision must be. Rules that must not match may name the clause that keeps them from it."""

    run: Annotated[list[str], Field(description="The agents that run, in any order; no others may.")] = []
    held: Annotated[list[str], Field(description="The agents that are held because a rule is unknown.")] = []
    unmatched: Annotated[dict[str, str | None], Field(description="Rules that must not match, each with the clause that fails.")] = {}


class RuleTestModel(_Model):
    """One event and what must come of it."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="What is tested.")]
    event: Annotated[str, Field(description="GitHub's name of the event.")]
    payload: Annotated[str | None, Field(description="A delivery's JSON, relative to this file.")] = None
    fields: Annotated[dict[str, Any], Field(description="Fields by hand; they go before those of the payload.")] = {}
    paths: Annotated[list[str] | None, Field(description="The changed files.")] = None
    jobs: Annotated[list[str] | None, Field(description="The names of the workflow run's jobs.")] = None
    expect: Annotated[Expectation | None, Field(description="Written by `potato test --update` where it is missing.")] = None


class RuleTestFile(_Model):
    """A whole `*.test.yml`."""

    tests: Annotated[list[RuleTestModel], Field(min_length=1, description="The tests.")]


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test as read. `fields` are those given by hand; `payload` is the path of a file."""

    file: str
    line: int
    index: int
    name: str
    event: str
    payload: str | None
    fields: Mapping[str, Value]
    expect: Expectation | None


@dataclass(slots=True)
class RuleTestSource:
    """One test file: its tree, for rewriting, and its tests."""

    tree: Tree
    tests: list[RuleTest]


def find_tests(config: str, given: Sequence[str]) -> list[str]:
    """The test files: those given, or all beside the config. Raises `UsageError` if there are none."""
    folder = os.path.dirname(config) or "."
    if given:
        return list(given)
    found = sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS))
    if not found:
        raise UsageError("no-tests", f"there is no *.test.yml beside '{config}'.", "Write one, or name it by --tests FILE.")
    return [os.path.join(folder, name) if folder != "." or "/" in config else name for name in found]


def read_tests(path: str) -> RuleTestSource:
    """Read a test file. Raises `ConfigError` with every mistake, and `UsageError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError("file-unreadable", f"the tests at '{path}' cannot be read: {error.strerror}.") from None
    tree = read_tree(path, raw)
    model = validate(RuleTestFile, tree) if tree.data is not None else None
    tests = [_read(tree, index, each) for index, each in enumerate(model.tests)] if model else []
    _unique(tree, tests)
    if tree.problems:
        raise ConfigError(tuple(sorted(tree.problems, key=lambda p: (p.line, p.column))))
    return RuleTestSource(tree, tests)


def _read(tree: Tree, index: int, model: RuleTestModel) -> RuleTest:
    at: Path = ("tests", index)
    if model.event not in ACTIONS:
        tree.problem(tree.at((*at, "event")), "unknown-value", f"'{model.event[:60]}' is no event.", did_you_mean(model.event, ACTIONS))
    fields = {name: _value(tree, (*at, "fields", name), name, value) for name, value in model.fields.items()}
    if model.paths is not None:
        fields["path"] = tuple(model.paths)
    if model.jobs is not None:
        fields["job"] = tuple(model.jobs)
    payload = os.path.join(os.path.dirname(tree.file), model.payload) if model.payload else None
    return RuleTest(tree.file, tree.position(tree.at(at))[0], index, model.name, model.event, payload, fields, model.expect)


def _value(tree: Tree, path: Path, name: str, given: Any) -> Value:  # noqa: ANN401 - unvalidated YAML
    """A field's value, out of YAML's text."""
    field = FIELDS.get(name)
    if field is None:
        tree.problem(tree.at(path, key=True), "unknown-field", f"'{name[:60]}' is no field.", did_you_mean(name, FIELDS))
        return None
    if field.kind == "strings" and isinstance(given, list) and all(isinstance(item, str) for item in given):  # type: ignore[reportUnknownVariableType] # YAML
        return tuple(given)  # type: ignore[reportUnknownArgumentType] # checked above
    if isinstance(given, str):
        if field.kind == "string":
            return given
        if field.kind == "bool" and given in _TRUTHS:
            return _TRUTHS[given]
        if field.kind == "int" and given.removeprefix("-").isdecimal() and len(given) < 20:  # noqa: PLR2004 - 64 bits
            return int(given)
    wanted = {"strings": "a list of text", "string": "text", "bool": "true or false", "int": "a whole number"}[field.kind]
    tree.problem(tree.at(path), "wrong-type", f"'{name}' is {wanted}.")
    return None


def _unique(tree: Tree, tests: Sequence[RuleTest]) -> None:
    seen: dict[str, int] = {}
    for test in tests:
        if test.name in seen:
            tree.problem(tree.at(("tests", test.index, "name")), "duplicate-name", f"the test on line {seen[test.name]} has this name too.")
        seen[test.name] = test.line


def updated(source: RuleTestSource, expectations: Mapping[int, Expectation]) -> str:
    """The file's text with the expectations of some tests (by index) replaced; everything else stays as it is.

    Raises `ConfigError` where a test is written in `{...}`: there is no line to put it on.
    """
    tree, text = source.tree, source.tree.source
    for index in sorted(expectations, reverse=True):
        at: Path = ("tests", index)
        if tree.places[at].style:
            line, column = tree.position(tree.at(at))
            message = "a test in braces cannot be updated."
            raise ConfigError((Problem(tree.file, line, column, "cannot-update", message, hint="Write each of its keys on a line."),))
        key = tree.keys.get((*at, "expect"))
        first = min(place.start for path, place in tree.keys.items() if path[:-1] == at)
        indent = " " * (tree.position(first)[1] - 1)
        block = _written(expectations[index], indent)
        if key is None:
            end = _end(tree, at)
            text = f"{text[:end]}\n{indent}{block}{text[end:]}"
        else:
            text = f"{text[: key.start]}{block}{text[_end(tree, (*at, 'expect')) :]}"
    return text


def _end(tree: Tree, path: Path) -> int:
    """Where a value ends, with all its parts."""
    size = len(path)
    ends = [len(tree.source[: place.end].rstrip()) for each, place in tree.places.items() if each[:size] == path]
    return max(*ends, tree.keys[path].end + 1) if path in tree.keys else max(ends)


def _written(expect: Expectation, indent: str) -> str:
    lines = ["expect:", f"  run: [{', '.join(expect.run)}]"]
    if expect.held:
        lines.append(f"  held: [{', '.join(expect.held)}]")
    if expect.unmatched:
        lines.append("  unmatched:")
    for rule, clause in expect.unmatched.items():
        lines.append(f"    {rule}: {json.dumps(clause, ensure_ascii=False)}" if clause else f"    {rule}:")
    return f"\n{indent}".join(lines)


def failures(expect: Expectation, decision: Decision) -> list[str]:
    """What is otherwise than expected, one line each, with the reason where there is one."""
    told = [_wrong_agents(what, wanted, {a.agent for a in found}, decision)
            for what, wanted, found in (("run", expect.run, decision.assignments), ("held", expect.held, decision.held))]  # fmt: skip
    outcomes = {outcome.rule.name: outcome for outcome in decision.outcomes()} if expect.unmatched else {}
    told += [_wrong_rule(name, clause, outcomes.get(name), list(outcomes)) for name, clause in expect.unmatched.items()]
    return [each for each in told if each]


def _wrong_agents(what: str, wanted: Sequence[str], found: set[str], decision: Decision) -> str:
    if set(wanted) == found:
        return ""
    told = f"expected {what} [{', '.join(sorted(wanted))}], found [{', '.join(sorted(found))}]"
    for agent in sorted(set(wanted) - found):
        misses = why_not(decision, agent)
        because = "; ".join(trace.text for trace in misses[0].failed) if misses else ""
        told += f". {agent}: " + (f"rule {misses[0].outcome.rule.name} is {misses[0].outcome.result} because of {because}" if misses
                                  else "no rule names it, or it is not held" if what == "held" else "no rule names it")  # fmt: skip
    for agent in sorted(found - set(wanted)):
        rules = next(a.rules for a in (*decision.assignments, *decision.held) if a.agent == agent)
        told += f". {agent}: asked for by rule {', '.join(rules)}"
    return told


def _wrong_rule(name: str, clause: str | None, outcome: RuleOutcome | None, known: Sequence[str]) -> str:
    if outcome is None:
        return f"there is no rule '{name}'. {did_you_mean(name, known)}".strip()
    if outcome.result != "unmatched":
        return f"rule {name} is {outcome.result}, expected unmatched"
    found = failed_clauses(outcome)
    if clause is not None and " ".join(clause.split()) not in found:
        return f"rule {name} is unmatched because of {'; '.join(found)}, expected because of {clause}"
    return ""


def failed_clauses(outcome: RuleOutcome) -> list[str]:
    """The clauses that kept a rule from matching, as text."""
    return [trace.text for trace in in_the_way(outcome.trace, wanted=True)]


def observed(decision: Decision, before: Expectation | None) -> Expectation:
    """What a test must expect to pass; rules that it names and that still do not match keep their place."""
    names = before.unmatched if before else {}
    outcomes = [o for o in decision.outcomes() if o.rule.name in names and o.result == "unmatched"] if names else []
    unmatched: dict[str, str | None] = {}
    for outcome in outcomes:
        clause, found = names[outcome.rule.name], failed_clauses(outcome)
        unmatched[outcome.rule.name] = clause if clause is None or clause in found else found[0]
    run, held = [a.agent for a in decision.assignments], [a.agent for a in decision.held]
    if before and sorted(before.run) == sorted(run):
        run = before.run
    return Expectation.model_construct(run=run, held=held, unmatched=unmatched)
