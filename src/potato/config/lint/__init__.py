"""Checks of a usable config for what is allowed and hardly meant. One file a check; its identifier is its heading in the docs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from potato.config.config import Loaded
from potato.config.lint import (
    costly_facts,
    flapping_labels,
    literal_glob,
    self_trigger,
    shadowed_rule,
    unrouted_agent,
    unsatisfiable_rule,
    unused_permission,
)
from potato.config.lint.subject import Subject
from potato.core.analysis import Budget, Cut
from potato.errors import Problem

_CHECKS: Final[tuple[ModuleType, ...]] = (
    literal_glob, unrouted_agent, unused_permission, costly_facts, unsatisfiable_rule, shadowed_rule, flapping_labels, self_trigger,
)  # fmt: skip
"""Quick ones first: when the time is used up, they are done."""

CUT: Final = "lint-cut"

CHECKS: Final[dict[str, str]] = {**{check.ID: check.DOC for check in _CHECKS}, CUT: "The time was used up before all checks were done."}
"""Identifier -> what it means."""

_IGNORE: Final = re.compile(r"#.*\bpotato:\s*ignore\[([a-z, -]+)\]")


@dataclass(frozen=True, slots=True)
class Linted:
    """The findings in file order, and how many a comment has silenced."""

    findings: list[Problem]
    ignored: int


def lint(loaded: Loaded, expired: Callable[[], bool]) -> Linted:
    """Every finding. `expired` says when the time is used up; then a finding `lint-cut` tells what was not checked.

    Raises `ConfigError` if the config cannot be used.
    """
    subject = Subject(loaded, Budget(expired))
    found: list[Problem] = []
    undone: list[str] = []
    for check in _CHECKS:
        try:
            found.extend(check.check(subject))  # what it finds before the cut stays
        except Cut:
            undone.append(check.ID)
    if undone:
        found.append(subject.problem((1, 1), CUT, "warning", f"the time was used up; not, or not wholly, checked: {', '.join(undone)}.",
                                     "Give it more by --budget."))  # fmt: skip
    lines = subject.tree.source.splitlines()
    kept = [problem for problem in found if not _ignored(problem, lines)]
    return Linted(sorted(kept, key=lambda p: (p.line, p.column, p.code)), len(found) - len(kept))


def _ignored(problem: Problem, lines: list[str]) -> bool:
    """A comment on the finding's line, or on the lines of comment right above it, names its identifier."""
    at = problem.line - 1
    while at >= 0:
        found = _IGNORE.search(lines[at]) if at < len(lines) else None
        if found and problem.code in re.split(r"[,\s]+", found[1]):
            return True
        at -= 1
        if at < 0 or not lines[at].lstrip().startswith("#"):
            return False
    return False
