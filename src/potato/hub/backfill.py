"""Find what did not arrive: failed deliveries are asked for again, and open pull requests whose head nobody saw become events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from potato.config.models import BackfillModel
from potato.errors import PotatoError
from potato.ports import Delivery
from potato.ports.hub import Arrival, Inbox, Missed

_LOG = logging.getLogger("potato")
_SETTLING_S = 20.0


class Backfill:
    """`arrival` is the intake's; `kept` is called when something was found. Looking twice changes nothing."""

    def __init__(self, missed: Missed, inbox: Inbox, setting: BackfillModel, arrival: Callable[[Delivery], Arrival],
                 kept: Callable[[], None]) -> None:  # fmt: skip
        self._missed = missed
        self._inbox = inbox
        self._setting = setting
        self._arrival = arrival
        self._kept = kept
        self._unseen: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                redelivered = await self.redeliver()
                found = await self.poll()
                if redelivered or found:
                    _LOG.info("backfill: %d asked for again, %d heads found", redelivered, found)
            except PotatoError as error:
                _LOG.warning("backfill: %s", error)
            except Exception:  # noqa: BLE001 - what GitHub says of one thing must not end the search for others
                _LOG.exception("backfill")
            again = min(_SETTLING_S, self._setting.every) if self._unseen else self._setting.every
            await asyncio.sleep(again)

    async def redeliver(self) -> int:
        """Ask for what failed and is not here; how many."""
        failed = await self._missed.failed(self._setting.repositories, app=self._setting.app)
        here = await asyncio.to_thread(self._inbox.has, [item.delivery_id for item in failed]) if failed else set[str]()
        count = 0
        for item in failed:
            if item.delivery_id in here:
                continue
            try:
                await self._missed.redeliver(item)
                count += 1
            except PotatoError as error:
                _LOG.warning("delivery %s cannot be had again: %s", item.delivery_id, error)
        return count

    async def poll(self) -> int:
        """Make events of heads that are still unseen at a second look: their own may be on the way. Gives how many."""
        unseen: set[tuple[str, str]] = set()
        count = 0
        for repository in self._setting.repositories:
            heads = await self._missed.open_heads(repository)
            seen = await asyncio.to_thread(self._inbox.decided_heads, repository, [head for head, _ in heads]) if heads else set[str]()
            for head, delivery in heads:
                if head in seen:
                    continue
                if (repository, head) not in self._unseen:
                    unseen.add((repository, head))
                    continue
                arrival = self._arrival(delivery)
                if await asyncio.to_thread(self._inbox.accept, [arrival]) == ["new"]:
                    count += 1
        self._unseen = unseen
        if count:
            self._kept()
        return count
