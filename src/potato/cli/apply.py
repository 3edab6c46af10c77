"""`potato apply`: the job behind an environment's reviewers."""

from __future__ import annotations

import asyncio
import os

import click

from potato.cli.inputs import load, read_delivery, read_facts_file, read_file
from potato.cli.options import config_option, database_option, event_options, json_option
from potato.cli.output import print_json
from potato.cli.run import Progress, exit_code, nonce, show

_MOST = 25 * 1024 * 1024


@click.command(name="apply")
@click.argument("file", metavar="FILE")
@click.option("--digest", required=True, metavar="DIGEST", help="What 'potato run --seal' printed: its output 'sealed'.")
@config_option
@event_options
@database_option
@json_option
def command(file: str, digest: str, config: str | None, event: str | None, payload: str | None, facts: str | None, database: str, *,
            as_json: bool) -> int:  # fmt: skip
    """Apply exactly what 'potato run --seal FILE' sealed: put it into a job whose environment asks for reviewers.

    It counts for the same workflow run, event and policy only. Every proposal is judged again, and if one would not be allowed as it was
    sealed, nothing is applied.

    Exit: 0 done, 1 a run failed, 2 the seal is broken, 4 GitHub refused the credentials.
    """
    from potato.bootstrap import make_forge, make_hub, open_store
    from potato.hub.sealed import apply_sealed, unseal

    loaded = load(config)
    delivery, normal = read_delivery(event, payload)
    sealed = unseal(read_file(file, _MOST, "the sealed file"), digest, delivery, loaded.controls.policy, nonce())

    async def work() -> int:
        forge = make_forge(loaded, os.environ, read_facts_file(facts))
        store, engine = open_store(database)
        try:
            hub = make_hub(loaded, store, forge, Progress(quiet=as_json), os.environ)
            outcome = await apply_sealed(hub, delivery, normal, sealed, os.environ.get("GITHUB_ACTOR", "the one who ran this"))
        finally:
            engine.dispose()
            await forge.close()
        if as_json:
            print_json([run.as_json() | {"proposals": [one.as_json() for one in run.proposals]} for run in outcome.runs])
        else:
            show(outcome, loaded)
        return exit_code(outcome.runs)

    return asyncio.run(work())
