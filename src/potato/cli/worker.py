"""`potato worker`: more hands for the hubs of a database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import click

from potato.cli.options import database_option
from potato.cli.serve import run, stop_on_signals


@click.command(name="worker")
@database_option
@click.option("--agents", metavar="A,B", help="Only these agents. Default: any.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=8, show_default=True, help="Runs at once.")
@click.option(
    "--drain", "drain_s", type=click.IntRange(0, 86_400), default=30, show_default=True, help="Seconds that runs get to end at SIGTERM."
)
def command(database: str, agents: str | None, concurrency: int, drain_s: int) -> int:
    """Perform runs that the hubs of a Postgres database release; until SIGTERM.

    It needs no config: what decided a run is in the database, agent files included. Agents' secrets and GITHUB_TOKEN come from its own
    environment.

    Exit: 0 stopped, 1 trouble, 2 wrong usage.
    """
    names = tuple(name.strip() for name in agents.split(",") if name.strip()) if agents else None
    return run(lambda lost: _work(database, names, concurrency, drain_s, lost))


async def _work(database: str, agents: tuple[str, ...] | None, slots: int, drain_s: int, lost: Callable[[], None]) -> None:
    from potato.bootstrap import open_service

    stop = asyncio.Event()

    def when_lost() -> None:
        lost()
        stop.set()

    service = open_service(database, os.environ, when_lost, config=None, slots=slots, agents=agents, drain_s=drain_s)
    stop_on_signals(stop)
    await service.run(stop, lambda: click.echo(f"working as {service.parts.process.id}", err=True))
