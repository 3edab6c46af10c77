"""`potato cancel`."""

from __future__ import annotations

import click

from potato.cli.control import who
from potato.cli.options import database_option, json_option
from potato.cli.output import print_json
from potato.core.run import TERMINAL
from potato.core.text import inert
from potato.errors import FAILED, OK, UsageError


@click.command(name="cancel")
@click.argument("run_id", metavar="RUN")
@database_option
@json_option
def command(run_id: str, database: str, *, as_json: bool) -> int:
    """Stop a run: at once if it waits; within a second, its agent's processes included, if it runs.

    Exit: 0 it is or will be stopped, 1 it had ended before, 2 there is no such run.
    """
    from potato.bootstrap import open_queue

    queue, engine = open_queue(database)
    run = queue.stop(run_id, "cancelled", f"cancelled by {who()}")
    engine.dispose()
    if run is None:
        raise UsageError("no-run", f"there is no run '{run_id[:80]}'.", "'potato runs' lists them.")
    ended = run.state in TERMINAL and run.state != "cancelled"
    if as_json:
        print_json(run.as_json())
    else:
        word = f"had ended: {run.state}" if ended else "is stopped" if run.stop is None else "is being stopped"
        click.echo(inert(f"{run.id} of {run.agent} {word}"))
    return FAILED if ended else OK
