"""`potato runs`."""

from __future__ import annotations

import click

from potato.cli.options import database_option, json_option
from potato.cli.output import print_json


@click.command(name="runs")
@database_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest N. Default: all.")
@json_option
def command(database: str, limit: int | None, *, as_json: bool) -> None:
    """List runs, newest first."""
    from potato.bootstrap import open_store
    from potato.cli.render import table

    store, engine = open_store(database, create=False)
    runs = store.runs(limit)
    engine.dispose()
    if as_json:
        print_json([run.as_json() for run in runs])
        return
    if not runs:
        click.echo("no runs yet", err=True)
        return
    rows = [
        (run.created_at.strftime("%m-%d %H:%M:%S"), run.agent, run.state,
         f"{run.repository or '?'}{f'#{run.number}' if run.number else ''}: {run.reason}"[:160])
        for run in runs
    ]  # fmt: skip
    table(rows, header=("when (UTC)", "agent", "state", "what"))
