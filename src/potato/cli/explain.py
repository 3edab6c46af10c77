"""`potato explain`."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from potato.cli.inputs import load, read_delivery, read_facts_file
from potato.cli.options import config_option, event_options, json_option
from potato.cli.output import print_json
from potato.core.text import inert
from potato.errors import AuthError

if TYPE_CHECKING:
    from potato.config.loader import Config
    from potato.core.event import Event, Facts
    from potato.core.routing import Decision


@click.command(name="explain")
@config_option
@event_options
@json_option
def command(config: str | None, event: str | None, payload: str | None, facts: str | None, *, as_json: bool) -> None:
    """Say what would run for an event, and why (not): every rule, every clause.

    Touches nothing. With GITHUB_TOKEN set, facts that the rules need are read from GitHub.
    """
    loaded = load(config)
    _, normal = read_delivery(event, payload)
    given = read_facts_file(facts)
    normal, fetched, decision = asyncio.run(_decide(loaded, normal, given))
    if as_json:
        print_json(decision_json(loaded, normal, decision, fetched))
        return
    from potato.cli.render import show_decision, show_event

    show_event(normal)
    show_decision(decision, fetched)


async def _decide(config: Config, event: Event, given: dict[str, Any] | None) -> tuple[Event, Facts, Decision]:
    from dataclasses import replace

    from potato.bootstrap import make_forge, make_local_forge
    from potato.core.event import with_facts
    from potato.hub.workflow import settle

    try:
        forge = make_forge(config, os.environ, given, dry_run=True)
    except AuthError as error:
        click.echo(inert(f"note: {error.message} Facts that only GitHub knows stay unknown."), err=True)
        forge = make_local_forge(given or {})
    try:
        facts, decision = await settle(config, forge, event)
    finally:
        await forge.close()
    return replace(event, fields=with_facts(event, facts)), facts, decision


def decision_json(config: Config, event: Event, decision: Decision, facts: Facts) -> dict[str, Any]:
    """What `explain --json` prints, and `run --json` extends."""
    return {
        "event": event.summary(),
        "config_digest": config.digest,
        "rules": [outcome.as_json() for outcome in decision.outcomes()],
        "assignments": [assignment.as_json() for assignment in decision.assignments],
        "held": [assignment.as_json() for assignment in decision.held],
        "problems": list(facts.problems),
    }
