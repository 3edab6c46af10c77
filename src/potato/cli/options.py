"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DATABASE_URL: Final = "sqlite:///.potato/potato.db"

config_option = click.option("--config", metavar="FILE", help="The config. Default: orchestrator.yml or .codex/orchestrator/config.yml.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
database_option = click.option(
    "--database", metavar="URL", envvar="POTATO_DATABASE", default=DATABASE_URL, show_default=True, help="Where runs and the log are kept."
)


def event_options(command: F) -> F:
    """`--event`, `--payload` and `--facts`."""
    for option in (
        click.option(
            "--facts",
            metavar="FILE",
            help='Facts by hand: {"paths": [...], "jobs": [...], "files": [...], "logs": "...", "codeowners": "..."}.',
        ),
        click.option("--payload", metavar="FILE", help="The event's payload; '-' reads stdin. Default: $GITHUB_EVENT_PATH."),
        click.option("--event", metavar="NAME", help="The event's name. Default: $GITHUB_EVENT_NAME."),
    ):
        command = option(command)
    return command
