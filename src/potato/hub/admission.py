"""Release waiting runs just in time: when a slot is free and no limit is reached, in the order of `potato.core.admission`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from potato.core.admission import Limits, choose
from potato.core.hold import Hold
from potato.errors import PotatoError
from potato.hub.wake import Wake
from potato.ports.hub import Queue

_LOOK_S: Final = 0.25
_TROUBLE_S: Final = 1.0
_LOG = logging.getLogger("potato")


class Admission:
    """Every process may release; a lock in the database lets one do so at a time. `limits` and `holds` are asked anew each time."""

    def __init__(self, queue: Queue, limits: Callable[[], Limits], holds: Callable[[], Sequence[Hold]] = tuple) -> None:
        self._queue = queue
        self._limits = limits
        self._holds = holds
        self.wake = Wake()
        self.released = 0

    async def run(self) -> None:
        """For ever: at each ring, and now and then for what other processes did."""
        while True:
            try:
                while released := await asyncio.to_thread(self._queue.admit, partial(choose, limits=self._limits(), holds=self._holds())):
                    self.released += len(released)
            except PotatoError as error:
                _LOG.warning("nothing is released: %s", error)
                await asyncio.sleep(_TROUBLE_S)
            await self.wake.wait(_LOOK_S)
