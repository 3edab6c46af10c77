"""`potato lint`."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

import click

from potato.cli.options import config_option
from potato.errors import FAILED, OK, USAGE


@click.command(name="lint")
@click.argument("file", required=False)
@config_option
@click.option("--format", "form", type=click.Choice(["text", "json", "github", "sarif"]), default="text", show_default=True,
              help="How findings are printed.")  # fmt: skip
@click.option("--budget", metavar="DURATION", default="30s", show_default=True, help="How long it may take; it says when it was cut.")
def command(file: str | None, config: str | None, form: str, budget: str) -> int:
    """Find what is allowed in a config and hardly meant: rules that cannot match or add nothing, loops, flapping labels and more.

    A comment '# potato: ignore[ID]' on a finding's line, or right above it, silences it.
    Exit: 0 without errors and warnings (notes do not count), 1 with some, 2 when the config cannot be used.
    """
    from potato.cli.formats import as_findings, as_github, as_sarif, as_text
    from potato.config.duration import parse_duration
    from potato.config.lint import CHECKS, lint
    from potato.config.loader import find_config, load_config

    formats = {"text": as_text, "json": as_findings, "github": as_github, "sarif": partial(as_sarif, docs=CHECKS)}
    try:
        end = time.monotonic() + parse_duration(budget)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--budget") from None
    path = find_config(file or config)
    loaded = load_config(path)
    if loaded.config is None:
        click.echo(formats[form](loaded.problems))
        click.echo(f"{path}: cannot be used; lint starts where validate has no errors", err=True)
        return USAGE
    linted = lint(loaded, lambda: time.monotonic() > end)
    text = formats[form](linted.findings)
    if text:
        click.echo(text)
    counts = Counter(problem.severity for problem in linted.findings)
    told = ", ".join(f"{counts[severity]} {severity}{'' if counts[severity] == 1 else 's'}" for severity in ("error", "warning", "note"))
    click.echo(f"{path}: {told}{f', {linted.ignored} ignored' if linted.ignored else ''}", err=True)
    return FAILED if counts["error"] or counts["warning"] else OK
