"""`potato run`: the CI form of the hub."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from potato.cli.explain import decision_json
from potato.cli.inputs import load, read_delivery, read_facts_file
from potato.cli.options import config_option, database_option, event_options, json_option
from potato.cli.output import print_json
from potato.errors import DENIED, FAILED, OK, WAITING, UsageError

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.core.event import Event
    from potato.hub.context import Hub
    from potato.hub.workflow import Outcome
    from potato.ports import Delivery, RunRecord


@click.command(name="run")
@config_option
@event_options
@database_option
@click.option("--seal", "seal_file", metavar="FILE", help="Write what waits for people there, for 'potato apply'.")
@click.option("--dry-run", is_flag=True, help="Run the agents, apply nothing.")
@json_option
def command(config: str | None, event: str | None, payload: str | None, facts: str | None, database: str, *, seal_file: str | None,
            dry_run: bool, as_json: bool) -> int:  # fmt: skip
    """Route one event, run its agents, pass what they propose through the gate and apply what is allowed.

    In GitHub Actions the event comes from the environment. Without GITHUB_TOKEN effects are staged, not sent.

    Exit: 0 done, 1 a run failed or is held, 2 wrong usage or config, 4 GitHub refused the credentials,
    5 a run was blocked, 6 a run waits for approval, 130 interrupted.
    """
    loaded = load(config)
    delivery, normal = read_delivery(event, payload)
    given = read_facts_file(facts)
    try:
        outcome = asyncio.run(work(loaded, delivery, normal, given, database, dry_run=dry_run, quiet=as_json))
    except asyncio.CancelledError:  # SIGTERM cancels the task; to the caller it is an interruption like any other
        raise KeyboardInterrupt from None
    sealed = write_seal(loaded, delivery, outcome, seal_file) if seal_file else None
    if as_json:
        shape = decision_json(loaded, outcome.event, outcome.decision, outcome.facts)
        shape["runs"] = [run.as_json() | {"proposals": [p.as_json() for p in run.proposals]} for run in outcome.runs]
        if seal_file:
            shape["sealed"] = sealed
        print_json(shape)
    else:
        show(outcome, loaded)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from potato.cli.actions import report

        report(outcome, loaded, os.environ, sealed)
    return exit_code(outcome.runs)


def nonce() -> str:
    """What tells this workflow run from any other."""
    return f"{os.environ.get('GITHUB_REPOSITORY', '')}/{os.environ.get('GITHUB_RUN_ID', '')}"


def write_seal(config: Config, delivery: Delivery, outcome: Outcome, path: str) -> str | None:
    """Write what waits for people, and say its digest. Raises `UsageError` if the file cannot be written."""
    from potato.hub.sealed import seal

    made = seal(config.controls.policy, delivery, outcome.event, outcome.runs, nonce())
    if made is None:
        return None
    try:
        with open(path, "wb") as file:
            file.write(made[0])
    except OSError as error:
        raise UsageError("file-unwritable", f"'{path}' cannot be written: {error.strerror}.") from None
    click.echo(f"sealed in {path}: {made[1]}", err=True)
    return made[1]


def show(outcome: Outcome, config: Config) -> None:
    """The outcome on a terminal."""
    from potato.cli.render import line, show_event, show_rules, show_runs

    show_event(outcome.event)
    for problem in outcome.facts.problems:
        line(2, problem, ("!", "yellow"))
    show_rules(outcome.decision)
    show_runs(outcome.runs)
    if outcome.runs and config.unenforced:
        line(0, f"declared, not enforced by this version: {'; '.join(config.unenforced)}", ("!", "yellow"))
    if not outcome.runs:
        line(0, "No agent runs for this event; 'potato explain' tells each clause.")


async def work(config: Config, delivery: Delivery, event: Event, given: dict[str, Any] | None, database: str, *, dry_run: bool,
               quiet: bool) -> Outcome:  # fmt: skip
    """Open what is needed, handle the delivery, close."""
    from potato.bootstrap import make_forge, make_hub, open_store
    from potato.hub.workflow import handle

    forge = make_forge(config, os.environ, given, dry_run=dry_run)
    if forge.kind == "local" or dry_run:
        why = "dry run" if dry_run else "forge: local" if config.document.forge.kind else "no GITHUB_TOKEN"
        click.echo(f"{why}: effects are staged, nothing is sent", err=True)
    try:
        store, engine = open_store(database)
        hub: Hub = make_hub(config, store, forge, Progress(quiet=quiet), os.environ)
        task = asyncio.current_task()
        if task and sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await handle(hub, delivery, event)
        finally:
            engine.dispose()
    finally:
        await forge.close()


def exit_code(runs: Iterable[RunRecord]) -> int:
    """The worst of the runs' states: failed or held, then blocked, then waiting."""
    states = {run.state for run in runs}
    if states & {"failed", "held", "cancelled"}:
        return FAILED
    if "blocked" in states:
        return DENIED
    return WAITING if "awaiting_approval" in states else OK


class Progress:
    """Tells on stderr, on a terminal only, what goes on."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()

    def run_changed(self, run: RunRecord) -> None:
        """One line for each state worth waiting for."""
        if not self._quiet and run.state in ("running", "applying"):
            click.echo(click.style(f"· {run.agent} {run.state}", dim=True), err=True)
