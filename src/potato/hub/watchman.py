"""The hub's own guards: is CI ill, is there a freeze, has the clock jumped? What cannot be told holds.

They are asked at every beat; admission takes their last answer, and holds everything when that is old.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from potato.config.controls import Guard
from potato.core.event import Event
from potato.core.hold import Hold
from potato.core.infrastructure import OUTCOMES, Outcome, classify, illness
from potato.errors import PotatoError
from potato.ports import Clock, Forge
from potato.ports.control import GuardState, Override, Switch, Watchtower
from potato.ports.hub import StatusPage

BEAT_S: Final = 0.5
STALE_S: Final = 15.0
JUMP_S: Final = 3600.0
_STATUS_EVERY_S: Final = 30.0
_PAGES: Final = 4
_TELL_S: Final = 10.0
CLOCK: Final = "clock"
_LOG = logging.getLogger("potato")


def boot_time() -> float:
    """Seconds that no setting of the clock changes, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Watchman:
    """`guards` is asked anew at each look; `steady` is a clock that is never set."""

    def __init__(self, guards: Callable[[], Sequence[Guard]], tower: Watchtower, switch: Switch, page: StatusPage, clock: Clock,
                 changed: Callable[[], None], steady: Callable[[], float] = boot_time) -> None:  # fmt: skip
        self._guards = guards
        self._tower = tower
        self._switch = switch
        self._page = page
        self._clock = clock
        self._changed = changed
        self._steady = steady
        self._offset = clock.now().timestamp() - steady()
        self._holds: tuple[Hold, ...] = ()
        self._looked_at: float | None = None
        self._pages: dict[str, tuple[float, str]] = {}
        self._since: dict[str, str] = {}
        self._told: list[tuple[str, bool, str]] = []
        self._told_at = 0.0

    def holds(self) -> tuple[Hold, ...]:
        """What holds now; everything before the first look, and when the last one is long ago."""
        if self._looked_at is None or self._steady() - self._looked_at > STALE_S:
            return (Hold("guards", "they have not been looked at yet"),) if self._guards() else ()
        return self._holds

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(BEAT_S)

    async def look(self) -> None:
        """Ask every guard once. Raises `PotatoError` when the database does not answer: then the last answer grows old."""
        now = self._clock.now()
        guards = self._guards()
        aside, seen = await asyncio.to_thread(self._read, guards, now.timestamp())
        found = [(guard.name, await self._ask(guard, now, seen.get(guard.name, ()))) for guard in guards]
        found.append((CLOCK, self._clock_jump(now)))
        states = [self._state(name, hold, aside.get(name), now) for name, hold in found]
        told = [(state.guard, state.holds, state.reason) for state in states]
        if told != self._told or self._steady() - self._told_at > _TELL_S:
            await asyncio.to_thread(self._tower.note, states)
            self._told, self._told_at = told, self._steady()
        before = self._holds
        self._holds = tuple(hold for name, hold in found if hold is not None and name not in aside)
        self._looked_at = self._steady()
        if self._holds != before:
            self._changed()

    def _read(self, guards: Sequence[Guard], now: float) -> tuple[dict[str, Override], dict[str, Sequence[Outcome]]]:
        """All that the database knows, in one go."""
        aside = {one.guard: one for one in self._switch.overrides()}
        asked = [(guard.name, guard.health, guard.reach) for guard in guards if guard.health is not None]
        return aside, {name: self._tower.outcomes(now - health.window_s, reach.repositories) for name, health, reach in asked}

    def _state(self, name: str, hold: Hold | None, aside: Override | None, now: datetime) -> GuardState:
        if hold is None:
            self._since.pop(name, None)
            return GuardState(name, holds=False, reason="", since=now.isoformat(), until=None)
        since = self._since.setdefault(name, now.isoformat())
        told = f"set aside by {aside.by}: {aside.note}" if aside else hold.reason
        return GuardState(name, holds=aside is None, reason=told, since=since, until=aside.until if aside else hold.until)

    async def _ask(self, guard: Guard, now: datetime, seen: Sequence[Outcome]) -> Hold | None:
        """Whether it holds; a guard that cannot be asked does."""
        try:
            answer = await self._answer(guard, now, seen)
        except PotatoError as error:
            answer = (f"it cannot tell: {error.message}", None)
        if answer is None:
            return None
        reason, until = answer
        note = f" ({guard.note})" if guard.note else ""
        return Hold(f"guard {guard.name}", f"{reason}{note}", guard.reach, until, _when(until))

    async def _answer(self, guard: Guard, now: datetime, seen: Sequence[Outcome]) -> tuple[str, float | None] | None:
        if guard.freeze is not None:
            end = guard.freeze.until(now)
            return ("frozen", end.timestamp()) if end else None
        if guard.health is None:
            return None
        if guard.status is not None and (incident := await self._incident(guard.status)):
            return incident, None
        return illness(seen, guard.health, now.timestamp())

    async def _incident(self, url: str) -> str | None:
        """What the status page says, asked now and then. Raises `PotatoError` if it does not answer."""
        asked_at, told = self._pages.get(url, (0.0, ""))
        if self._steady() - asked_at > _STATUS_EVERY_S or url not in self._pages:
            told = await self._page.incident(url) or ""
            while len(self._pages) >= _PAGES:
                self._pages.pop(next(iter(self._pages)))
            self._pages[url] = (self._steady(), told)
        return told or None

    def _clock_jump(self, now: datetime) -> Hold | None:
        """A clock that was set by hours makes every pause, freeze and expiry wrong: a person must look."""
        jump = now.timestamp() - self._steady() - self._offset
        if abs(jump) <= JUMP_S:
            return None
        way = "forward" if jump > 0 else "back"
        return Hold("guard clock", f"the clock was set {way} by {abs(jump) / 3600:.0f} h; 'potato override clock' accepts it")


def _when(until: float | None) -> str:
    return f"until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC at least" if until is not None else ""


def tells_health(event: Event) -> bool:
    """Whether it is about a CI run that ended."""
    return event.event == "workflow_run" and event.action == "completed" and event.ci_run_id is not None


async def outcome_of(forge: Forge, event: Event) -> str:
    """`ok`, `own`, or a class of infrastructure failure; `unclear` where the log of a failure cannot be read."""
    outcome = str(event.fields.get("status") or "")
    if outcome in ("success", "neutral", "skipped", "cancelled", "action_required"):
        return "ok"
    if outcome in OUTCOMES:
        return "runner_lost"
    try:
        logs = (await forge.read(event, frozenset({"read_ci_logs"}))).get("logs")
    except PotatoError as error:
        _LOG.warning("the log of CI run %s cannot be read: %s", event.ci_run_id, error)
        return "unclear"
    return (classify(logs) or "own") if isinstance(logs, str) else "unclear"
