"""`potato test`: the rules' own tests, and which clauses they leave untried."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from potato.cli.inputs import load, read_file
from potato.cli.options import config_option
from potato.cli.output import print_json
from potato.core.text import inert, printable
from potato.errors import FAILED, OK

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.config.rule_tests import RuleTestSource
    from potato.core.coverage import Coverage
    from potato.hub.rule_testing import Finished


@click.command(name="test")
@click.argument("file", required=False)
@config_option
@click.option("--tests", multiple=True, metavar="FILE", help="The tests, again for more. Default: every *.test.yml beside the config.")
@click.option("--update", is_flag=True, help="Rewrite what failing tests expect, and add it where it is missing.")
@click.option("--min-coverage", type=click.FloatRange(0, 100), default=0, metavar="PERCENT", help="Fail below this part of clauses tried.")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True,
              help="How results are printed; in GitHub Actions failures are annotated too.")  # fmt: skip
def command(file: str | None, config: str | None, tests: tuple[str, ...], form: str, *, update: bool, min_coverage: float) -> int:
    """Run the tests of the rules: events, and which agents must run for them.

    Says which clauses no test has made true, or false. Exit: 0 when all pass, 1 when not, 2 when config or tests cannot be used.
    """
    from potato.config.rule_tests import find_tests, observed, read_tests, updated
    from potato.core.coverage import Coverage
    from potato.core.expression import Reading
    from potato.hub.rule_testing import Finished

    loaded = load(file or config)
    sources = [read_tests(path) for path in find_tests(loaded.file, tests)]
    coverage = Coverage(loaded.table)
    done = asyncio.run(_run(loaded, sources))
    for each in done:
        coverage.add(Reading(each.decision.fields))
    if update:
        for source in sources:
            wrong = {t.test.index: observed(t.decision, t.test.expect) for t in done if t.failures and t.test.file == source.tree.file}
            if wrong:
                _write(source.tree.file, updated(source, wrong))
                click.echo(inert(f"{source.tree.file}: {len(wrong)} updated"), err=True)
        done = [Finished(each.test, each.decision, []) for each in done]
    short = coverage.percent() < min_coverage
    _show(loaded, done, coverage, form)
    if short:
        click.echo(f"coverage is {coverage.percent():.0f} %, less than {min_coverage:g} %", err=True)
    return FAILED if short or any(each.failures for each in done) else OK


async def _run(config: Config, sources: Sequence[RuleTestSource]) -> list[Finished]:
    from potato.bootstrap import make_local_forge
    from potato.forges.github.normalise import MAX_BYTES, normalise
    from potato.hub.rule_testing import run_tests

    forge = make_local_forge({})
    try:
        tests = run_tests(config, sources, forge, lambda event, body, what: normalise(event, body, what=what),
                          lambda path: read_file(path, MAX_BYTES, "the payload"))  # fmt: skip
        return [finished async for finished in tests]
    finally:
        await forge.close()


def _write(path: str, text: str) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(temporary, path)


def _show(config: Config, done: Sequence[Finished], coverage: Coverage, form: str) -> None:
    from potato.cli.formats import annotation
    from potato.cli.render import show_coverage, show_tests

    failed = [each for each in done if each.failures]
    if form == "json":
        gaps = [
            {"rule": config.table.rules[gap.rule].name, "line": config.table.rules[gap.rule].line, "clause": gap.text, "never": gap.never}
            for gap in coverage.gaps()
        ]
        print_json({"tests": [each.as_json() for each in done], "coverage": coverage.as_json() | {"gaps": gaps}})
        return
    if form == "text":
        show_tests([(each.test.name, f"{each.test.file}:{each.test.line}", each.failures) for each in done])
        show_coverage(coverage)
    if form == "github" or os.environ.get("GITHUB_ACTIONS") == "true":
        for each in failed:
            message = printable(f"{each.test.name}: {'; '.join(each.failures)}", 2000)
            click.echo(annotation("error", message, file=each.test.file, line=each.test.line, title="rule test failed"))
    click.echo(f"{len(done) - len(failed)} passed, {len(failed)} failed", err=True)
