"""`potato override`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from potato.cli.control import line_of, seconds, who
from potato.cli.options import database_option
from potato.core.text import inert
from potato.errors import OK
from potato.ports.control import Override


@click.command(name="override")
@click.argument("guard", metavar="GUARD")
@click.option("--for", "duration", metavar="TIME", default="1h", show_default=True, help="For how long.")
@click.option("--note", required=True, help="Why; kept in the log.")
@database_option
def command(guard: str, duration: str, note: str, database: str) -> int:
    """Set a guard of the config aside for a time: what it holds starts.

    Exit: 0 it is set aside, 2 wrong usage.
    """
    from potato.bootstrap import open_switch

    switch, engine = open_switch(database)
    until = time.time() + seconds(duration)
    switch.override(Override(guard[:300], who(), line_of(note), datetime.now(UTC).isoformat(), until))
    engine.dispose()
    click.echo(inert(f"guard {guard} is set aside until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"))
    return OK
