"""The tools that a grant amounts to, as an agent sees them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from potato.core.gate import Grant
from potato.core.permission import WRITING
from potato.core.proposal import KINDS

REPORT: Final = "report"
PATCHES: Final = frozenset({"open_pr", "push_branch"})
"""Kinds whose files are what the workspace holds in the end."""

READING_TOOLS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "read_pull_request": ("read_pull_request", "The pull request: title, body, comments, reviews and the diff of each changed file.", {}),
    "read_ci_logs": ("read_ci_logs", "Jobs of the workflow run that the event is about, and the logs of those that failed.", {}),
    "read_issues": ("read_issues", "An issue with its comments; without a number the event's own, or else all that are open.",
                    {"number": {"type": "integer", "minimum": 1}}),
    "read_file": ("read_repository", "A text file at the event's commit.", {"path": {"type": "string", "maxLength": 1024}}),
    "list_files": ("read_repository", "Paths of all files at the event's commit.", {}),
}  # fmt: skip
"""Tool -> the permission that it needs, what it says of itself, its arguments."""


def proposing(kind: str, grant: Grant, *, workspace: bool) -> tuple[str, dict[str, Any]]:
    """(description, JSON Schema) of the tool that proposes this kind. With a workspace, patches are what is changed there."""
    action = KINDS[kind]
    whole = msgspec.json.schema(action)
    definitions = {name: _plain(part) for name, part in whole["$defs"].items()}
    shape = definitions.pop(action.__name__)
    left_out = {"kind", "repository", "parent", *(("files",) if workspace and kind in PATCHES else ())}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: part for name, part in shape["properties"].items() if name not in left_out},
        "required": [name for name in shape.get("required", []) if name not in left_out],
        "additionalProperties": False,
    }
    if definitions and "files" in schema["properties"]:
        schema["$defs"] = definitions
    told = (action.__doc__ or "").partition("`parent`")[0].strip()
    if workspace and kind in PATCHES:
        told += " The files are what you changed in your workspace by the time you are done."
        told += f" Only these paths may be changed: {', '.join(grant.paths)}." if grant.paths else ""
    return f"{told} At most {grant.cap(kind)} in this run.", schema


def _plain(part: Any) -> Any:  # noqa: ANN401 - JSON Schema
    """Without patterns: they are Python's, and what does not fit is told at the call."""
    if isinstance(part, Mapping):
        found = cast("Mapping[str, Any]", part)
        words = ("pattern", "title")  # of the schema itself, where they are texts; a property may have these names too
        return {key: _plain(value) for key, value in found.items() if not (key in words and isinstance(value, str))}
    return [_plain(item) for item in cast("list[Any]", part)] if isinstance(part, list) else part


def writing(grant: Grant) -> list[str]:
    """The kinds that a grant lets an agent propose, in order."""
    return sorted(grant.permissions & WRITING)
