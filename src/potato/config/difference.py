"""What one config lets happen that another does not: by event, agent, permission, and everything that keeps automation in hand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from potato.config.config import Config
from potato.config.models import Document
from potato.core.analysis import Budget, Cut, Undecided, terms, witness
from potato.core.expression.nodes import And, Node, Not
from potato.core.permission import WRITING
from potato.core.routing import Rule
from potato.core.text import printable
from potato.ports import AgentSpec

_LONGEST_S: Final = 0.5
"""Seconds to look for an event; one rule has terms enough to look for ever."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, for people. `widens` says that more may happen than before: a person should want that."""

    text: str
    widens: bool


def differences(before: Config, after: Config, longest_s: float = 5.0) -> list[Change]:
    """Every difference in what may happen, the widening ones first.

    What cannot be proven within `longest_s` counts as widening, without an example.
    """
    found = [*_agents(before, after), *_triggers(before, after, time.monotonic() + longest_s), *_control(before, after)]
    return sorted(dict.fromkeys(found), key=lambda change: not change.widens)


def _agents(before: Config, after: Config) -> Iterator[Change]:
    for name in sorted({*before.agents, *after.agents}):
        old, new = before.agents.get(name), after.agents.get(name)
        if new is None:
            yield Change(f"agent {name} is gone", widens=False)
        elif old is None:
            may = ", ".join(sorted(new.permissions)) or "nothing"
            yield Change(f"agent {name} is new and may {may}", widens=_matters(new))
            yield from _gained(name, "gets the secret", (), new.secrets)
        else:
            yield from _changed(name, old, new)


def _matters(spec: AgentSpec) -> bool:
    """Whether it can do anything but read."""
    return bool(spec.permissions & WRITING or spec.secrets)


def _changed(name: str, old: AgentSpec, new: AgentSpec) -> Iterator[Change]:
    yield from _gained(name, "may", sorted(old.permissions), sorted(new.permissions))
    yield from _gained(name, "gets the secret", old.secrets, new.secrets)
    for kind in sorted({*old.caps, *new.caps}):
        if old.grant().cap(kind) != new.grant().cap(kind):
            now, was = new.grant().cap(kind), old.grant().cap(kind)
            yield Change(f"{name} may propose {now} x {kind} a run, before {was}", widens=now > was)
    for what, was, now in (
        ("role", old.role, new.role), ("runner", old.runner, new.runner), ("command", old.command, new.command),
        ("function", old.function, new.function), ("model", old.model, new.model), ("built-in", old.builtin, new.builtin),
    ):  # fmt: skip
        if was != now:
            yield Change(f"{name} has another {what}: {_shown(now)}, before {_shown(was)}", widens=what != "model")
    if old.sandbox != new.sandbox:
        yield Change(f"{name} has sandbox: {new.sandbox}", widens=new.sandbox == "none")
    yield from _gained(name, "sees", _files(old), _files(new))
    yield from _gained(name, "may reach", old.egress, new.egress)
    yield from _gained(name, "may ask the model", old.models, new.models)
    yield from _gained(name, "has the tool", old.tools, new.tools)
    if old.paths != new.paths:
        widens = bool(old.paths) and not (new.paths and set(new.paths) <= set(old.paths))
        yield Change(
            f"{name} may change the paths {_shown(new.paths) if new.paths else 'of every file'}, before {_shown(old.paths)}", widens=widens
        )
    for what, was, now in (
        ("url", old.url, new.url), ("signing_secret", old.signing_secret, new.signing_secret), ("internal", old.internal, new.internal),
        ("environment", tuple(sorted(old.environment.items())), tuple(sorted(new.environment.items()))),
    ):  # fmt: skip
        if was != now:
            yield Change(f"{name} has another {what}: {_shown(now)}, before {_shown(was)}", widens=True)
    for what, was, now in (("concurrency", old.concurrency, new.concurrency), ("rate", old.rate, new.rate)):
        if was != now:
            yield Change(f"{name} has {what} {_shown(now)}, before {_shown(was)}", widens=was is not None)
    if old.cooldown_s != new.cooldown_s:
        yield Change(f"{name} cools down {new.cooldown_s:g} s, before {old.cooldown_s:g} s", widens=new.cooldown_s < old.cooldown_s)
    if old.prompt != new.prompt:
        yield Change(f"{name} has another prompt", widens=False)


def _files(spec: AgentSpec) -> list[str]:
    return [os.path.relpath(path, spec.folder) for path in spec.files]


def _gained(name: str, verb: str, old: Any, new: Any) -> Iterator[Change]:  # noqa: ANN401 - sequences of names
    for item in new:
        if item not in old:
            yield Change(f"{name} {verb} {item}, which it did not before", widens=True)
    for item in old:
        if item not in new:
            yield Change(f"{name} no longer {verb} {item}", widens=False)


def _triggers(before: Config, after: Config, until: float) -> Iterator[Change]:
    """Which events may run which agent that did not before, proven by one that would; whatever the rules' words and order are."""
    old, new = _asked(before), _asked(after)
    for agent in sorted({*old, *new} & before.agents.keys() & after.agents.keys()):
        for rule in new.get(agent, []):
            guards = _guards_of(rule, after)
            as_guarded = [was for was in old.get(agent, []) if _guards_of(was, before) <= guards]
            if any(was.source == rule.source for was in as_guarded):
                continue
            unguarded = sorted(
                set[str]().union(*(_guards_of(was, before) for was in old.get(agent, []) if was.source == rule.source)) - guards
            )
            if unguarded:
                yield Change(f"{agent} no longer waits for {', '.join(unguarded)} in rule {rule.name}", widens=True)
                continue
            example = _example(rule.node, [was.node for was in as_guarded], min(until, time.monotonic() + _LONGEST_S))
            if example is not None:
                yield Change(f"{agent} also runs by rule {rule.name}{example}", widens=_matters(after.agents[agent]))
        if old.get(agent) and not new.get(agent):
            yield Change(f"{agent} runs by no rule any more", widens=False)
    was_stopping, stopping = ({rule.name for rule in config.table.rules if rule.stop} for config in (before, after))
    for name in sorted(stopping - was_stopping):
        yield Change(f"rule {name} now keeps later rules from being asked", widens=True)
    for name in sorted(was_stopping - stopping):
        yield Change(f"rule {name} no longer keeps later rules from being asked", widens=True)


def _guards_of(rule: Rule, config: Config) -> frozenset[str]:
    """The guards that the rule's other agents wait for."""
    return frozenset(name for group in rule.run for name in group if name in config.table.guards)


def _asked(config: Config) -> Mapping[str, list[Rule]]:
    """Agent -> the rules that may run it."""
    found: dict[str, list[Rule]] = {}
    for rule in config.table.rules:
        for agent in dict.fromkeys(name for group in rule.run for name in group):
            found.setdefault(agent, []).append(rule)
    return found


def _example(node: Node, covered: Sequence[Node], until: float) -> str | None:
    """An event that `node` matches and none of `covered`; nothing if there can be none, and empty where nobody can tell in short time."""
    if time.monotonic() > until:
        return ""
    found = terms(And((node, *(Not(other, other.span) for other in covered)), node.span))
    unsure = found is None
    for term in found or []:
        try:
            fields = witness(term, Budget(lambda: time.monotonic() > until))
        except (Undecided, Cut):
            unsure = True
            continue
        if fields is not None:
            shown = ", ".join(
                f"{name}={printable(str(value), 60)}" for name, value in sorted(fields.items()) if value not in (None, (), "")
            )
            return f", for example on {shown}"
    return "" if unsure else None


def _control(before: Config, after: Config) -> Iterator[Change]:
    old, new = before.document, after.document
    for key in ("depth", "runs_per_head"):
        was, now = getattr(old.loops, key), getattr(new.loops, key)
        if was != now:
            yield Change(f"loops.{key} is {now}, before {was}", widens=now > was)
    for scope in ("run", "pull_request", "repository", "organisation", "day"):
        for measure in ("runs", "tokens", "cost"):
            was, now = (getattr(getattr(document.budgets, scope), measure, None) for document in (old, new))
            if was != now:
                yield Change(
                    f"budgets.{scope}.{measure} is {_shown(now)}, before {_shown(was)}",
                    widens=was is not None and (now is None or now > was),
                )
    for name in sorted(old.agents.keys() & new.agents.keys()):
        for measure in ("tokens", "cost"):
            was, now = (getattr(document.agents[name].budget, measure, None) for document in (old, new))
            if was != now:
                yield Change(
                    f"a run of {name} has a budget of {_shown(now)} {measure}, before {_shown(was)}",
                    widens=was is not None and (now is None or now > was),
                )
    for key in ("forbid", "require"):
        was, now = getattr(old.policies, key), getattr(new.policies, key)
        yield from (Change(f"policies.{key} has no {item} any more", widens=True) for item in was if item not in now)
        yield from (Change(f"policies.{key} has {item}", widens=False) for item in now if item not in was)
    for key in ("node_version", "python_version"):
        was, now = getattr(old.policies, key), getattr(new.policies, key)
        if was != now:
            yield Change(f"policies.{key} is {_shown(now)}, before {_shown(was)}", widens=was is not None)
    for section in ("guards", "approvals"):
        yield from _section(section, getattr(old, section), getattr(new, section))
    yield from _offers(old, new)


def _offers(old: Document, new: Document) -> Iterator[Change]:
    for section, said in (("providers", "providers are"), ("cage", "the cage is"), ("repositories", "what repositories may add is")):
        if getattr(old, section) != getattr(new, section):
            yield Change(f"{said} otherwise", widens=True)


def _section(section: str, old: Any, new: Any) -> Iterator[Change]:  # noqa: ANN401 - lists of models
    """Guards and approvals hold things back: fewer of them, or others, let more through."""
    was, now = ({model.name or f"number {n}": model for n, model in enumerate(models, 1)} for models in (old, new))
    for name in sorted({*was, *now}):
        if name not in now:
            yield Change(f"{section}: {name} is gone", widens=True)
        elif name not in was:
            yield Change(f"{section}: {name} is new", widens=False)
        elif was[name] != now[name]:
            yield Change(f"{section}: {name} is otherwise", widens=True)


def _shown(value: Any) -> str:  # noqa: ANN401 - a setting
    if value is None or value == ():
        return "none"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)  # type: ignore[reportUnknownArgumentType] # of text
