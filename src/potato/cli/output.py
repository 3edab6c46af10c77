"""What every command prints goes through here or `render`: nothing that strangers wrote can act on a terminal or on CI."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Final

import click

from potato.core.text import inert
from potato.errors import ConfigError, PotatoError

_HIDDEN: Final = (*range(0x7F, 0xA0), 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in _HIDDEN}


def json_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Indented JSON with control and bidi characters and `##[` as escapes, which JSON's readers do not notice."""
    return json.dumps(value, indent=2, ensure_ascii=False).translate(_ESCAPED).replace("##[", "#\\u0023[")


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """On stdout."""
    click.echo(json_text(value))


def print_error(error: PotatoError) -> None:
    """On stderr: each problem of a config on its own line, anything else on one."""
    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(inert(str(problem)), err=True)
    else:
        click.echo(inert(f"error: {error}"), err=True)


def journal() -> None:
    """What long-running commands tell goes to stderr, one line each, nothing in it able to act on a terminal."""

    class Inert(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return "\n".join(inert(line) for line in super().format(record).splitlines())

    handler = logging.StreamHandler()
    handler.setFormatter(Inert("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("potato")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.DEBUG if os.environ.get("POTATO_DEBUG") else logging.INFO)
