"""The rule language: text -> checked syntax tree -> closures, with exact explanations.

The grammar stands in `parser.py`; the fields in `potato.core.fields`.
"""

from potato.core.expression.check import Finding, check, clauses_of, fields_of, possible_events
from potato.core.expression.compile import Evaluate, compile_expression
from potato.core.expression.lexer import ExpressionError
from potato.core.expression.nodes import Node
from potato.core.expression.parser import parse
from potato.core.expression.reading import Fields, Reading
from potato.core.expression.trace import Trace, trace

__all__ = [
    "Evaluate",
    "ExpressionError",
    "Fields",
    "Finding",
    "Node",
    "Reading",
    "Trace",
    "check",
    "clauses_of",
    "compile_expression",
    "fields_of",
    "parse",
    "possible_events",
    "trace",
]
