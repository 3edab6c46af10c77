"""`potato lift`."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import click

from potato.cli.inputs import load
from potato.cli.options import config_option, database_option, json_option
from potato.cli.output import print_json
from potato.core.text import inert
from potato.errors import OK, PotatoError

_HINT: Final = "Set GITHUB_TOKEN. To try an agent here, give a payload that shows no fork."


@click.command(name="lift")
@click.argument("run_id", metavar="RUN")
@config_option
@database_option
@json_option
def command(run_id: str, config: str | None, database: str, *, as_json: bool) -> int:
    """Run an agent again on an untrusted event as if it were trusted, as the owner of GITHUB_TOKEN.

    On an event from a fork, or by somebody who may not write, an agent gets no secrets and may only read. After a look at the change a
    maintainer can lift that for one run. Who wrote the change or caused the run cannot.

    Exit: 0 it will run, 1 refused, 4 GitHub refused the token.
    """
    from potato.bootstrap import open_desk
    from potato.cli.control import who

    desk, _, forge, engine = open_desk(database, load(config), os.environ)

    async def ask() -> dict[str, object]:
        try:
            if forge.kind == "local":
                raise PotatoError("lift-refused", "there is nobody to lift it in the name of, and no hub to run it.", _HINT)
            return (await desk.lift(run_id, await forge.whoami(), f"command line of {who()}")).as_json()
        finally:
            await forge.close()

    try:
        run = asyncio.run(ask())
    finally:
        engine.dispose()
    if as_json:
        print_json(run)
    else:
        click.echo(inert(f"{run['id']} of {run['agent']} {run['state']}: {run['reason']}"))
    return OK
