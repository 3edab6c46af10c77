"""`potato schema`."""

from __future__ import annotations

import click


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of orchestrator.yml, for editors and CI."""
    from potato.config.schema import SHIPPED

    click.echo(SHIPPED.read_text(encoding="utf-8"), nl=False)
