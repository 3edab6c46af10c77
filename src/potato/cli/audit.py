"""`potato audit`."""

from __future__ import annotations

import re

import click

from potato.cli.options import database_option, json_option
from potato.cli.output import print_json
from potato.errors import FAILED, OK, UsageError


@click.group(name="audit")
def command() -> None:
    """Work with the audit log."""


@command.command(name="verify")
@database_option
@click.option("--checkpoint", metavar="SIZE:ROOT", help="A size and root noted earlier; the log must contain it.")
@json_option
def verify_command(database: str, checkpoint: str | None, *, as_json: bool) -> int:
    """Recompute the whole log: any changed, removed, added or reordered entry is found.

    A log cut short together with its head, or replaced by an older copy, is found only by --checkpoint. The log
    itself is checked, not the tables of runs and proposals beside it.

    Exit: 0 when intact, 1 when not.
    """
    from potato.bootstrap import verify_log

    verdict = verify_log(database, parse_checkpoint(checkpoint))
    if as_json:
        print_json(verdict.as_json())
    elif verdict.ok:
        click.echo(f"intact: {verdict.size} entries\ncheckpoint: {verdict.size}:{verdict.root}")
    else:
        click.echo(f"ALTERED at entry {verdict.bad}: {verdict.reason}")
    return OK if verdict.ok else FAILED


def parse_checkpoint(text: str | None) -> tuple[int, str] | None:
    """(size, root in hex). Raises `UsageError`."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,15}):([0-9a-f]{64})", text)
    if match is None:
        raise UsageError("bad-checkpoint", "the checkpoint is not SIZE:ROOT.", "Copy the line that 'audit verify' printed.")
    return int(match[1]), match[2]
