"""`potato backtest`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

import click

from potato.cli.inputs import load
from potato.cli.options import json_option
from potato.cli.output import print_json
from potato.core.text import inert
from potato.errors import UsageError

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.core.difference import Difference
    from potato.ports import Archive, Damaged

_SHOWN: Final = 10


@click.command(name="backtest")
@click.option("--config", required=True, metavar="DRAFT", help="The draft of a config.")
@click.option("--against", required=True, metavar="PATH", help="A database, a folder of deliveries, or a .jsonl file.")
@click.option("--since", metavar="DURATION", help="Only events of the last 7d, 12h ...")
@click.option("--baseline", metavar="CONFIG", help="Compare with what this config decides, not with what was decided then.")
@click.option("--cost", multiple=True, metavar="AGENT=AMOUNT", help="What one run of an agent costs, again for more; in any currency.")
@json_option
def command(config: str, against: str, since: str | None, baseline: str | None, cost: tuple[str, ...], *, as_json: bool) -> None:
    """Decide past events anew under a draft, and say which agents would run more, and which less. Touches nothing.

    Events of a database are compared with what was decided then; deliveries in files, of which nothing is known, with --baseline, or
    with the config that is in use here.
    """
    draft = load(config)
    prices = _prices(cost, draft)
    archive = _archive(against, since)
    base = _baseline(baseline, draft, against)
    damaged: list[Damaged] = []
    difference = asyncio.run(_compare(archive, draft, base, damaged))
    if not difference.events and not as_json:
        click.echo("there was no event to decide", err=True)
    from potato.cli.render import show_difference

    rows = difference.by_agent(archive.seconds(), prices)
    again = f"potato explain --config {quote(config)} --against {quote(against)} --delivery"
    if as_json:
        print_json(_as_json(difference, rows, draft, base, archive, damaged))
    else:
        show_difference(difference, rows, again, priced=bool(prices))
    if damaged:
        click.echo(f"{len(damaged)} could not be read and {'was' if len(damaged) == 1 else 'were'} skipped", err=True)


def _archive(path: str, since: str | None) -> Archive:
    from datetime import UTC, datetime, timedelta

    from potato.bootstrap import open_archive
    from potato.config.duration import parse_duration

    try:
        start = datetime.now(UTC) - timedelta(seconds=parse_duration(since)) if since else None
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    return open_archive(path, start)


def _baseline(given: str | None, draft: Config, against: str) -> Config | None:
    """The config to compare with; none where a database knows what was decided, or nothing is in use here."""
    import os

    from potato.config.loader import CANDIDATES
    from potato.forges.local.archive import is_database

    if given is None and ("://" in against or is_database(against)):
        return None
    found = given or next((path for path in CANDIDATES if os.path.isfile(path) and not os.path.samefile(path, draft.file)), None)
    if found is None:
        click.echo("note: there is no config here to compare with; every agent counts as gained. --baseline CONFIG names one.", err=True)
    return load(found) if found else None


def _prices(given: tuple[str, ...], draft: Config) -> dict[str, float]:
    prices: dict[str, float] = {}
    for each in given:
        agent, _, amount = each.partition("=")
        try:
            prices[agent] = float(amount)
        except ValueError:
            raise click.BadParameter(f"'{each}' is not AGENT=AMOUNT, such as codex_triage=0.12", param_hint="--cost") from None
        if agent not in draft.agents:
            raise UsageError("unknown-agent", f"--cost: no agent of '{draft.file}' is called '{agent}'.")
    return prices


async def _compare(archive: Archive, draft: Config, base: Config | None, damaged: list[Damaged]) -> Difference:
    from potato.bootstrap import make_local_forge
    from potato.forges.github.normalise import normalise
    from potato.hub.backtest import backtest

    def tell(found: Damaged) -> None:
        damaged.append(found)
        if len(damaged) <= _SHOWN:
            click.echo(inert(f"skipped: {found.source}: {found.reason}."), err=True)

    size = archive.size()
    forge = make_local_forge({})
    with click.progressbar(itertools.count(), length=size, label="deciding", file=sys.stderr, show_pos=True) as bar:
        return await backtest(archive, draft, base, forge, normalise, tell, lambda: bar.update(1))


def _as_json(difference: Difference, rows: list[dict[str, Any]], draft: Config, base: Config | None, archive: Archive,
             damaged: list[Damaged]) -> dict[str, Any]:  # fmt: skip
    from potato.core.difference import CHANGES

    changes: dict[str, list[Mapping[str, Any]]] = {change: [] for change in CHANGES}
    for (change, rule, agent), tally in sorted(difference.tallies.items(), key=lambda item: -item[1].count):
        example = {"delivery_id": tally.example, "trace": _trace(archive, draft, base, change, rule, tally.example)}
        changes[change].append({"rule": rule, "agent": agent, "count": tally.count, "example": example})
    return {
        "config_digest": draft.digest,
        "baseline": base.digest if base else None,
        "events": difference.events,
        "changed": difference.changed,
        "damaged": [{"source": each.source, "reason": each.reason} for each in damaged],
        "days": difference.days(),
        "agents": rows,
        **changes,
        "repositories": [
            {"repository": name} | {change: counts[change] for change in CHANGES}
            for name, counts in sorted(difference.repositories.items())
        ],
    }


def _trace(archive: Archive, draft: Config, base: Config | None, change: str, rule: str, source: str) -> Any:  # noqa: ANN401 - JSON
    """Why the rule asked for the agent in the example: the draft's where it gains or holds it, what was before where it loses it."""
    from potato.bootstrap import make_local_forge
    from potato.core.foreign import as_list, as_object
    from potato.core.routing import decide
    from potato.forges.github.normalise import normalise
    from potato.hub.backtest import fields_of_recorded

    recorded = archive.find(source)
    config = base if change == "lost" else draft
    if recorded is None:
        return None
    if config is None:
        rules = map(as_object, as_list((recorded.decision or {}).get("rules")))
        return next((told.get("trace") for told in rules if told.get("name") == rule), None)
    fields = asyncio.run(fields_of_recorded(recorded, make_local_forge({}), normalise))
    outcomes = decide(fields, config.table).outcomes(every=False)
    return next((outcome.trace.as_json() for outcome in outcomes if outcome.rule.name == rule), None)
