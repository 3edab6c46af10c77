"""`potato validate`."""

from __future__ import annotations

import os

import click

from potato.cli.inputs import load
from potato.cli.options import config_option
from potato.core.text import inert
from potato.errors import OK, USAGE


@click.command(name="validate")
@click.argument("file", required=False)
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="How problems are printed.",
)
@click.option("--above", metavar="CONFIG", help="Put it below CONFIG: it may add, and only tighten.")
@click.option("--repository", default="owner/name", metavar="OWNER/NAME", help="With --above: whose config it is.")
@click.option("--show-code", is_flag=True, help="Print the Python function that a small table of rules becomes when it is in use.")
def command(file: str | None, config: str | None, form: str, above: str | None, repository: str, *, show_code: bool) -> int:
    """Check a config and its agents; print every problem with its place.

    Exit: 0 when usable (warnings do not count), 2 when not.
    """
    from potato.cli.formats import FORMATS
    from potato.config.config import Layer
    from potato.config.loader import find_config, load_config

    path = find_config(file or config)
    over = load(above) if above else None
    loaded = load_config(path, over, Layer("repository", repository, os.getcwd()) if over else None)
    if show_code and loaded.config:
        from potato.core.expression.fuse import source_of

        for row in source_of([rule.node for rule in loaded.config.table.rules]).splitlines():
            click.echo(inert(row))
        return OK
    text = FORMATS[form](loaded.problems)
    if text:
        click.echo(text)
    if form == "text":
        errors = sum(problem.severity == "error" for problem in loaded.problems)
        if loaded.config:
            rules, agents = len(loaded.config.table.rules), len(loaded.config.agents)
            click.echo(f"{path}: {rules} rule(s) and {agents} agent(s), usable", err=True)
        else:
            click.echo(f"{path}: {errors} error(s)", err=True)
    return OK if loaded.config else USAGE
