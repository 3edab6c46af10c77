"""Read what the command line names: the event, the facts, the config."""

from __future__ import annotations

import os
import sys
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from potato.core.text import did_you_mean, inert
from potato.errors import UsageError

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.core.event import Event
    from potato.ports import Delivery

_FACTS_BYTES: Final = 25 * 1024 * 1024


def load(path: str | None) -> Config:
    """The config, with its warnings told on stderr. Raises `ConfigError` and `UsageError`."""
    from potato.config.loader import CANDIDATES, find_config, load_config

    found = find_config(path)
    if path is None and all(map(os.path.isfile, CANDIDATES)):
        click.echo(f"warning: {' and '.join(CANDIDATES)} both exist; {found} is used", err=True)
    loaded = load_config(found)
    config = loaded.require()
    for problem in loaded.problems:
        click.echo(inert(f"warning: {problem}"), err=True)
    return config


def read_delivery(event: str | None, payload: str | None) -> tuple[Delivery, Event]:
    """The event that the options or GitHub Actions name. Raises `UsageError`."""
    from potato.core.vocabulary import ACTIONS
    from potato.forges.github.normalise import MAX_BYTES, normalise
    from potato.ports import Delivery

    environ = os.environ
    in_actions = payload is None and bool(environ.get("GITHUB_EVENT_PATH"))
    name, path = event or environ.get("GITHUB_EVENT_NAME"), payload or environ.get("GITHUB_EVENT_PATH")
    if not name or not path:
        missing = "no event" if not name else "no payload"
        raise UsageError(
            "no-event", f"{missing} given.", "Pass --event NAME --payload FILE; in GitHub Actions both come from the environment."
        )
    body = read_file(path, MAX_BYTES, "the payload")
    what = "the payload" if path == "-" else f"the payload '{path}'"
    normal = normalise(name, body, what=what, ref=environ.get("GITHUB_REF") if in_actions else None,
                       sha=environ.get("GITHUB_SHA") if in_actions else None)  # fmt: skip
    if name not in ACTIONS:
        click.echo(inert(f"note: '{name}' is no event that GitHub documents. {did_you_mean(name, ACTIONS)}"), err=True)
    unique = uuid.uuid4().hex[:12]
    run = f"actions-{environ.get('GITHUB_RUN_ID', '0')}-{environ.get('GITHUB_RUN_ATTEMPT', '1')}-{unique}"
    return Delivery(run if in_actions else f"file-{unique}", name, body, "actions" if in_actions else "file"), normal


def read_facts_file(path: str | None) -> dict[str, Any] | None:
    """The facts of `--facts FILE`. Raises `UsageError`."""
    if path is None:
        return None
    from potato.bootstrap import read_facts

    return read_facts(read_file(path, _FACTS_BYTES, "the facts"), f"the facts '{path}'")


def read_file(path: str, limit: int, what: str) -> bytes:
    """At most `limit` bytes of a file or stdin (`-`). Raises `UsageError`."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise UsageError("file-unreadable", f"{what} at '{path}' cannot be read: {error.strerror}.") from None
    if len(data) > limit:
        raise UsageError("payload-too-large", f"{what} at '{path}' is larger than {limit:,} bytes.")
    return data
