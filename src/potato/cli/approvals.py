"""`potato approvals`."""

from __future__ import annotations

import json

import click

from potato.cli.options import database_option, json_option
from potato.cli.output import print_json


@click.command(name="approvals")
@database_option
@json_option
def command(database: str, *, as_json: bool) -> None:
    """List the proposals that wait for people, with what they would do."""
    from potato.bootstrap import open_approvals
    from potato.cli.render import line
    from potato.core.text import printable

    approvals, engine = open_approvals(database)
    found = approvals.waiting()
    engine.dispose()
    if as_json:
        print_json([waiting.as_json() for waiting in found])
        return
    for waiting in found:
        run, proposal = waiting.run, waiting.proposal
        where = f"{run.repository or '-'}{f'#{run.number}' if run.number else ''}"
        line(0, f"{waiting.short}  {proposal.kind} by {run.agent} on {where}", ("…", "yellow"), proposal.reason)
        line(4, printable(json.dumps(dict(proposal.args), ensure_ascii=False), 400))
        line(4, f"potato approve {waiting.short}, or potato deny {waiting.short}")
        if waiting.approvers:
            line(4, f"approved so far by {', '.join(waiting.approvers)}")
    if not found:
        line(0, "nothing waits for people")
