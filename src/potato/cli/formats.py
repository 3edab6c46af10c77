"""Problems as text, JSON, GitHub annotations or SARIF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from potato import __version__
from potato.cli.output import json_text
from potato.core.text import inert, printable
from potato.errors import Problem

WORST: Final = 10
_SEVERITIES: Final = ("error", "warning", "note")


def as_text(problems: Sequence[Problem]) -> str:
    """One line each: file:line:column code: message hint."""
    return "\n".join(inert(f"{p}" if p.severity == "error" else f"{p} ({p.severity})") for p in problems)


def as_json(problems: Sequence[Problem]) -> str:
    """A list of objects."""
    shapes = [
        {"file": p.file, "line": p.line, "column": p.column, "severity": p.severity, "code": p.code, "message": p.message, "hint": p.hint}
        for p in problems
    ]
    return json_text(shapes)


def as_findings(problems: Sequence[Problem]) -> str:
    """A list of objects, as `potato lint --format json` prints it."""
    shapes = [
        {"id": p.code, "severity": p.severity, "file": p.file, "line": p.line, "column": p.column, "message": p.message, "fix": p.hint}
        for p in problems
    ]
    return json_text(shapes)


def annotation(level: str, message: str, *, file: str = "", line: int = 0, column: int = 0, title: str = "") -> str:
    """One workflow command, escaped.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    properties = {"file": file, "line": str(line or ""), "col": str(column or ""), "title": title}
    told = ",".join(f"{key}={_escape(value, property_=True)}" for key, value in properties.items() if value)
    return f"::{level}{' ' + told if told else ''}::{_escape(message)}"


def _escape(text: str, *, property_: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if property_ else text


def as_github(problems: Sequence[Problem]) -> str:
    """The ten worst as annotations (GitHub shows no more a step), and how many there are beside."""
    worst = sorted(problems, key=lambda p: _SEVERITIES.index(p.severity))
    lines = [
        annotation(
            "notice" if p.severity == "note" else p.severity,
            printable(f"{p.code}: {p.message} {p.hint}".strip()),
            file=p.file,
            line=p.line,
            column=p.column,
        )
        for p in worst[:WORST]
    ]
    if len(worst) > WORST:
        lines.append(annotation("notice", f"+{len(worst) - WORST} more"))
    return "\n".join(lines)


def as_sarif(problems: Sequence[Problem], docs: Mapping[str, str] | None = None) -> str:
    """SARIF 2.1.0; `docs` says what each code means. Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html."""
    results: list[dict[str, Any]] = [
        {
            "ruleId": p.code,
            "level": p.severity,
            "message": {"text": f"{p.message} {p.hint}".strip()},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": p.file}, "region": {"startLine": p.line, "startColumn": p.column},
            }}],
        }
        for p in problems
    ]  # fmt: skip
    told = docs or {}
    rules: list[dict[str, Any]] = [
        {"id": code} | ({"shortDescription": {"text": told[code]}} if code in told else {}) for code in sorted({p.code for p in problems})
    ]
    driver = {"name": "potato", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    return json_text({"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": [run]})


FORMATS: Final[dict[str, Callable[[Sequence[Problem]], str]]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}
