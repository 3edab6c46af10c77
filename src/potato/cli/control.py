"""What the commands of control share: who types, how long, where, and why."""

from __future__ import annotations

import getpass
from typing import Final

import click

from potato.config.duration import parse_duration
from potato.errors import UsageError

_MOST_S: Final = 366 * 86_400

repository_option = click.option("--repo", "repository", metavar="OWNER/NAME", help="Only there.")
agent_option = click.option("--agent", metavar="NAME", help="Only this agent.")


def who() -> str:
    """The account's name, for logs and reasons."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody without a name"


def seconds(text: str) -> float:
    """A duration. Raises `UsageError`."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise UsageError("bad-duration", f"{error}.") from None
    if not 1 <= found <= _MOST_S:
        raise UsageError("bad-duration", f"'{text}' is not between 1s and 366d.")
    return found


def repository_name(name: str | None) -> str | None:
    """`owner/name`. Raises `UsageError`."""
    if name is not None and (name.count("/") != 1 or len(name) > 200 or not all(name.split("/"))):  # noqa: PLR2004 - GitHub's lengths
        raise UsageError("bad-repository", f"'{name[:60]}' is not OWNER/NAME.")
    return name


def line_of(text: str) -> str:
    """A note as one line. Raises `UsageError`."""
    if not text.strip() or len(text) > 500:  # noqa: PLR2004 - a line, no report
        raise UsageError("bad-note", "a note has 1 to 500 characters.")
    return " ".join(text.split())
