"""From kept deliveries to decisions: so many at once, the oldest first, again later where the forge has no answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from potato.core.event import Event
from potato.errors import TRANSIENT, AuthError, PotatoError, UsageError
from potato.hub.approvals import Desk
from potato.hub.book import Book
from potato.hub.config_check import ConfigCheck
from potato.hub.context import Hub
from potato.hub.wake import Wake
from potato.hub.watchman import outcome_of, tells_health
from potato.hub.workflow import decide_event
from potato.ports import Delivery, Entry
from potato.ports.control import Watchtower
from potato.ports.hub import Inbox, Undecided

AT_ONCE: Final = 24
_LOOK_S: Final = 0.5
_RECLAIM_S: Final = 5.0
_PATIENT_ATTEMPTS: Final = 150
_LONGEST_WAIT_S: Final = 600.0
_LOG = logging.getLogger("potato")

StartEvent = Callable[[str], Awaitable[None]]


class Relay:
    """Takes deliveries for this process and has each decided by itself."""

    def __init__(
        self, hub: Hub, book: Book, check: ConfigCheck | None, inbox: Inbox, tower: Watchtower, desk: Desk, process_id: str
    ) -> None:
        self._hub = hub
        self._book = book
        self._check = check
        self._inbox = inbox
        self._tower = tower
        self._desk = desk
        self._process_id = process_id
        self._taken: dict[str, Undecided] = {}
        self.wake = Wake()

    async def run(self, start: StartEvent) -> None:
        """For ever. Deliveries of other sources than this process's webhook are found by looking now and then."""
        reclaimed_at = 0.0
        while True:
            room = AT_ONCE - len(self._taken)
            found = await asyncio.to_thread(self._inbox.take, self._process_id, room) if room > 0 else []
            for undecided in found:
                self._taken[undecided.delivery.delivery_id] = undecided
                try:
                    await start(undecided.delivery.delivery_id)
                except Exception:  # noqa: BLE001 - told; it is reclaimed below
                    _LOG.exception("delivery %s was not begun", undecided.delivery.delivery_id)
                    self._taken.pop(undecided.delivery.delivery_id, None)
            if time.monotonic() - reclaimed_at > _RECLAIM_S:
                reclaimed_at = time.monotonic()
                await asyncio.to_thread(self._inbox.reclaim, self._process_id, self._taken.__contains__)
            if not found or room == len(found):
                await self.wake.wait(_LOOK_S)

    async def decide(self, delivery_id: str) -> None:
        """The workflow of one event. Whatever happens, the delivery's state says it."""
        undecided = self._taken.get(delivery_id)
        if undecided is None:
            return
        try:
            await self._decide(undecided.delivery, undecided.attempt)
        finally:
            self._taken.pop(delivery_id, None)
            self.wake.ring()

    async def _decide(self, delivery: Delivery, attempt: int) -> None:
        try:
            event = self._hub.reader(delivery)
            await self._observe(event)
            await self._desk.obey(event, delivery)
            await self._book.heard(event)
            hub = replace(self._hub, config=await self._book.get(event.repository))
            await decide_event(hub, delivery, event, strict=False, patient=attempt < _PATIENT_ATTEMPTS)
            await self._check_config(event)
        except UsageError as error:
            await self._reject(delivery, str(error))
        except PotatoError as error:
            if error.code in TRANSIENT or isinstance(error, AuthError):
                delay_s = min(2.0 ** min(attempt, 10), _LONGEST_WAIT_S)
                _LOG.warning("delivery %s: %s; decided again in %.0f s", delivery.delivery_id, error, delay_s)
                reason = str(error)
                await self._hub.durable.commit(lambda: self._inbox.postpone(delivery.delivery_id, delay_s, reason))
            else:
                await self._reject(delivery, str(error))
        except Exception as error:  # noqa: BLE001 - a bug met by one event must not end the relay
            _LOG.exception("delivery %s could not be decided", delivery.delivery_id)
            await self._reject(delivery, f"internal-error: {type(error).__name__}")

    async def _check_config(self, event: Event) -> None:
        """Tell a pull request what it proposes; that undoes no decision. Raises `PotatoError` when the forge does not answer right now."""
        try:
            if self._check is not None:
                await self._check.check(event)
        except PotatoError as error:
            if error.code in TRANSIENT or isinstance(error, AuthError):
                raise
            _LOG.warning("the config that %s#%s proposes was not checked: %s", event.repository, event.number, error)
        except Exception:  # noqa: BLE001 - see above
            _LOG.exception("the config that %s#%s proposes could not be checked", event.repository, event.number)

    async def _observe(self, event: Event) -> None:
        """Keep how a CI run ended, if a guard wants to know."""
        if not tells_health(event) or not any(guard.health for guard in self._book.guards()):
            return
        outcome = await outcome_of(self._hub.forge, event)
        name = f"{event.repository}/{event.ci_run_id}/{event.head_sha}/{event.occurred_at or ''}"
        await self._hub.durable.commit(lambda: self._tower.observe(name, event.repository or "", outcome))

    async def _reject(self, delivery: Delivery, reason: str) -> None:
        entry = Entry("delivery-rejected", {"delivery_id": delivery.delivery_id, "reason": reason})
        await self._hub.durable.commit(lambda: self._inbox.reject(delivery.delivery_id, reason, entry))
