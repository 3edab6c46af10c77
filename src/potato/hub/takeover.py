"""Leases: a process that does not beat any more loses what it holds, and may change nothing from then on.

No clocks are compared. A process counts its beats up in the database; every hub watches the counters with its own monotonic clock, and
buries who has not counted for `LEASE_S`. The process itself refuses to write to the forge once its last beat began that long ago: that is
earlier than anyone can have buried it. A process that was frozen finds either its lease over, or its attempt held by another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from potato.errors import PotatoError
from potato.ports import Entry, Fenced
from potato.ports.hub import Process, Roster

BEAT_S: Final = 1.0
LEASE_S: Final = 5.0
SWEEP_S: Final = 0.5
_FROZEN_S: Final = 2.0
_LOG = logging.getLogger("potato")

Clock = Callable[[], float]


def uptime() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """This process's own. `lost` is called once it was buried."""

    def __init__(self, roster: Roster, process: Process, lost: Callable[[], None], clock: Clock = uptime) -> None:
        self._roster = roster
        self._process = process
        self._lost = lost
        self._clock = clock
        self._until = 0.0

    async def join(self) -> None:
        """Enter the roster."""
        begun = self._clock()
        told = {"process": self._process.id, "kind": self._process.kind, "host": self._process.host, "slots": self._process.slots}
        await asyncio.to_thread(self._roster.join, self._process, Entry("process-joined", told))
        self._until = begun + LEASE_S

    def check(self) -> None:
        """Raises `Fenced` if others may have taken over."""
        if self._clock() > self._until:
            raise Fenced("lease-over", "this process did not reach the database for too long; others may have taken over.")

    async def run(self) -> None:
        """Beat until it is lost."""
        while True:
            begun = self._clock()
            try:
                alive = await asyncio.to_thread(self._roster.beat, self._process.id)
            except PotatoError as error:
                _LOG.warning("no beat: %s", error)
            else:
                if not alive:
                    self._until = 0.0
                    self._lost()
                    return
                self._until = begun + LEASE_S
            await asyncio.sleep(max(0.0, BEAT_S - (self._clock() - begun)))

    async def leave(self, *, why: str) -> None:
        """Give back what is held, at once."""
        self._until = 0.0
        await asyncio.to_thread(self._roster.bury, self._process.id, None, _left(self._process.id, why), in_order=True)


class Watch:
    """Looks after the others. `freed` is called when something was put back."""

    def __init__(self, roster: Roster, own_id: str, freed: Callable[[], None], clock: Clock = time.monotonic) -> None:
        self._roster = roster
        self._own_id = own_id
        self._freed = freed
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._swept_at = clock()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.sweep()
            except PotatoError as error:
                _LOG.warning("processes are not watched: %s", error)
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Bury who has not beaten for a lease's time of ours, and whoever holds something without being entered."""
        processes = await asyncio.to_thread(self._roster.all)
        now = self._clock()
        if now - self._swept_at > _FROZEN_S:
            self._seen.clear()  # it was we who slept
        self._swept_at = now
        self._seen = {p.id: self._observed(p, now) for p in processes if p.id != self._own_id}
        dead = [(name, beat) for name, (beat, since) in self._seen.items() if now - since > LEASE_S]
        for name, beat in dead:
            await self._bury(name, beat, "it stopped beating")
        for name in await asyncio.to_thread(self._roster.orphans):
            if name != self._own_id:
                await self._bury(name, None, "it is not entered")

    def _observed(self, process: Process, now: float) -> tuple[int, float]:
        beat, since = self._seen.get(process.id, (-1, now))
        return (beat, since) if beat == process.beat else (process.beat, now)

    async def _bury(self, name: str, beat: int | None, why: str) -> None:
        taken = await asyncio.to_thread(self._roster.bury, name, beat, _left(name, why))
        if taken is not None:
            _LOG.warning("process %s is gone (%s); %d run(s) taken over", name, why, len(taken))
            self._freed()


def _left(name: str, why: str) -> Entry:
    return Entry("process-left", {"process": name, "reason": why})
