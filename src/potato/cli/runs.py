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
    from potato.cli.render import STATES, line

    store, engine = open_store(database, create=False)
    runs = store.runs(limit)
    engine.dispose()
    if as_json:
        print_json([run.as_json() for run in runs])
        return
    if not runs:
        click.echo("no runs yet", err=True)
        return
    for run in runs:
        subject = f"{run.repository or 'no repository'}{f'#{run.number}' if run.number else ''}"
        line(
            0,
            f"{run.agent}  {run.state}  {subject}",
            STATES.get(run.state, ("·", "blue")),
            f"{run.id}  {run.created_at:%Y-%m-%d %H:%M:%S}",
            bold=True,
        )
        if run.state != "succeeded":
            line(4, run.reason[:200])
