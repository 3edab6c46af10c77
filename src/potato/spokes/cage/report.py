"""What agents say for themselves: the report of a program, its log, and the text around them. All of it is foreign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from potato.core.budget import MICROS
from potato.core.foreign import as_list, as_object
from potato.core.strict_json import parse_object
from potato.core.text import printable
from potato.errors import PotatoError
from potato.ports import MAX_PROPOSALS, Report, Usage

_MOST: Final = 10**9


def report_from(stdout: bytes) -> Report:
    """The one JSON object `{"proposals": [...], "summary": "...", "usage": {...}}`. Raises `PotatoError` for anything else."""
    try:
        data = parse_object(stdout, "stdout")
    except PotatoError as error:
        began = printable(stdout[:200].decode("utf-8", "replace").strip(), 60)
        hint = f"It began with '{began}'; what is for people belongs on stderr." if began else "It was empty."
        raise PotatoError(error.code, error.message, hint) from None
    unknown = sorted(data.keys() - {"proposals", "summary", "usage"})
    proposals, summary = data.get("proposals", []), data.get("summary", "")
    if unknown:
        raise PotatoError("bad-report", f"it has the unknown key '{printable(unknown[0], 60)}'.")
    if not isinstance(proposals, list) or not isinstance(summary, str):
        raise PotatoError("bad-report", "'proposals' must be a list and 'summary' text.")
    found = as_list(proposals)
    if len(found) > MAX_PROPOSALS:
        raise PotatoError("bad-report", f"{len(found)} proposals; at most {MAX_PROPOSALS} are read.")
    return Report(found, summary[:4000], usage=_usage(data.get("usage")))


def _usage(told: Any) -> Usage | None:  # noqa: ANN401 - an agent's word
    """What it says that it used: `{"tokens": 1200, "cost": 0.05}`. Raises `PotatoError` for anything else."""
    if told is None:
        return None
    parts = as_object(told)
    tokens, cost = parts.get("tokens", 0), parts.get("cost", 0)
    sound = type(told) is dict and not parts.keys() - {"tokens", "cost"} and type(tokens) is int and type(cost) in (int, float)
    if not sound or not (0 <= tokens <= _MOST and 0 <= cost <= _MOST):
        raise PotatoError("bad-report", "'usage' must hold 'tokens' and 'cost', each a number that is not negative.")
    return Usage(tokens, round(cost * MICROS))


def printable_log(raw: bytes, secrets: Mapping[str, str]) -> str:
    """The agent's log, line by line printable and with its secrets masked."""
    text = raw.decode("utf-8", "replace")
    for value in secrets.values():
        if value:
            text = text.replace(value, "***")
    return "\n".join(printable(line) for line in text.splitlines())
