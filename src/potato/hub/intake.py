"""Accept deliveries: each once, and none acknowledged before it is kept.

Requests meet in groups: one thread commits whatever has gathered, with the audit entries, and then answers all. Whether an event can match
a rule is known by then, so one that cannot is kept as such in the same commit, and nothing more happens for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from potato.config.loader import Config
from potato.core.event import Event
from potato.core.expression import Reading
from potato.errors import PotatoError
from potato.hub.entries import delivery_entry
from potato.ports import Delivery, Entry, Store
from potato.ports.hub import Answer, Arrival, Inbox

GROUP: Final = 64
WINDOW_S: Final = 0.002
MAX_WAITING: Final = 768
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
REST_S: Final = 0.5
RETRY_AFTER_S: Final = 5
_TOLD_S: Final = 5.0


def accept(store: Store, delivery: Delivery, event: Event) -> bool:
    """Whether it is new. Raises `PotatoError` when the id came before with another body."""
    return store.record_delivery(delivery, delivery_entry(delivery, event))


class Overloaded(PotatoError):  # noqa: N818 - it names the hub's state
    """Nothing was kept; the sender shall come again."""


class Intake:
    """`reader` makes the event of a delivery, `same_event` what repetitions have in common. `kept` is called after each commit."""

    def __init__(self, inbox: Inbox, config: Config, reader: Callable[[Delivery], Event], same_event: Callable[[Event], str | None],
                 kept: Callable[[], None]) -> None:  # fmt: skip
        self._inbox = inbox
        self._config = config
        self._reader = reader
        self._same_event = same_event
        self._kept = kept
        self._waiting: deque[tuple[Arrival, asyncio.Future[Answer]]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self._resting_until = 0.0
        self._refused: Counter[str] = Counter()
        self._refusals_told_at = 0.0
        self.answers: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
        self._thread.start()

    async def receive(self, delivery: Delivery) -> Answer:
        """Keep it. Raises `UsageError` if it is no event, `Overloaded`, and `PotatoError` if the database refuses."""
        if len(self._waiting) >= MAX_WAITING or self._bytes > MAX_WAITING_BYTES or time.monotonic() < self._resting_until:
            self.answers["overloaded"] += 1
            raise Overloaded("overloaded", "there is more than can be kept right now.", "Send it again later.")
        arrival = self.arrival(delivery)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append((arrival, future))
            self._bytes += len(delivery.body)
            self._changed.notify()
        answer = await future
        self.answers[answer] += 1
        return answer

    def arrival(self, delivery: Delivery) -> Arrival:
        """What is kept of it. Raises `UsageError` if it is no event."""
        event = self._reader(delivery)
        true, unknown = self._config.table.match(Reading(event.fields))
        can_match = bool(true or unknown)
        entry = delivery_entry(delivery, event)
        entry = replace(entry, body={**entry.body, "config": self._config.digest, "can_match": can_match})
        same = self._same_event(event) if can_match else None
        return Arrival(delivery, entry, "accepted" if can_match else "ignored", event.repository, self._config.digest, event.head_sha, same)

    def refused(self, code: str) -> None:
        """Count a request that was not a delivery; the log is told of them together, so that a flood of them is no flood there."""
        self._refused[code] += 1
        self.answers[f"refused-{code}"] += 1
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """Commit what waits, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(30)

    # the thread

    def _work(self) -> None:
        while True:
            group = self._gather()
            if group:
                self._commit(group)
            self._tell_refusals()
            if self._ended and not self._waiting:
                return

    def _gather(self) -> list[tuple[Arrival, asyncio.Future[Answer]]]:
        """Wait for one, then for as many as come within the window."""
        with self._changed:
            if not self._waiting and not self._ended:
                self._changed.wait(_TOLD_S if self._refused else 60.0)
            if 0 < len(self._waiting) < GROUP and not self._ended:
                until = time.monotonic() + WINDOW_S
                while len(self._waiting) < GROUP and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            self._bytes -= sum(len(arrival.delivery.body) for arrival, _ in group)
        return group

    def _commit(self, group: list[tuple[Arrival, asyncio.Future[Answer]]]) -> None:
        loop = group[0][1].get_loop()
        try:
            answers = self._inbox.accept([arrival for arrival, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody is answered as if it were kept
            if len(group) > 1:  # one that the database does not take must not keep the others out
                self._commit(group[:1])
                rest = group[1:]
                if time.monotonic() >= self._resting_until:
                    self._commit(rest)
                    return
                group = rest
            known = error if isinstance(error, PotatoError) else PotatoError("internal-error", f"{type(error).__name__} while keeping it.")
            self._resting_until = time.monotonic() + REST_S
            loop.call_soon_threadsafe(_fail, [future for _, future in group], known)
            return
        loop.call_soon_threadsafe(_answer, [future for _, future in group], answers)
        self._kept()

    def _tell_refusals(self) -> None:
        if not self._refused or (time.monotonic() - self._refusals_told_at < _TOLD_S and not self._ended):
            return
        counted, self._refused = self._refused, Counter()
        self._refusals_told_at = time.monotonic()
        try:
            self._inbox.note(Entry("rejected", {"requests": dict(sorted(counted.items()))}))
        except PotatoError:
            self._refused.update(counted)


def _answer(futures: list[asyncio.Future[Answer]], answers: list[Answer]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def _fail(futures: list[asyncio.Future[Answer]], error: PotatoError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
