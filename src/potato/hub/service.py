"""The long-running hub, or a worker: all its loops, from the first beat to the last."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

from potato.core.event import Event
from potato.errors import PotatoError
from potato.hub.admission import Admission
from potato.hub.approvals import Desk
from potato.hub.backfill import Backfill
from potato.hub.book import Book
from potato.hub.config_check import ConfigCheck
from potato.hub.context import Hub
from potato.hub.intake import Intake
from potato.hub.relay import Relay
from potato.hub.report import Announcer, Reporter
from potato.hub.schedule import Scheduler
from potato.hub.takeover import SWEEP_S, Lease, Watch
from potato.hub.wake import Wake
from potato.hub.watchman import Watchman
from potato.hub.workflow import perform
from potato.ports import RunRecord
from potato.ports.control import Approvals, Switch, Watchtower
from potato.ports.hub import Configs, Executor, Inbox, Marks, Missed, Notices, Process, Queue, Reports, Roster, StatusPage

_STOPS_S: Final = 0.15
_PRUNE_S: Final = 60.0
_TROUBLE_S: Final = 1.0
_PRUNES: Final = 20
_THREADS: Final = 48
_KEPT: Final = timedelta(minutes=10)
Loop = Callable[[], Coroutine[Any, Any, None]]
_LOG = logging.getLogger("potato")


class Disposable(Protocol):
    """Something with connections to give back."""

    def dispose(self) -> None:
        """Give them back."""
        ...


class Closing(Protocol):
    """Something to end."""

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class Bells:
    """Tells the loops of this process that something changed; runs change in another thread's loop."""

    def __init__(self) -> None:
        self.admission: Wake | None = None

    def run_changed(self, run: RunRecord) -> None:
        """A run came, or a slot is free."""
        if self.admission is not None:
            self.admission.ring()
        if run.state not in ("queued", "running", "applying"):
            _LOG.info("run %s of %s %s: %s", run.id, run.agent, run.state, " ".join(run.reason.split())[:200])


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of. `deciding` is the hub as event workflows see it, `working` as runs do: each has its own event loop.

    Without `deciding` it is a worker: it performs runs and nothing else.
    """

    process: Process
    working: Hub
    executor: Executor
    roster: Roster
    queue: Queue
    bells: Bells
    deciding: Hub | None
    book: Book | None
    check: ConfigCheck | None
    inbox: Inbox
    reports: Reports
    notices: Notices
    switch: Switch
    approvals: Approvals
    watchtower: Watchtower
    status_page: StatusPage
    marks: Marks
    configs: Configs
    missed: Missed | None
    identify: Callable[[str, Mapping[str, str]], Awaitable[str]] | None
    same_event: Callable[[Event], str | None]
    lease: Lease
    drain_s: float
    closing: tuple[Closing, ...]
    database: Disposable


class Service:
    """`lost` is set when other processes took this one for dead: it must end, and may begin anew under another name."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.intake: Intake | None = None
        self.desk: Desk | None = None
        self.ready = False
        self.started_at = time.monotonic()

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Until `stop` is set; then what goes on may end within the time to drain, and the rest is given back."""
        parts = self.parts
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="hub"))
        loops: list[Loop] = [parts.lease.run, self._stops]
        relay: Relay | None = None
        if parts.deciding is not None and parts.book is not None:
            await parts.book.begin()
            desk = self.desk = Desk(parts.deciding, parts.book, parts.approvals)
            relay = Relay(parts.deciding, parts.book, parts.check, parts.inbox, parts.watchtower, desk, parts.process.id)
            loops += [parts.book.run, desk.run, *self._hub_loops(parts.deciding, parts.book, relay)]
        await parts.lease.join()  # first: what belongs to nobody who is entered may be pruned by others
        await asyncio.to_thread(parts.executor.launch, self._perform, relay.decide if relay else _never)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            tasks = [asyncio.create_task(self._guarded(loop)) for loop in loops]
            stack.push_async_callback(_cancel, tasks)
            self.ready = True
            started()
            await stop.wait()
            self.ready = False
            await self._drain()

    def _hub_loops(self, hub: Hub, book: Book, relay: Relay) -> list[Loop]:
        parts, setting = self.parts, hub.config.document.hub
        watchman = Watchman(book.guards, parts.watchtower, parts.switch, parts.status_page, hub.clock, self._ring)
        admission = Admission(parts.queue, book.limits, watchman.holds)
        parts.bells.admission = admission.wake
        intake = self.intake = Intake(parts.inbox, book, hub.reader, parts.same_event, relay.wake.ring)
        loops: list[Loop] = [
            Watch(parts.roster, parts.process.id, admission.wake.ring).run,
            watchman.run,
            admission.run,
            partial(relay.run, parts.executor.start_event),
            Reporter(parts.reports, hub.forge, setting.url).run,
            Announcer(parts.notices, hub.forge, hub.reader).run,
            Scheduler(parts.marks, setting.schedules, hub.clock, intake.arrival, relay.wake.ring).run,
            partial(self._prune, setting.keep),
        ]
        if parts.missed is not None:
            loops.append(Backfill(parts.missed, parts.inbox, setting.backfill, intake.arrival, relay.wake.ring).run)
        return loops

    def _ring(self) -> None:
        if self.parts.bells.admission is not None:
            self.parts.bells.admission.ring()

    async def _perform(self, run_id: str, attempt: int) -> None:
        try:
            await perform(self.parts.working, run_id, attempt, self.parts.process.id)
        except PotatoError as error:
            _LOG.warning("run %s, attempt %d: %s", run_id, attempt, error)

    async def _stops(self) -> None:
        """Stop what was cancelled or superseded, and put back what this process left."""
        name, swept_at = self.parts.process.id, 0.0
        while True:
            for run_id in await asyncio.to_thread(self.parts.queue.stopping, name):
                self.parts.executor.stop(run_id)
            if time.monotonic() - swept_at > SWEEP_S * 4:
                swept_at = time.monotonic()
                for run_id in await asyncio.to_thread(self.parts.roster.reclaim, name, self.parts.executor.active.__contains__):
                    _LOG.warning("run %s was left by its workflow; it waits again", run_id)
            await asyncio.sleep(_STOPS_S)

    async def _prune(self, keep_s: float) -> None:
        """Forget what is older than it is to be kept."""
        while True:
            await asyncio.sleep(_PRUNE_S)
            for _ in range(_PRUNES):
                if not await asyncio.to_thread(self.parts.inbox.prune, keep_s):
                    break
            living = [process.id for process in await asyncio.to_thread(self.parts.roster.all)]
            before = self.parts.working.clock.now() - _KEPT
            for _ in range(_PRUNES):
                if not await asyncio.to_thread(self.parts.executor.prune, living, before):
                    break

    async def _guarded(self, loop: Loop) -> None:
        """A database that is away for a while does not end a loop; a bug does, and `/readyz` says so."""
        while True:
            try:
                await loop()
            except PotatoError as error:
                _LOG.warning("%s", error)
                await asyncio.sleep(_TROUBLE_S)
            except Exception:  # noqa: BLE001 - told of here: the other loops go on, so nobody else would
                self.ready = False
                _LOG.exception("a loop of the hub ended; the process must be started again")
                return
            else:
                return

    async def _drain(self) -> None:
        """Take nothing more; let what goes on come to its end."""
        try:
            await asyncio.to_thread(self.parts.roster.drain, self.parts.process.id)
        except PotatoError as error:
            _LOG.warning("not drained: %s", error)
            return
        until = time.monotonic() + self.parts.drain_s
        if self.parts.executor.active:
            _LOG.info("waiting up to %.0f s for %d run(s)", self.parts.drain_s, len(self.parts.executor.active))
        while self.parts.executor.active and time.monotonic() < until:  # noqa: ASYNC110 - they end in another loop
            await asyncio.sleep(0.1)

    async def _close(self) -> None:
        """Give back what is held, then end agents that still run: their results count no more."""
        if self.intake is not None:
            await self.intake.close()
        try:
            await self.parts.lease.leave(why="it was stopped")
        except PotatoError as error:
            _LOG.warning("not signed off: %s", error)
        await asyncio.to_thread(self.parts.executor.close)
        for part in self.parts.closing:
            await part.close()
        self.parts.database.dispose()


async def _never(_delivery_id: str) -> None:
    """A worker decides no events."""


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
