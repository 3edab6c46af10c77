"""The invisible line that says which comment, issue, review or pull request is ours, and whose.

Agents' text cannot contain one: the gate breaks `<!-- potato` (see `potato.core.neutralise`).
"""

from __future__ import annotations

import re
from typing import Any, Final

from potato.core.foreign import as_object

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def marker(kind: str, agent: str, key: str) -> str:
    """One HTML comment."""
    return f"<!-- potato:{kind} {_UNFIT.sub('-', agent)}/{_UNFIT.sub('-', key)} -->"


def marked(body: str, mark: str) -> str:
    """The body with its marker at the end."""
    return f"{body.rstrip()}\n\n{mark}"


def is_ours(item: Any, mark: str, login: str) -> bool:  # noqa: ANN401 - GitHub's JSON
    """Whether an item bears the marker and was written by us: others can copy markers."""
    author = str(as_object(as_object(item).get("user")).get("login"))
    return mark in str(as_object(item).get("body")) and author.casefold() == login.casefold()
