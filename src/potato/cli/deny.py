"""`potato deny`."""

from __future__ import annotations

import click

from potato.cli.answering import give
from potato.cli.options import config_option, database_option, json_option


@click.command(name="deny")
@click.argument("digest", metavar="DIGEST")
@config_option
@database_option
@json_option
def command(digest: str, config: str | None, database: str, *, as_json: bool) -> int:
    """Say no to a proposal that waits for people, as the owner of GITHUB_TOKEN.

    Exit: 0 counted, 1 not counted, 4 GitHub refused the token.
    """
    return give(digest, "deny", config, database, as_json=as_json)
