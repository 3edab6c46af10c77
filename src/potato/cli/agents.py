"""`potato agents`."""

from __future__ import annotations

from typing import Any

import click

from potato.cli.inputs import load
from potato.cli.options import config_option, json_option
from potato.cli.output import print_json


@click.command(name="agents")
@config_option
@click.option("--builtin", is_flag=True, help="The built-in agents instead.")
@json_option
def command(config: str | None, *, builtin: bool, as_json: bool) -> None:
    """List the agents of a config with their role, runner and permissions."""
    from potato.cli.render import table
    from potato.config.builtin_names import BUILTINS

    shapes: list[dict[str, Any]]
    if builtin:
        shapes = [
            {"name": b.name, "role": b.role, "runner": "builtin", "permissions": sorted(b.permissions), "secrets": [], "doc": b.doc}
            for b in BUILTINS.values()
        ]
    else:
        shapes = [
            {"name": a.name, "role": a.role, "runner": a.runner, "permissions": sorted(a.permissions), "secrets": list(a.secrets)}
            for a in load(config).agents.values()
        ]
    if as_json:
        print_json(shapes)
        return
    rows = [(str(s["name"]), str(s["role"]), str(s["runner"] or "-"), ", ".join(s["permissions"])) for s in shapes]
    table(rows, header=("agent", "role", "runner", "permissions"))
