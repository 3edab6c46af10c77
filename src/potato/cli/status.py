"""`potato status`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from potato.cli.options import database_option, json_option
from potato.cli.output import print_json
from potato.ports.hub import Overview

_SHOWN = 10


@click.command(name="status")
@database_option
@json_option
def command(database: str, *, as_json: bool) -> None:
    """Say what waits, what runs, and how each agent does."""
    from potato.bootstrap import open_queue
    from potato.cli.render import heading, line

    queue, engine = open_queue(database)
    overview = queue.overview()
    engine.dispose()
    if as_json:
        print_json(overview.as_json())
        return
    heading("Processes")
    for process in overview.processes:
        only = f"  only {', '.join(process.agents)}" if process.agents else ""
        line(2, f"{process.kind} {process.id}", ("✓", "green") if process.state == "live" else ("…", "yellow"),
             f"{process.slots} slots{only}  seen {process.seen_at[:19]}")  # fmt: skip
    if not overview.processes:
        line(2, "no hub and no worker is running", ("!", "yellow"))
    heading("Agents")
    for agent in overview.agents:
        rate = f"  {agent.error_rate:.0%} failed" if agent.error_rate else ""
        waits = f"  oldest waits {agent.oldest_s:.0f} s" if agent.oldest_s is not None else ""
        line(2, f"{agent.agent}  {agent.running} running, {agent.waiting} waiting", ("✓", "green") if agent.healthy else ("✗", "red"),
             f"{rate}{waits}".strip())  # fmt: skip
        for why in filter(None, (agent.blocked_by, "" if agent.healthy else f"rests after failures: {agent.last_error}")):
            line(6, why[:200])
    if not overview.agents:
        line(2, "none has run or waits")
    _control(overview)
    heading("Runs")
    line(2, ", ".join(f"{count} {state}" for state, count in sorted(overview.states.items())) or "none")
    if overview.undecided:
        line(2, f"{overview.undecided} deliveries are not decided yet", ("…", "yellow"))


def _control(overview: Overview) -> None:
    """What is held, by whom, and what was stopped."""
    from potato.cli.render import heading, line

    if overview.configurations:
        heading("Configuration")
    for one in overview.configurations:
        commit = f" at {one.problem_sha[:12]}" if one.problem_sha else ""
        kept = f"the one of {one.sha[:12]} stays" if one.sha else "nothing of it is in use"
        whose = one.repository or "the hub's own file"
        line(2, f"{whose}{commit} cannot be used; {kept}", ("!", "yellow"), one.problem[:300])
    if overview.pauses:
        heading("Pauses")
    for pause in overview.pauses:
        until = f" until {_at(pause.until)}" if pause.until is not None else ""
        going = f", {pause.running} still running" if pause.running else ""
        line(2, f"{pause.state}: {pause.reach()}{until}{going}", ("!", "yellow"), f"by {pause.by}: {pause.note}")
    holding = [guard for guard in overview.guards if guard.holds or guard.overridden]
    if holding:
        heading("Guards")
    for guard in holding:
        until = f" until {_at(guard.until)}" if guard.until is not None else ""
        word = "is set aside" if guard.overridden else "holds"
        line(2, f"{guard.guard} {word}{until}", ("!", "yellow"), guard.reason)
    if overview.spent:
        heading("Used or reserved")
    for one in overview.spent[:_SHOWN]:
        money = f"  {one.micros / 1_000_000:.2f}" if one.micros else ""
        tokens = f"  {one.tokens:,} tokens" if one.tokens else ""
        line(2, f"{one.scope}{' today' if one.period else ''}  {one.runs} run(s){tokens}{money}")
    if overview.stopped:
        heading("Stopped, or waiting for people")
    for run in overview.stopped[:_SHOWN]:
        where = f"{run.repository or '-'}{f'#{run.number}' if run.number else ''}"
        line(2, f"{run.agent} on {where} {run.state}", ("!", "yellow"), run.reason[:200])


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
