"""Many rules -> one Python function, for tables that are asked again and again.

The source is generated from the trees alone. Every text, number and pattern of a rule is bound as a constant of its own
(`c0`, `c1`, ...), so no word of a config, and never anything of an event, stands in it; `source_of` shows it.
It decides in two values, which is right where every field it reads is known; otherwise it answers `None`, and the closures decide.

Few clauses on paths are answered by searching the joined paths, many by keys, whose making pays only then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from potato.core.expression.check import clauses_of
from potato.core.expression.compile import any_by_regex, cheap_first, name_of, normal_operand, predicate_of, shape_of_test
from potato.core.expression.nodes import And, Node, Not, Or, Regex, Test
from potato.core.expression.pattern import literal_ends
from potato.core.expression.reading import Reading
from potato.core.expression.shape import Shape, shape_of
from potato.core.fields import FIELDS
from potato.core.value import UNKNOWN, Partial

Fused = Callable[[Reading], "list[int] | None"]

_COMPARE: Final = {"!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_HEAD: Final = """def match(reading):
    get, keys = reading.get, reading.keys
"""
_MARK: Final = "\0"
_KEYS_PAY: Final = 100
"""Clauses on paths from which on making keys is cheaper than searching for each."""


def fuse(nodes: Sequence[Node]) -> Fused:
    """A function from a reading to the numbers of the nodes that are true; `None` where a field is unknown."""
    writer = _Writer(nodes)
    source = writer.write()
    namespace: dict[str, Any] = {**writer.constants, "UNKNOWN": UNKNOWN, "Partial": Partial}
    exec(compile(source, "<fused rules>", "exec"), namespace)  # noqa: S102 - the source holds generated names only
    return cast("Fused", namespace["match"])


def source_of(nodes: Sequence[Node]) -> str:
    """The source that `fuse` compiles, and its constants as comments."""
    writer = _Writer(nodes)
    source = writer.write()
    told = [f"# {name} = {getattr(value, '__name__', None) or ascii(value)}" for name, value in writer.constants.items()]
    return source + "\n".join(["", *told, ""])


class _Writer:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.constants: dict[str, Any] = {}
        self._nodes = nodes
        on_paths = {name_of(test) for node in nodes for test in clauses_of(node) if test.field == "path"}
        self._searching = len(on_paths) < _KEYS_PAY
        self._joined: dict[str, str] = {}
        self._known: dict[Any, str] = {}
        self._fields: dict[str, str] = {}
        self._keys: dict[tuple[str, str], str] = {}

    def write(self) -> str:
        """The whole function."""
        lines = [f"    if {self._node(node)}: out.append({number})\n" for number, node in enumerate(self._nodes)]
        head = _HEAD
        for field, name in self._fields.items():
            head += f"    {name} = get({self._constant(field)})\n"
            many = FIELDS[field].kind == "strings"
            head += f"    if {name} is UNKNOWN{f' or type({name}) is Partial' if many else ''}: return None\n"
            head += f"    if {name} is None: {name} = ()\n" if many else ""
        for field, name in self._joined.items():
            head += f"    {name} = reading.joined({self._constant(field)}, {self._constant(_MARK)})\n    if {name} is None: return None\n"
        for name in self._keys.values():
            head += f"    {name} = None\n"
        return head + "    out = []\n" + "".join(lines) + "    return out\n"

    def _constant(self, value: Any) -> str:  # noqa: ANN401 - any literal or predicate
        key = (cast("object", type(value)), value)
        if key not in self._known:
            self._known[key] = f"c{len(self._known)}"
            self.constants[self._known[key]] = value
        return self._known[key]

    def _field(self, field: str) -> str:
        return self._fields.setdefault(field, f"v{len(self._fields)}")

    def _node(self, node: Node) -> str:
        match node:
            case Test():
                return self._list(node) if FIELDS[node.field].kind == "strings" else self._one(node)
            case Not():
                return f"(not {self._node(node.item)})"
            case And():
                return f"({' and '.join(map(self._node, cheap_first(node)))})"
            case Or():
                return f"({' or '.join(map(self._node, cheap_first(node)))})"

    def _one(self, test: Test) -> str:
        """A clause on a field with one value, `None` where it is absent; then every clause is false."""
        value, operand = self._field(test.field), test.operand
        if test.op in ("is", "=="):
            return f"{value} == {self._constant(operand)}"
        if test.op == "in":
            return f"{value} in {self._constant(frozenset(cast('tuple[Any, ...]', operand)))}"
        if test.op in _COMPARE:
            return f"({value} is not None and {value} {_COMPARE[test.op]} {self._constant(operand)})"
        shape = shape_of(operand, in_path=False) if isinstance(operand, str) else None
        said = self._text_test(value, shape) if shape else f"{self._constant(_positive(test))}({value})"
        return f"({value} is not None and {'' if test.op == '~' else 'not '}{said})"

    def _text_test(self, value: str, shape: Shape) -> str:
        key = self._constant(shape.key)
        if shape.name == "exact":
            return f"{value} == {key}"
        return f"{value}.{'startswith' if shape.name == 'prefix' else 'endswith'}({key})"

    def _list(self, test: Test) -> str:
        """A clause on a field with many values, an empty tuple where it is absent."""
        value = self._field(test.field)
        shape = shape_of_test(test)
        negation = "not " if test.quantifier == "none" else ""
        if shape and shape.name == "exact":
            return f"({self._constant(shape.key)} {negation}in {value})"
        if shape and not self._searching:
            keys = self._keys.setdefault((test.field, shape.name), f"k{len(self._keys)}")
            made = f"({keys} or ({keys} := keys({self._constant(test.field)}, {self._constant(shape.name)})))"
            return f"({self._constant(shape.key)} {negation}in {made})"
        if test.op == "in" and test.quantifier != "all":
            operand = frozenset(cast("tuple[str, ...]", normal_operand(test.field, test.operand)))
            return f"({'' if negation else 'not '}{self._constant(operand)}.isdisjoint({value}))"
        if test.quantifier == "all":
            return f"({value} != () and all(map({self._constant(predicate_of(test))}, {value})))"
        if test.op == "~" and isinstance(test.operand, Regex):
            return f"({negation}{self._constant(any_by_regex(test, predicate_of(test)))}(reading))"
        if test.op == "~" and test.field == "path" and _MARK not in str(test.operand):
            return f"({negation}{self._search(value, test)})"
        return f"({negation}any(map({self._constant(predicate_of(test))}, {value})))"

    def _search(self, value: str, test: Test) -> str:
        """Whether a glob matches one of the paths: its literal parts are looked for in all of them at once; often that says it all."""
        glob = str(test.operand)
        joined = self._joined.setdefault(test.field, f"j{len(self._joined)}")
        front, tail = literal_ends(glob)
        shape = shape_of(glob, in_path=True)
        if shape and shape.name == "below-name" and not front:
            return f"({self._constant(f'{_MARK}{tail}{_MARK}')} in {joined} or {self._constant(f'/{tail}{_MARK}')} in {joined})"
        if shape and shape.name == "within":
            return f"({self._constant(f'/{shape.key}/')} in {joined} or {self._constant(f'{_MARK}{shape.key}/')} in {joined})"
        needed = [
            f"{self._constant(part)} in {joined}" for part in (f"{_MARK}{front}" if front else "", f"{tail}{_MARK}" if tail else "") if part
        ]
        whole = shape is not None and ((shape.name == "below" and front) or (shape.name == "below-ext" and not front))
        if not whole:
            needed.append(f"any(map({self._constant(predicate_of(test._replace(quantifier=None)))}, {value}))")
        return f"({' and '.join(needed)})"


def _positive(test: Test) -> Callable[[Any], bool]:
    return predicate_of(test._replace(op="~"))
