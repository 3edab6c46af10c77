"""A patch is what differs in an agent's workspace from its commit, as the hub finds it: no agent's word, and no more than a proposal."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from typing import Any, Final

from potato.core.foreign import as_object
from potato.core.permission import WRITING
from potato.core.proposal import MOST_CHARACTERS
from potato.core.text import printable
from potato.core.tools import PATCHES
from potato.ports.session import Change

MOST_BYTES: Final = 4 << 20
"""Of a whole patch: all of it is looked through for secrets."""


def with_patch(proposals: Sequence[Any], changes: Sequence[Change], commit: str, summary: str, agent: str,
               permissions: frozenset[str]) -> list[Any]:  # fmt: skip
    """The proposals, those of patches with the changed files; where nobody proposed it and the agent may, a pull request of them.

    What cannot be part of a proposal (a link, a device, a binary or endless file) makes it malformed: the gate denies it and says why.
    """
    size = sum(len(change.content) for change in changes if change.content)
    large = f"with all others it has {size:,} bytes, a patch at most {MOST_BYTES:,}"
    files = [as_file(change) if size <= MOST_BYTES else _none(change, large) for change in changes]
    given = [
        {**as_object(raw), "files": files, "parent": commit}
        if as_object(raw).get("kind") in PATCHES and "files" not in as_object(raw)
        else raw
        for raw in proposals
    ]
    asked = any(as_object(raw).get("kind") in PATCHES for raw in proposals)
    if files and not asked and "open_pr" in permissions:
        first = next((line.strip("# ") for line in summary.splitlines() if line.strip("# ")), "")
        title = printable(first, 120) or f"Changes by {agent}"
        given.append({"kind": "open_pr", "title": title, "body": summary, "files": files, "parent": commit})
    return given


def as_file(change: Change) -> Mapping[str, Any]:
    """As a proposal has it."""
    if change.content is None:
        return {"path": change.path, "content": None}
    if not stat.S_ISREG(change.mode):
        return _none(change, f"it is {'a symbolic link' if stat.S_ISLNK(change.mode) else 'no plain file'}, which no proposal can hold")
    if len(change.content) > MOST_CHARACTERS:
        return _none(change, f"it has {len(change.content):,} bytes, a proposed file at most {MOST_CHARACTERS:,}")
    try:
        change.path.encode()
        return {"path": change.path, "content": change.content.decode("utf-8"), "executable": bool(change.mode & 0o100)}
    except UnicodeError:
        return _none(change, "it is no text, or its name is none, and a proposal holds only that")


def _none(change: Change, problem: str) -> Mapping[str, Any]:
    """A file that no proposal can hold."""
    return {"path": printable(change.path, 200), "content": None, "problem": problem}


def unproposed(changes: Sequence[Change], permissions: frozenset[str]) -> str | None:
    """A warning where changes go nowhere."""
    if not changes or permissions & PATCHES & WRITING:
        return None
    return f"it changed {len(changes)} file(s) of its workspace, which are dropped: it may open no pull request"
