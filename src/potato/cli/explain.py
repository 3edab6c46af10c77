"""`potato explain`."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from potato.cli.inputs import load, read_delivery, read_facts_file
from potato.cli.options import config_option, event_options, json_option
from potato.cli.output import print_json
from potato.core.foreign import as_list, as_object
from potato.core.nearest import why_not as nearest
from potato.core.text import did_you_mean, inert
from potato.errors import AuthError, UsageError

if TYPE_CHECKING:
    from potato.bootstrap import Past
    from potato.config.config import Config
    from potato.core.event import Event, Facts
    from potato.core.routing import Decision
    from potato.ports import Recorded


@click.command(name="explain")
@config_option
@event_options
@click.option("--why-not", metavar="AGENT", help="Say only why this agent does not run: the nearest rules and what failed in each.")
@click.option("--delivery", metavar="ID", help="A past event of --against instead of a payload, with the facts kept of it.")
@click.option("--against", metavar="PATH", default=".potato/potato.db", show_default=True, help="Where past events are.")
@click.option("--as-decided", is_flag=True, help="With --delivery: by the config that decided it, as --against keeps it, not by --config.")
@json_option
def command(config: str | None, event: str | None, payload: str | None, facts: str | None, why_not: str | None, delivery: str | None,
            against: str, *, as_decided: bool, as_json: bool) -> None:  # fmt: skip
    """Say what would run for an event, and why (not): every rule, every clause.

    Touches nothing. With GITHUB_TOKEN set, facts that the rules need are read from GitHub; for a past event nothing is.
    """
    recorded: Recorded | None = None
    past: Past | None = None
    if as_decided and delivery is None:
        raise UsageError("no-event", "--as-decided goes with --delivery ID.")
    if delivery is not None:
        recorded, past = _recorded(against, delivery)
    loaded = _as_decided(past, delivery or "") if as_decided else load(config)
    if why_not is not None:
        _require_agent(loaded, why_not)
    if recorded is not None:
        normal, fetched, decision = _again(recorded, loaded)
    else:
        _, normal = read_delivery(event, payload)
        normal, fetched, decision = asyncio.run(_decide(loaded, normal, read_facts_file(facts)))
    misses = nearest(decision, why_not) if why_not is not None else []
    if as_json:
        told = decision_json(loaded, normal, decision, fetched) if why_not is None else decision_head(loaded, normal, decision)
        told |= {"why_not": {"agent": why_not, "rules": [miss.as_json() for miss in misses]}} if why_not is not None else {}
        runs = [run.as_json() | {"lineage": [link.agent for link in run.lineage]} for run in past.runs] if past else []
        print_json(told | ({"recorded": recorded.decision, "runs": runs} if recorded else {}))
        return
    from potato.cli.render import line, show_decision, show_event, show_past, show_why_not

    show_event(normal)
    if recorded is not None:
        line(0, _told_then(recorded, loaded), ("·", "blue"))
    if why_not is None:
        show_decision(decision, fetched)
    else:
        show_why_not(why_not, decision, misses, routers_of(loaded, decision))
    if past is not None:
        show_past([run for run in past.runs if why_not in (None, run.agent)])


def _recorded(against: str, delivery: str) -> tuple[Recorded, Past]:
    """A past event, and what became of it. Raises `UsageError` if it is not there or cannot be read."""
    from potato.bootstrap import open_archive, open_past

    recorded = open_archive(against).find(delivery)
    if recorded is None:
        raise UsageError("no-delivery", f"there is no readable delivery '{delivery}' in '{against}'.", "'potato runs' shows their ids.")
    return recorded, open_past(against, delivery, str((recorded.decision or {}).get("config_digest", "")))


def _as_decided(past: Past | None, delivery: str) -> Config:
    if past is None or past.config is None:
        raise UsageError("no-delivery", f"the config that decided '{delivery}' is not kept there.", "Name one by --config instead.")
    return past.config


def _again(recorded: Recorded, config: Config) -> tuple[Event, Facts, Decision]:
    """A past event, decided by this config. Raises `UsageError` if it cannot be read."""
    from dataclasses import replace

    from potato.bootstrap import make_local_forge
    from potato.core.event import Facts
    from potato.core.routing import decide
    from potato.forges.github.normalise import normalise
    from potato.hub.backtest import fields_of_recorded

    fields = asyncio.run(fields_of_recorded(recorded, make_local_forge({}), normalise))
    event = replace(normalise(recorded.event, recorded.body), fields=fields)
    return event, Facts(problems=recorded.facts.problems if recorded.facts else ()), decide(fields, config.table)


def _told_then(recorded: Recorded, config: Config) -> str:
    """One line on what was decided when it came."""
    then = recorded.decision
    if then is None:
        return "no decision was kept of it"
    agents = [str(as_object(item).get("agent")) for item in as_list(then.get("assignments"))]
    digest = str(then.get("config_digest"))
    same = "this config" if digest == config.digest else f"another config ({digest[:19]})"
    return f"decided {str(then.get('decided_at'))[:19]} by {same}: {', '.join(agents) or 'no agent'}"


def _require_agent(config: Config, name: str) -> None:
    if name not in config.agents:
        raise UsageError("unknown-agent", f"no agent of '{config.file}' is called '{name}'.", did_you_mean(name, config.agents))


def routers_of(config: Config, decision: Decision) -> list[str]:
    """Agents that run for the event and could route it to any other."""
    return [a.agent for a in decision.assignments if "route_agents" in config.agents[a.agent].permissions]


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
    rules = [outcome.as_json() for outcome in decision.outcomes()]
    return decision_head(config, event, decision) | {"rules": rules, "problems": list(facts.problems)}


def decision_head(config: Config, event: Event, decision: Decision) -> dict[str, Any]:
    """The event, the config, and what was decided, without the rules."""
    return {
        "event": event.summary(),
        "config_digest": config.digest,
        "assignments": [assignment.as_json() for assignment in decision.assignments],
        "held": [assignment.as_json() for assignment in decision.held],
    }
