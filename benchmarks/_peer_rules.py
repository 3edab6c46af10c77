"""Our rules in the languages of the peers that the benchmark compares with, each in the form that its engine is fastest at.

CEL and rule-engine have no absent fields as we do: `complete` fills them, and a clause that would be true of the filling gets a guard.
Rego leaves what is absent undefined, which is our meaning, and takes the fields as they are.

In CEL and Rego a regular expression costs many times what a comparison does, so a glob becomes comparisons where they say the same,
and else its literal ends are compared first. In rule-engine every operation costs alike: a glob is one regular expression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from potato.core.expression import Fields, Node, fields_of
from potato.core.expression.compile import normal_operand, predicate_of
from potato.core.expression.nodes import And, Literal_, Not, Or, Regex, Test
from potato.core.expression.pattern import is_literal
from potato.core.fields import FIELDS

Condition = tuple[str, Literal_]  # an operator, which is a key of a dialect's conditions, and what it compares with
Clause = tuple[bool, list[list[Condition]]]  # whether it is negated; alternatives, one of which must hold with all its conditions

FILLING: Final[Mapping[str, Literal_ | tuple[str, ...]]] = {"string": "\x01", "int": -1, "bool": False, "strings": ()}
_COMPARE: Final = {op: f"{{s}} {op} {{v}}" for op in ("==", "!=", "<", "<=", ">", ">=")} | {"is": "{s}"}


@dataclass(frozen=True)
class _Infix:
    """An infix language: `s` is what a condition is on, `v` a literal, `f` a list's name, `c` a condition on its element `e`."""

    no: str
    both: str
    either: str
    some: str
    every: str
    conditions: Mapping[str, str]


_CEL: Final = _Infix(
    no="!", both=" && ", either=" || ", some="{f}.exists(e, {c})", every="(size({f}) > 0 && {f}.all(e, {c}))",
    conditions={**_COMPARE, "starts": "{s}.startsWith({v})", "ends": "{s}.endsWith({v})", "contains": "{s}.contains({v})",
                "lacks": "!{s}.contains({v})", "search": "{s}.matches({v})"},
)  # fmt: skip
_RULE_ENGINE: Final = _Infix(  # a list is true if it has items
    no="not ", both=" and ", either=" or ", some="[e for e in {f} if {c}]", every="({f} and not [e for e in {f} if not ({c})])",
    conditions={**_COMPARE, "match": "{s} =~ {v}", "search": "{s} =~~ {v}"},
)  # fmt: skip
_REGO: Final = {
    **_COMPARE, "starts": "startswith({s}, {v})", "ends": "endswith({s}, {v})", "contains": "contains({s}, {v})",
    "lacks": "contains({s}, {v}) == false", "search": "regex.match({v}, {s})",
}  # fmt: skip
_REGO_ANY: Final = {"==": "{v} in {s}", "starts": "strings.any_prefix_match({s}, {v})", "ends": "strings.any_suffix_match({s}, {v})"}


def programs(peer: str, nodes: Sequence[Node]) -> dict[str, str]:
    """What the peer compiles: each rule's text by its index, or one policy of all rules."""
    if peer == "regopy":
        return {"policy": to_rego(nodes)}
    return {str(index): to_rule_engine(node) if peer == "rule-engine" else to_cel(node) for index, node in enumerate(nodes)}


def inputs(peer: str, nodes: Sequence[Node], events: Iterable[Fields]) -> list[Fields]:
    """The events as the peer's programs read them."""
    read = frozenset[str]().union(*map(fields_of, nodes))
    return list(events) if peer == "regopy" else [complete(event, read) for event in events]


def complete(fields: Fields, read: Iterable[str]) -> Fields:
    """Fill those of `read` that are absent. A boolean has no value to spare for that: `absent` names those filled."""
    missing = {name: FIELDS[name].kind for name in sorted(read) if fields.get(name) is None}
    absent = tuple(name for name, kind in missing.items() if kind == "bool")
    return {**fields, **{name: FILLING[kind] for name, kind in missing.items()}, "absent": absent}


def to_cel(node: Node) -> str:
    """An expression of the Common Expression Language."""
    return _infix(node, _CEL)


def to_rule_engine(node: Node) -> str:
    """A rule of the package rule-engine."""
    return _infix(node, _RULE_ENGINE)


def to_rego(nodes: Sequence[Node]) -> str:
    """A policy whose `data.rules.matched` is the set of the matching rules' indices."""
    policy = _Policy()
    rules = [f"matched contains {index} if {{ {policy.body(node)} }}" for index, node in enumerate(nodes)]
    return "\n".join(["package rules", "", *policy.helpers, *rules, ""])


def _infix(node: Node, to: _Infix) -> str:
    match node:
        case Not():
            return f"{to.no}({_infix(node.item, to)})"
        case And() | Or():
            return f"({(to.both if isinstance(node, And) else to.either).join(_infix(item, to) for item in node.items)})"
        case Test() if FIELDS[node.field].kind == "strings":
            return _infix_list(node, to)
        case Test():
            clause, filling = _infix_clause(_clause(node, to), node.field, to), FILLING[FIELDS[node.field].kind]
            if not predicate_of(node)(filling):
                return clause
            guard = f'{to.no}("{node.field}" in absent)' if filling is False else f"{node.field} != {_text(filling)}"
            return f"({guard}{to.both}{clause})"


def _infix_list(test: Test, to: _Infix) -> str:
    negated, alternatives = _clause(test, to)
    if test.quantifier == "all":
        return to.every.format(f=test.field, c=_infix_clause((negated, alternatives), "e", to))
    members, others = [], alternatives  # `in` looks through the list in one operation
    if not negated:
        members = [_text(each[0][1]) for each in alternatives if each[0][0] == "=="]
        others = [each for each in alternatives if each[0][0] != "=="]
    parts = [f"{member} in {test.field}" for member in members]
    if others:
        parts.append(to.some.format(f=test.field, c=_infix_clause((negated, others), "e", to)))
    return f"{to.no if test.quantifier == 'none' else ''}({to.either.join(parts)})"


def _infix_clause(clause: Clause, subject: str, to: _Infix) -> str:
    negated, alternatives = clause
    conditions = [[to.conditions[op].format(s=subject, v=_text(value)) for op, value in each] for each in alternatives]
    joined = to.either.join(to.both.join(each) for each in conditions)
    return f"{to.no}({joined})" if negated else f"({joined})" if len(alternatives) > 1 else joined


class _Policy:
    """Rego's rules are conjunctions of statements; alternatives, and what is negated, are rules of their own."""

    def __init__(self) -> None:
        self.helpers: list[str] = []

    def body(self, node: Node) -> str:
        """Statements that hold where the node is true."""
        match node:
            case And():
                return "; ".join(map(self.body, node.items))
            case Or():
                return self._helper(map(self.body, node.items))
            case Not():
                return self._not(self.body(node.item))
            case Test() if FIELDS[node.field].kind == "strings":
                return self._list(node, f"input.{node.field}")
            case Test():
                negated, alternatives = _clause(node)
                holds = self._any(f"input.{node.field}", alternatives)
                return f"input.{node.field} != null; {self._not(holds)}" if negated else holds

    def _list(self, test: Test, name: str) -> str:
        negated, alternatives = _clause(test)
        if test.quantifier == "all" and negated:  # regopy 1.5 ignores a `not` in `every`
            return f"count({name}) > 0; {self._not(self._some(name, alternatives))}"
        if test.quantifier == "all":
            return f"count({name}) > 0; every e in {name} {{ {self._any('e', alternatives, '(e)')} }}"
        if negated:
            some = self._helper([f"some e in {name}; {self._not(self._any('e', alternatives, '(e)'), '(e)')}"])
        else:
            some = self._some(name, alternatives)
        return self._not(some) if test.quantifier == "none" else some

    def _some(self, name: str, alternatives: list[list[Condition]]) -> str:
        bodies = [_rego_some(name, conditions) for conditions in alternatives]
        return bodies[0] if len(bodies) == 1 and "some e in" not in bodies[0] else self._helper(bodies)  # a helper stops at the first

    def _any(self, subject: str, alternatives: list[list[Condition]], argument: str = "") -> str:
        bodies = ["; ".join(_rego(op, subject, value) for op, value in conditions) for conditions in alternatives]
        return bodies[0] if len(bodies) == 1 else self._helper(bodies, argument)

    def _not(self, body: str, argument: str = "") -> str:
        compound = re.search(r"; |^(not|some|every) ", body)
        return f"not {self._helper([body], argument) if compound else body}"

    def _helper(self, bodies: Iterable[str], argument: str = "") -> str:
        bodies = list(bodies)  # they may add helpers themselves
        name = f"helper_{len(self.helpers)}{argument}"
        self.helpers += [f"{name} if {{ {body} }}" for body in bodies]
        return name


def _rego_some(name: str, conditions: list[Condition]) -> str:
    """One call over the whole list where Rego has it; else that first, then each element."""
    calls = [_REGO_ANY[op].format(s=name, v=_text(value)) for op, value in conditions if op in _REGO_ANY]
    if len(conditions) == len(calls) == 1:
        return calls[0]
    return "; ".join([*calls, f"some e in {name}", *(_rego(op, "e", value) for op, value in conditions)])


def _rego(op: str, subject: str, value: Literal_) -> str:
    """One condition. regopy searches with C++'s std::regex, which has no flags: `(?s)` becomes a class, `(?i)` lower case.

    Raises `ValueError` for other syntax that it lacks, which it would take for undefined.
    """
    if op == "search" and (flags := re.match(r"\(\?([is]+)\)", str(value))):
        value = str(value)[flags.end() :]
        if "s" in flags[1]:
            value = re.sub(r"(\\.)|\.", lambda found: found[1] or r"[\s\S]", value)
        if "i" in flags[1]:
            value, subject = re.sub(r"(\\.)|[A-Z]", lambda found: found[1] or found[0].lower(), value), f"lower({subject})"
    if op == "search" and re.search(r"\(\?[^:]|\\[pPQAzCx]", str(value)):
        raise ValueError(f"regopy cannot say the regular expression {value}")
    return _REGO[op].format(s=subject, v=_text(value))


def _clause(test: Test, to: _Infix | None = None) -> Clause:
    """What the clause asks of one value."""
    operand = normal_operand(test.field, test.operand)
    operands = cast("tuple[Literal_, ...]", operand if isinstance(operand, tuple) else (operand,))
    if test.op not in ("~", "!~"):
        return False, [[("==" if test.op == "in" else test.op, operand)] for operand in operands]
    negated, in_path = test.op == "!~", test.field == "path"
    if isinstance(test.operand, Regex):
        return negated, [[("search", test.operand.pattern)]]
    glob = str(operands[0])
    if is_literal(glob):
        return False, [[("!=" if negated else "==", glob)]]
    if to is _RULE_ENGINE:
        pattern = re.sub(r"\$$", r"\\Z", _regex(glob, in_path=in_path))  # its $ may stand before a last newline
        anchored = pattern.startswith("(?s)^")
        return negated, [[("match", pattern.replace("^", "", 1)) if anchored else ("search", pattern)]]
    return negated, (in_path and _path_comparisons(glob)) or [_comparisons(glob, in_path=in_path)]


def _path_comparisons(glob: str) -> list[list[Condition]]:
    """What the usual forms of a glob for paths say; nothing for another form."""
    if found := re.fullmatch(r"([^*?]*)\*\*", glob):  # src/**
        return [[("starts", found[1])]]
    if found := re.fullmatch(r"\*\*/([^*?]+/)\*\*", glob):  # **/migrations/**
        return [[("starts", found[1])], [("contains", f"/{found[1]}")]]
    if found := re.fullmatch(r"\*\*/([^*?]+)", glob):  # **/Dockerfile
        return [[("==", found[1])], [("ends", f"/{found[1]}")]]
    if found := re.fullmatch(r"([^*?]+/)?\*\*/\*([^*?/]+)", glob):  # **/*.sql, src/**/*.py
        return [[("starts", found[1]), ("ends", found[2])] if found[1] else [("ends", found[2])]]
    if found := re.fullmatch(r"\*([^*?/]+)", glob):  # *.py
        return [[("ends", found[1]), ("lacks", "/")]]
    return []


def _comparisons(glob: str, *, in_path: bool) -> list[Condition]:
    """The literal pieces, and a regular expression unless they say it all."""
    first, *middle, last = re.split(r"[*?]+", glob)
    pieces = [("starts", first), *(("contains", piece) for piece in middle if not in_path), ("ends", last)]
    conditions: list[Condition] = [(op, piece) for op, piece in pieces if piece] or [("starts", "")]
    overlap = any(first.endswith(last[:size]) for size in range(1, len(last) + 1))
    exact = "?" not in glob and not in_path and (len(conditions) <= 1 or not (middle or overlap))
    return conditions if exact else [*conditions, ("search", _regex(glob, in_path=in_path))]


def _regex(glob: str, *, in_path: bool) -> str:
    """A regular expression to search for, in what RE2, Rust and Python have in common."""
    star, one = ("[^/]*", "[^/]") if in_path else (".*", ".")
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": star, "?": one}
    parts = [part for part in re.split(r"((?<![^/])\*\*/|\*\*|\*|\?)" if in_path else r"(\*|\?)", glob) if part]
    texts = [wild.get(part) or re.escape(part) for part in parts]
    texts[0] = {".*": "", "(?:.*/)?": "(?:^|/)"}.get(texts[0], f"^{texts[0]}")
    texts[-1] = "" if texts[-1] == ".*" else f"{texts[-1]}$"
    return f"(?s){''.join(texts)}"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
