"""The rules of a config: parsed, type-checked and compiled, every mistake at its true place in the YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from potato.config.builtin_names import BUILTINS
from potato.config.models import Document, RuleModel
from potato.config.yaml_tree import Place, Tree
from potato.core.expression import ExpressionError, Node, check, parse
from potato.core.routing import Priority, Rule
from potato.core.text import did_you_mean

MANY_RULES: Final = 20_000
_TRAILING_COMMENT: Final = re.compile(r"[ \t]+#")
_BLOCK_HEADER: Final = re.compile(r"[|>][^\n]*\n")


def read_rules(tree: Tree, document: Document, defined: Collection[str]) -> list[Rule]:
    """Every rule that can be compiled; what is wrong with the others stands in the tree."""
    names: dict[str, int] = {}
    rules: list[Rule] = []
    if len(document.routing) > MANY_RULES:
        tree.problem(tree.at(("routing",), key=True), "many-rules", f"{len(document.routing):,} rules take long to load.",
                     "Let one rule serve many repositories by a glob, or give teams a config each.", "warning")  # fmt: skip
    for index, model in enumerate(document.routing):
        line, _ = tree.position(tree.at(("routing", index)))
        name = model.name or f"r{line}"
        if model.name and name in names:
            tree.problem(tree.at(("routing", index, "name")), "duplicate-name", f"the rule on line {names[name]} is '{name}' too.")
        names[name] = line
        _check_run(tree, index, model, defined)
        parsed = _expression(tree, index, model)
        if parsed is not None:
            groups = tuple((item,) if isinstance(item, str) else tuple(item.any_of) for item in model.run)
            rules.append(Rule(name, line, *parsed, groups, Priority[model.priority.upper()], model.stop, model.delay or 0.0))
    return rules


def _check_run(tree: Tree, index: int, model: RuleModel, defined: Collection[str]) -> None:
    for at, item in enumerate(model.run):
        for name in [item] if isinstance(item, str) else item.any_of:
            if name not in defined:
                hint = did_you_mean(name, [*defined, *BUILTINS]) or f"Define it under 'agents:', or use a built-in: {', '.join(BUILTINS)}."
                tree.problem(tree.at(("routing", index, "run", at)), "unknown-agent", f"no agent is called '{name}'.", hint)


def _expression(tree: Tree, index: int, model: RuleModel) -> tuple[str, Node] | None:
    place = tree.places.get(("routing", index, "if"))
    if place is None or not isinstance(model.if_, str):  # type: ignore[reportUnnecessaryIsInstance] # a salvaged rule may lack it
        return None
    text, offset = _expression_text(tree, place, model.if_)
    try:
        node = parse(text)
    except ExpressionError as error:
        tree.problem(offset(error.span[0]), error.code, f"{error.message}.", error.hint)
        return None
    findings = check(node)
    for finding in findings:
        tree.problem(offset(finding.span[0]), finding.code, finding.message, finding.hint, finding.severity)
    _warn_of_comment(tree, place)
    return None if any(finding.severity == "error" for finding in findings) else (text, node)


def expression_place(tree: Tree, index: int, value: str) -> Callable[[int], int]:
    """From offsets in the expression of a rule to offsets in the file."""
    return _expression_text(tree, tree.places["routing", index, "if"], value)[1]


def _expression_text(tree: Tree, place: Place, value: str) -> tuple[str, Callable[[int], int]]:
    """The expression as written, and a function from its offsets to the file's."""
    source, start = tree.source[place.start : place.end], place.start
    if place.style in ("|", ">"):
        header = _BLOCK_HEADER.match(source)
        skip = header.end() if header else 0
        return source[skip:], lambda at: start + skip + at
    if place.style:
        inner = source[1:-1]
        if inner == value:
            return inner, lambda at: start + 1 + at
        return value, lambda _at: start
    return source, lambda at: start + at


def _warn_of_comment(tree: Tree, place: Place) -> None:
    end = place.start + len(tree.source[place.start : place.end].rstrip())
    if not place.style and _TRAILING_COMMENT.match(tree.source, end):
        tree.problem(end, "comment-after-if", "' #' starts a comment here; the rule ends before it.",
                          "If it belongs to the rule, quote the whole expression.", "warning")  # fmt: skip
