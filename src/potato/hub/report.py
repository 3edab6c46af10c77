"""What a commit's check run says: in five lines what was decided and why. It is written by whichever hub is free, until it stands there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Literal

from potato.core import neutralise
from potato.core.canonical import digest
from potato.core.event import Event
from potato.core.proposal import Comment
from potato.core.text import printable
from potato.errors import PotatoError
from potato.hub.attempt import RESTING
from potato.ports import Delivery, Forge, HeadReport, RunRecord
from potato.ports.hub import Notice, Notices, Reports

LINES: Final = 5
REPORT: Final = "potato"
"""The name of the check run."""

_AT_ONCE: Final = 10
_LOOK_S: Final = 0.3
_LATER_S: Final = 30.0
_LINE: Final = 160
_TEXT: Final = 1000
_LONGEST_S: Final = 3600.0
_WORDS: Final = {"awaiting_approval": "waits for approval"}
_FIRST: Final = (
    "failed",
    "blocked",
    "held",
    "awaiting_approval",
    "running",
    "applying",
    "queued",
    "succeeded",
    "superseded",
    "cancelled",
    "expired",
)
_LOG = logging.getLogger("potato")


def head_report(repository: str, head_sha: str, runs: Sequence[RunRecord], url: str | None) -> HeadReport:
    """The latest run of each agent on a commit, those that need eyes first."""
    latest = {run.agent: run for run in sorted(runs, key=lambda run: run.created_at)}
    shown = sorted(latest.values(), key=lambda run: _FIRST.index(run.state))
    lines = [_line(run) for run in shown]
    if len(lines) > LINES:
        rest = len(lines) - LINES + 1
        lines = [*lines[: LINES - 1], f"- and {rest} more agents"]
    counts = {state: sum(run.state == state for run in shown) for state in _FIRST}
    title = ", ".join(f"{count} {_WORDS.get(state, state)}" for state, count in counts.items() if count)
    link = f"{url.rstrip('/')}/api/v1/deliveries/{shown[0].delivery_id}" if url and shown else None
    return HeadReport(repository, head_sha, title or "no agent runs", "\n".join(lines), _conclusion(shown), link)


def _line(run: RunRecord) -> str:
    word = _WORDS.get(run.state, run.state)
    by = ", ".join(run.rules[:3])
    reason = neutralise.markdown(printable(" ".join(run.reason.split()), _LINE))
    ask = f" Answer with `/potato approve {_short(run)}` or `deny`." if run.state == "awaiting_approval" else ""
    return f"- **{run.agent}** {word} (rule {by}): {reason}{ask}"


def _short(run: RunRecord) -> str:
    waiting = next((proposal for proposal in run.proposals if proposal.verdict == "needs_approval"), None)
    return waiting.digest[7:19] if waiting else "DIGEST"


def _conclusion(runs: Sequence[RunRecord]) -> Literal["success", "failure", "neutral", "action_required"] | None:
    """Absent while something goes on; what waits for a person says so."""
    states = {run.state for run in runs}
    if states - RESTING:
        return None
    if "failed" in states:
        return "failure"
    if states & {"held", "awaiting_approval"}:
        return "action_required"
    return "success" if "succeeded" in states else "neutral"


class Announcer:
    """Says on pull requests and issues why automation stopped there: one comment for each topic, by whichever hub is free."""

    def __init__(self, notices: Notices, forge: Forge, reader: Callable[[Delivery], Event]) -> None:
        self._notices = notices
        self._forge = forge
        self._reader = reader

    async def run(self) -> None:
        """For ever."""
        while True:
            due = await asyncio.to_thread(self._notices.due, _AT_ONCE, _LATER_S)
            for notice in due:
                await self._say(notice)
            if len(due) < _AT_ONCE:
                await asyncio.sleep(_LOOK_S)

    async def _say(self, notice: Notice) -> None:
        key = digest(notice.topic)[7:19]
        body = f"**Potato** stopped here.\n\n{neutralise.markdown(printable(notice.text, _TEXT))}"
        try:
            actor = await self._forge.whoami()
            effect = await self._forge.apply(self._reader(notice.delivery), "potato", Comment(body=body, key=f"stop-{key}"), notice.topic)
        except Exception as error:  # noqa: BLE001 - what GitHub says of one subject must not end the others' notices
            _LOG.warning("notice on %s#%d: %s", notice.repository, notice.number, error)
            delay_s = min(_LATER_S * 2**notice.attempts, _LONGEST_S)
            await asyncio.to_thread(self._notices.unsaid, notice, delay_s, str(error))
        else:
            await asyncio.to_thread(self._notices.said, notice, actor, effect.tracks)


class Reporter:
    """Writes what is due."""

    def __init__(self, reports: Reports, forge: Forge, url: str | None) -> None:
        self._reports = reports
        self._forge = forge
        self._url = url

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                due = await asyncio.to_thread(self._reports.due, _AT_ONCE)
                await asyncio.gather(*(self._write(*item) for item in due))
            except PotatoError as error:
                _LOG.warning("no check runs are written: %s", error)
                due = []
            if len(due) < _AT_ONCE:
                await asyncio.sleep(_LOOK_S)

    async def _write(self, repository: str, head_sha: str, version: int, _delivery_id: str) -> None:
        runs = await asyncio.to_thread(self._reports.runs_on, repository, head_sha)
        report = head_report(repository, head_sha, runs, self._url)
        try:
            await self._forge.tell(report)
        except Exception as error:  # noqa: BLE001 - what GitHub says of one commit must not end the others' reports
            _LOG.warning("check run on %s of %s: %s", head_sha[:12], repository, error)
            await asyncio.to_thread(self._reports.untold, repository, head_sha, _LATER_S, str(error))
        else:
            await asyncio.to_thread(self._reports.told, report, version)
