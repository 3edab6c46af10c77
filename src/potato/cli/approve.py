"""`potato approve`; `potato deny` and `potato approvals` are beside it."""

from __future__ import annotations

import click

from potato.cli.answering import give
from potato.cli.options import config_option, database_option, json_option


@click.command(name="approve")
@click.argument("digest", metavar="DIGEST")
@config_option
@database_option
@json_option
def command(digest: str, config: str | None, database: str, *, as_json: bool) -> int:
    """Say yes to a proposal that waits for people, as the owner of GITHUB_TOKEN.

    DIGEST is its digest or the beginning of it, eight characters at least; 'potato approvals' lists them. Who wrote the pull request or
    caused the run cannot answer, and the config may ask for certain people or teams, or for several.

    Exit: 0 counted, 1 not counted, 4 GitHub refused the token.
    """
    return give(digest, "approve", config, database, as_json=as_json)
