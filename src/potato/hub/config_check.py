"""What a pull request would make of a config, told on its head before anybody merges it: the check run `potato config`.

Nothing of a pull request is ever in use. Its files are read, loaded below the config that holds above them, and compared.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from potato.config.config import Config, Loaded
from potato.config.difference import Change, differences
from potato.config.lint import lint
from potato.config.loader import CANDIDATES
from potato.config.rule_tests import ENDINGS, read_tests
from potato.core import neutralise
from potato.core.difference import Difference
from potato.core.event import Event
from potato.core.text import printable
from potato.errors import ConfigError, PotatoError, Problem, UsageError
from potato.hub.backtest import backtest
from potato.hub.book import CHECK, PROPOSING, Book, as_block
from potato.hub.fetching import Fetched, fetch_config
from potato.hub.rule_testing import Normalise, run_tests
from potato.ports import Archive, Forge, HeadReport, Note
from potato.ports.hub import Sources

_LINT_S: Final = 5.0
_SHOWN: Final = 25
_CHARACTERS: Final = 20_000
_BYTES: Final = 1_000_000
_MOST_BYTES: Final = 256_000
"""Anybody can propose a config; reading a large one takes seconds that decisions need."""
_LOG = logging.getLogger("potato")


@dataclass(frozen=True, slots=True)
class Tools:
    """`archive` gives the latest deliveries of a repository, or of all; `local` answers what a payload alone tells."""

    sources: Sources
    forge: Forge
    local: Forge
    archive: Callable[[str | None], Archive]
    normalise: Normalise


class ConfigCheck:
    """Checks what pull requests propose, in repositories whose config is read."""

    def __init__(self, book: Book, tools: Tools) -> None:
        self._book = book
        self._tools = tools

    async def check(self, event: Event) -> None:
        """Tell it on the head. Raises `PotatoError` when the forge does not answer."""
        repository, sha = event.repository, event.head_sha
        if event.event != "pull_request" or event.action not in PROPOSING or not sha or not repository or not self._book.concerned(event):
            return
        current = await self._book.get(repository)
        if not await self._touched(event, current):
            report = HeadReport(repository, sha, "not touched", "The pull request changes nothing of the config.", "success", name=CHECK)
        else:
            report = await self._report(repository, sha, current)
        await self._tools.forge.tell(report)

    async def _touched(self, event: Event, current: Config) -> bool:
        """Whether it changes files of the config; so it is where not all of its files are known."""
        facts = await self._tools.forge.fetch_facts(event, frozenset({"paths"}))
        paths = facts.fields.get("path")
        if not isinstance(paths, tuple):
            return True
        return any(path in CANDIDATES or path in current.protected or path.endswith(ENDINGS) for path in map(str, paths))

    async def _report(self, repository: str, sha: str, current: Config) -> HeadReport:
        try:
            fetched = await fetch_config(self._tools.sources, repository, sha, tests=True)
        except PotatoError as error:
            if error.code != "config-unreadable":
                raise
            return HeadReport(repository, sha, "cannot be used", as_block(error.message), "failure", name=CHECK)
        if fetched is None:
            return self._without(repository, sha, current)
        if len(fetched.files[fetched.file]) > _MOST_BYTES:
            text = f"The config is larger than the {_MOST_BYTES:,} bytes that are checked: check it in CI by `potato validate` and `lint`."
            return HeadReport(repository, sha, "too large to check", text, "action_required", name=CHECK)
        loaded, root = await self._book.proposed(repository, fetched)
        problems = [*loaded.problems, *(await asyncio.to_thread(_linted, loaded) if loaded.config else [])]
        notes = tuple(_note(problem, repository) for problem in problems)
        if loaded.config is None:
            text = f"The config of this commit cannot be used; the one in use would stay.\n\n{as_block(_lines(problems))}"
            errors = sum(problem.severity == "error" for problem in problems)
            return HeadReport(repository, sha, f"{errors} error(s)", text, "failure", name=CHECK, notes=notes)
        failed, tests = await self._tests(loaded.config, fetched, root)
        changes = await asyncio.to_thread(differences, current, loaded.config)
        past = await asyncio.to_thread(self._backtest, repository, loaded.config, current)
        return _told(repository, sha, problems, notes, failed, tests, changes, past)

    def _without(self, repository: str, sha: str, current: Config) -> HeadReport:
        """It would be removed."""
        if self._book.is_organisation(repository):
            text = "Without this config the hub would decide nothing, so the one in use would stay."
            return HeadReport(repository, sha, "it would be gone", text, "failure", name=CHECK)
        changes = differences(current, self._book.base)
        return _told(
            repository, sha, [], (), [], 0, [Change("the repository has no config of its own any more", widens=False), *changes], None
        )

    async def _tests(self, config: Config, fetched: Fetched, root: str) -> tuple[list[str], int]:
        """What failed, and how many tests there are. Payloads are read among what was fetched only."""
        files = [os.path.join(root, path) for path in fetched.files if path.endswith(ENDINGS)]
        payload = partial(_payload, root)
        failed: list[str] = []
        count = 0
        for file in files:
            try:
                source = await asyncio.to_thread(read_tests, file)
                async for done in run_tests(config, [source], self._tools.local, self._tools.normalise, payload):
                    count += 1
                    failed += [f"{done.test.name}: {'; '.join(done.failures)}"] if done.failures else []
            except ConfigError as error:
                failed += [str(problem).replace(f"{root}{os.sep}", "") for problem in error.problems]
            except UsageError as error:
                failed.append(error.message.replace(f"{root}{os.sep}", ""))
        return failed, count

    def _backtest(self, repository: str, draft: Config, current: Config) -> Difference:
        """What it would have decided otherwise, of the latest deliveries."""
        archive = self._tools.archive(None if self._book.is_organisation(repository) else repository)
        skipped: list[object] = []
        normalise = self._tools.normalise
        work = backtest(
            archive,
            draft,
            current,
            self._tools.local,
            lambda event, body: normalise(event, body, "a delivery"),
            skipped.append,
            lambda: None,
        )
        return asyncio.run(work)


def _payload(root: str, path: str) -> bytes:
    """A file that was laid out below `root`. Raises `UsageError` for anything else."""
    real, inside = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath((real, inside)) != inside or not os.path.isfile(real) or os.path.getsize(real) > _BYTES:
        raise UsageError("file-unreadable", f"the payload '{os.path.relpath(path, root)}' is not beside the config.")
    with open(real, "rb") as file:
        return file.read(_BYTES)


def _linted(loaded: Loaded) -> list[Problem]:
    until = time.monotonic() + _LINT_S
    return lint(loaded, lambda: time.monotonic() > until).findings


def _note(problem: Problem, repository: str) -> Note:
    path = problem.file.removeprefix(f"{repository}:")
    return Note(
        path, problem.line, "failure" if problem.severity == "error" else "warning", printable(f"{problem.code}: {problem.message}", 500)
    )


def _lines(problems: Sequence[Problem]) -> str:
    shown = [str(problem) for problem in problems[:_SHOWN]]
    return "\n".join([*shown, *([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])])


def _told(repository: str, sha: str, problems: Sequence[Problem], notes: tuple[Note, ...], failed: Sequence[str], tests: int,
          changes: Sequence[Change], past: Difference | None) -> HeadReport:  # fmt: skip
    """The whole report. Tests that fail fail it; what widens asks for a person's eyes."""
    widening = [change for change in changes if change.widens]
    parts = [
        _section(f"{len(failed)} of {tests} tests of rules fail" if failed else f"{tests} tests of rules pass" if tests else "", failed),
        _section("More may happen than before" if widening else "Nothing more may happen than before", [c.text for c in widening]),
        _section("Other changes" if len(changes) > len(widening) else "", [c.text for c in changes if not c.widens]),
        _past(past) if past else "",
        _section(f"{len(problems)} finding(s)" if problems else "", [str(problem) for problem in problems]),
    ]
    title = ", ".join(filter(None, (
        f"{len(failed)} failing test(s)" if failed else "", f"widens {len(widening)} thing(s)" if widening else "widens nothing",
        f"decides {past.changed} of the last {past.events} events otherwise" if past and past.events else "",
    )))  # fmt: skip
    conclusion = "failure" if failed else "action_required" if widening else "success"
    return HeadReport(repository, sha, title, "\n\n".join(filter(None, parts))[:_CHARACTERS], conclusion, name=CHECK, notes=notes)


def _section(title: str, lines: Sequence[str]) -> str:
    if not title:
        return ""
    shown = [f"- {neutralise.markdown(printable(line, 300))}" for line in lines[:_SHOWN]]
    more = [f"- and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([f"**{title}**", *shown, *more])


def _past(past: Difference) -> str:
    if not past.events:
        return "No past events to compare with."
    rows = [
        f"{row['agent']}: {row['before']} runs before, {row['after']} after"
        for row in past.by_agent({}, {})
        if row["before"] != row["after"]
    ]
    return _section(f"Of the last {past.events} events, {past.changed} would be decided otherwise", rows)
