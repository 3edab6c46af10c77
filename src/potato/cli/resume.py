"""`potato resume`."""

from __future__ import annotations

import click

from potato.cli.control import agent_option, repository_name, repository_option, who
from potato.cli.options import database_option, json_option
from potato.cli.output import print_json
from potato.core.text import inert
from potato.errors import OK, UsageError


@click.command(name="resume")
@repository_option
@agent_option
@click.option("--id", "pause_id", metavar="ID", help="This pause, whatever its reach.")
@database_option
@json_option
def command(repository: str | None, agent: str | None, pause_id: str | None, database: str, *, as_json: bool) -> int:
    """End the pauses of exactly this reach: everything, a repository, or an agent.

    Exit: 0 ended, 2 there is no such pause.
    """
    from potato.bootstrap import open_switch

    switch, engine = open_switch(database)
    ended = switch.resume(repository_name(repository), agent, who(), pause_id)
    left = switch.pauses()
    engine.dispose()
    if not ended:
        hint = "'potato status' lists them." if left else "Nothing is paused."
        raise UsageError("no-pause", "there is no such pause.", hint)
    if as_json:
        print_json([one.as_json() for one in ended])
        return OK
    for one in ended:
        click.echo(inert(f"resumed: {one.reach()}"))
    for one in left:
        click.echo(inert(f"still paused: {one.reach()} ({one.note})"))
    return OK
