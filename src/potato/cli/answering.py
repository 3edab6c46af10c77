"""What `approve` and `deny` share."""

from __future__ import annotations

import asyncio
import os

import click

from potato.cli.inputs import load
from potato.cli.output import print_json
from potato.core.approval import Answer
from potato.core.text import inert
from potato.errors import OK


def give(digest: str, answer: Answer, config: str | None, database: str, *, as_json: bool) -> int:
    """Give the answer as whoever the token belongs to. Raises `PotatoError` if it does not count."""
    from potato.bootstrap import open_desk
    from potato.cli.control import who

    desk, _, forge, engine = open_desk(database, load(config), os.environ)

    async def ask() -> tuple[dict[str, object], str]:
        try:
            login = who() if forge.kind == "local" else await forge.whoami()
            waiting, told = await desk.answer(digest, login, answer, f"command line of {who()}")
        finally:
            await forge.close()
        return waiting.as_json(), told

    try:
        waiting, told = asyncio.run(ask())
    finally:
        engine.dispose()
    if as_json:
        print_json(waiting | {"answer": answer, "told": told})
    else:
        click.echo(inert(f"{waiting['kind']} {waiting['short']} of {waiting['agent']}: {told}"))
    return OK
