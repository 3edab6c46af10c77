"""`potato status`."""

from __future__ import annotations

import click

from potato.cli.options import database_option, json_option
from potato.cli.output import print_json


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
    heading("Runs")
    line(2, ", ".join(f"{count} {state}" for state, count in sorted(overview.states.items())) or "none")
    if overview.undecided:
        line(2, f"{overview.undecided} deliveries are not decided yet", ("…", "yellow"))
