"""`potato runs`, and `potato runs show`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from potato.cli.options import database_option, json_option
from potato.cli.output import print_json
from potato.core.run import TERMINAL
from potato.errors import UsageError

if TYPE_CHECKING:
    from potato.ports import RunRecord, Store, TranscriptEvent

_LOOK_S: Final = 0.5
_MARKS: Final = {
    "message": ("»", "green"), "reasoning": ("~", "blue"), "tool_call": ("→", "cyan"), "tool_result": ("←", "cyan"),
    "model_call": ("$", "magenta"), "egress": ("⇄", "yellow"), "error": ("✗", "red"), "system": ("·", "yellow"),
}  # fmt: skip
_SAID: Final = frozenset({"text", "tool", "refused", "status", "input", "cached", "cache_write", "output"})
"""What an event's line tells by itself."""


@click.group(name="runs", invoke_without_command=True)
@database_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest N. Default: all.")
@json_option
@click.pass_context
def command(context: click.Context, database: str, limit: int | None, *, as_json: bool) -> None:
    """List runs, newest first; 'runs show RUN' tells what one did."""
    if context.invoked_subcommand is not None:
        return
    from potato.bootstrap import open_store
    from potato.cli.render import STATES, line

    store, engine = open_store(database, create=False)
    runs = store.runs(limit)
    engine.dispose()
    if as_json:
        print_json([run.as_json() for run in runs])
        return
    if not runs:
        click.echo("no runs yet", err=True)
        return
    for run in runs:
        line(0, f"{run.agent}  {run.state}  {_subject(run)}", STATES.get(run.state, ("·", "blue")),
             f"{run.id}  {run.created_at:%Y-%m-%d %H:%M:%S}", bold=True)  # fmt: skip
        if run.state != "succeeded":
            line(4, run.reason[:200])


@command.command(name="show")
@click.argument("run_id", metavar="RUN")
@database_option
@click.option("--follow", is_flag=True, help="Go on until the run rests.")
@json_option
def show(run_id: str, database: str, *, follow: bool, as_json: bool) -> None:
    """Tell what one run did: its transcript, what it proposed, what became of it.

    RUN is its id, or the beginning of it. With --json and --follow each event is one line.
    """
    from potato.bootstrap import open_store

    store, engine = open_store(database, create=False)
    try:
        _show(store, run_id, follow=follow, as_json=as_json)
    finally:
        engine.dispose()


def _show(store: Store, run_id: str, *, follow: bool, as_json: bool) -> None:
    import json

    from potato.cli.render import show_runs

    run = _found(store, run_id)
    after: tuple[int, int] = (0, 0)
    events: list[TranscriptEvent] = []
    if not as_json:
        _head(run)
    while True:
        ended = run.state in TERMINAL or run.state in ("awaiting_approval", "held")
        fresh = store.transcript(run.id, after)
        after = (fresh[-1].attempt, fresh[-1].number) if fresh else after
        for event in fresh:
            if not as_json:
                _event(event)
            elif follow:
                click.echo(json.dumps(event.as_json()))
        events += [] if follow else fresh
        if not fresh and (ended or not follow):
            break
        if not fresh:
            time.sleep(_LOOK_S)
        run = _found(store, run.id)
    if as_json and not follow:
        print_json(
            {**run.as_json(), "proposals": [one.as_json() for one in run.proposals], "transcript": [one.as_json() for one in events]}
        )
    elif as_json:
        click.echo(json.dumps({**run.as_json(), "proposals": [one.as_json() for one in run.proposals]}))
    else:
        show_runs([run])


def _found(store: Store, prefix: str) -> RunRecord:
    """The one run whose id begins so, with its proposals. Raises `UsageError`."""
    found = store.find(prefix)
    if len(found) != 1:
        why = "several runs begin so; write more of it" if found else "there is no such run"
        raise UsageError("no-run", f"'{prefix[:80]}': {why}.", "'potato runs' lists them.")
    return found[0]


def _subject(run: RunRecord) -> str:
    return f"{run.repository or 'no repository'}{f'#{run.number}' if run.number else ''}"


def _head(run: RunRecord) -> None:
    from potato.cli.render import STATES, line

    line(0, f"{run.agent}  {run.state}  {_subject(run)}", STATES.get(run.state, ("·", "blue")), run.id, bold=True)
    attempt = f"attempt {run.attempts}" if run.attempts else "not begun"
    line(
        2,
        f"{', '.join(run.rules) or 'no rule'}; {run.created_at:%Y-%m-%d %H:%M:%S} UTC; {attempt}",
    )
    if run.usage:
        from potato.core.budget import MICROS

        cost = f", cost {run.usage.micros / MICROS:.4f}" if run.usage.micros else ""
        line(2, f"{run.usage.tokens:,} tokens of {run.usage.model or 'a model'}{cost}")


def _event(event: TranscriptEvent) -> None:
    from potato.cli.render import line

    more = {name: value for name, value in event.body.items() if name not in _SAID}
    words = " ".join(str(event.body.get("text", "")).split())
    tool = f"{event.body['tool']}: " if event.body.get("tool") else ""
    detail = "  " + "  ".join(f"{name}={value}" for name, value in more.items()) if more else ""
    line(2, f"{tool}{words}{detail}"[:600], _MARKS.get(event.kind, ("·", "blue")), f"{event.at:%H:%M:%S}")
