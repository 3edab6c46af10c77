"""Many rules -> one Python function, for tables that are asked again and again.

The source is generated from the trees alone. Every text, number and pattern of a rule is bound as a constant of its own
(`c0`, `c1`, ...), so no word of a config, and never anything of an event, stands in it; `source_of` shows it.
It decides in two values, which is right where every field it reads is known; otherwise it answers `None`, and the closures decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from potato.core.expression.compile import normal_operand, predicate_of, shape_of_test
from potato.core.expression.nodes import And, Node, Not, Or, Test
from potato.core.expression.reading import Reading
from potato.core.expression.shape import Shape, shape_of
from potato.core.fields import FIELDS
from potato.core.value import UNKNOWN, Partial

Fused = Callable[[Reading], "list[int] | None"]

_COMPARE: Final = {"!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_HEAD: Final = """def match(reading):
    get, keys = reading.get, reading.keys
"""


def fuse(nodes: Sequence[Node]) -> Fused:
    """A function from a reading to the numbers of the nodes that are true; `None` where a field is unknown."""
    writer = _Writer()
    namespace: dict[str, Any] = dict(writer.constants, UNKNOWN=UNKNOWN, Partial=Partial)
    source = writer.write(nodes)
    namespace |= writer.constants
    exec(compile(source, "<fused rules>", "exec"), namespace)  # noqa: S102 - the source holds generated names only
    return cast("Fused", namespace["match"])


def source_of(nodes: Sequence[Node]) -> str:
    """The source that `fuse` compiles, and its constants as comments."""
    writer = _Writer()
    source = writer.write(nodes)
    told = [f"# {name} = {getattr(value, '__name__', None) or ascii(value)}" for name, value in writer.constants.items()]
    return source + "\n".join(["", *told, ""])


class _Writer:
    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self._known: dict[Any, str] = {}
        self._fields: dict[str, str] = {}
        self._keys: dict[tuple[str, str], str] = {}

    def write(self, nodes: Sequence[Node]) -> str:
        """The whole function."""
        lines = [f"    if {self._node(node)}: out.append({number})\n" for number, node in enumerate(nodes)]
        head = _HEAD
        for field, name in self._fields.items():
            head += f"    {name} = get({self._constant(field)})\n"
            many = FIELDS[field].kind == "strings"
            head += f"    if {name} is UNKNOWN{f' or type({name}) is Partial' if many else ''}: return None\n"
            head += f"    if {name} is None: {name} = ()\n" if many else ""
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
                return f"({' and '.join(map(self._node, node.items))})"
            case Or():
                return f"({' or '.join(map(self._node, node.items))})"

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
        if shape:
            keys = self._keys.setdefault((test.field, shape.name), f"k{len(self._keys)}")
            made = f"({keys} or ({keys} := keys({self._constant(test.field)}, {self._constant(shape.name)})))"
            return f"({negation}{self._constant(shape.key)} in {made})"
        if test.op == "in" and test.quantifier != "all":
            operand = frozenset(cast("tuple[str, ...]", normal_operand(test.field, test.operand)))
            return f"({'' if negation else 'not '}{self._constant(operand)}.isdisjoint({value}))"
        predicate = self._constant(predicate_of(test))
        if test.quantifier == "all":
            return f"({value} != () and all(map({predicate}, {value})))"
        return f"({negation}any(map({predicate}, {value})))"


def _positive(test: Test) -> Callable[[Any], bool]:
    return predicate_of(replace(test, op="~"))
