"""`potato pause`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import click

from potato.cli.control import agent_option, line_of, repository_name, repository_option, seconds, who
from potato.cli.options import database_option, json_option
from potato.cli.output import print_json
from potato.core.hold import Mode
from potato.core.text import inert
from potato.errors import OK
from potato.ports.control import Pause


@click.command(name="pause")
@repository_option
@agent_option
@click.option("--drain", "mode", flag_value="drain", help="What runs may end, effects included.")
@click.option("--cancel", "mode", flag_value="cancel", help="Stop what runs.")
@click.option("--note", required=True, help="Why; shown wherever something waits for it.")
@click.option("--for", "duration", metavar="TIME", help="Until then, such as 2h. Default: until 'potato resume'.")
@database_option
@json_option
def command(repository: str | None, agent: str | None, mode: Mode | None, note: str, duration: str | None, database: str, *,
          as_json: bool) -> int:  # fmt: skip
    """Hold everything, or a repository, or an agent: nothing starts from now on.

    What runs already goes on, and its effects wait at the gate; with --drain they are applied, with --cancel it is stopped. It is
    'pausing' while something still runs, then 'paused'. 'potato resume' with the same --repo and --agent ends it, and what waited starts
    in order.

    Exit: 0 it holds, 2 wrong usage.
    """
    from potato.bootstrap import open_switch

    now = datetime.now(UTC)
    new = Pause(
        f"pause_{uuid.uuid4().hex[:12]}", repository_name(repository), agent, mode or "hold", line_of(note), who(), now.isoformat(),
        now.timestamp() + seconds(duration) if duration else None,
    )  # fmt: skip
    switch, engine = open_switch(database)
    stopped = switch.pause(new)
    shown = next((one for one in switch.pauses() if one.id == new.id), new)
    engine.dispose()
    if as_json:
        print_json(shown.as_json() | {"stopped": [run.id for run in stopped]})
    else:
        more = f", {len(stopped)} run(s) are being stopped" if stopped else f", {shown.running} run(s) still go on" if shown.running else ""
        click.echo(inert(f"{shown.state}: {shown.reach()}{more}"))
    return OK
