"""Accept deliveries: each once, and none acknowledged before it is kept.

Requests meet in groups: one thread commits whatever has gathered, with the audit entries, and then answers all. Whether an event can match
a rule is known by then, so one that cannot is kept as such in the same commit, and nothing more happens for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from potato.config.config import Config
from potato.core.event import Event
from potato.core.expression import Reading
from potato.errors import PotatoError
from potato.hub.approvals import commands_of
from potato.hub.book import CHECK, Book
from potato.hub.entries import delivery_entry
from potato.hub.report import REPORT
from potato.hub.watchman import tells_health
from potato.ports import Delivery, Entry, Store
from potato.ports.hub import Answer, Arrival, DeliveryState, Inbox

GROUP: Final = 64
WINDOW_S: Final = 0.002
MAX_WAITING: Final = 768
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
REST_S: Final = 0.5
RETRY_AFTER_S: Final = 5
TURN_S: Final = 0.02
_FARTHEST_S: Final = 86_400.0
_REMEMBERED: Final = 20_000
_TOLD_S: Final = 5.0


def accept(store: Store, delivery: Delivery, event: Event) -> bool:
    """Whether it is new. Raises `PotatoError` when the id came before with another body."""
    return store.record_delivery(delivery, delivery_entry(delivery, event))


def _is_own_report(event: Event) -> bool:
    """Whether it is about a check run that this hub itself writes: whoever acts on that acts on himself."""
    return event.event == "check_run" and event.fields.get("check") in (REPORT, CHECK)


class Overloaded(PotatoError):  # noqa: N818 - it names the hub's state
    """Nothing was kept; the sender shall come again."""


class Intake:
    """`reader` makes the event of a delivery, `same_event` what repetitions have in common; `kept` rings when something is to decide.

    It lives in one loop; only the commits are made in a thread, one after the other.
    """

    def __init__(self, inbox: Inbox, book: Book, reader: Callable[[Delivery], Event], same_event: Callable[[Event], str | None],
                 kept: Callable[[], None]) -> None:  # fmt: skip
        self._inbox = inbox
        self._book = book
        self._reader = reader
        self._same_event = same_event
        self._kept = kept
        self._watches = (-1, False)
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._commit: asyncio.Task[None] | None = None
        self._turns: dict[str, float] = {}
        self._resting_until = 0.0
        self._refused: Counter[str] = Counter()
        self._telling: asyncio.TimerHandle | None = None
        self.answers: Counter[str] = Counter()

    async def receive(self, delivery: Delivery) -> Answer:
        """Keep it. Raises `UsageError` if it is no event, `Overloaded`, and `PotatoError` if the database refuses."""
        if len(self._waiting) >= MAX_WAITING or self._bytes > MAX_WAITING_BYTES or self._loop.time() < self._resting_until:
            self.answers["overloaded"] += 1
            raise Overloaded("overloaded", "there is more than can be kept right now.", "Send it again later.")
        waiting = _Waiting(self.arrival(delivery), self._loop.create_future())
        self._waiting.append(waiting)
        self._bytes += len(delivery.body)
        self._schedule()
        answer = await waiting.answer
        self.answers[answer] += 1
        return answer

    def arrival(self, delivery: Delivery) -> Arrival:
        """What is kept of it. Raises `UsageError` if it is no event."""
        event = self._reader(delivery)
        config = self._book.known(event.repository)
        can_match = config is None or self._matches(config, event)
        digest = (config or self._book.base).digest
        entry = delivery_entry(delivery, event)
        entry = Entry(entry.kind, {**entry.body, "config": digest, "can_match": can_match})
        same = self._same_event(event) if can_match else None
        state: DeliveryState = "accepted" if can_match else "ignored"
        turn = self._turn(event.repository or "") if can_match else 0.0
        return Arrival(delivery, entry, state, event.repository, digest, event.head_sha, same, turn)

    def _matches(self, config: Config, event: Event) -> bool:
        """Whether there is anything to decide or to do about it."""
        true, unknown = config.table.match(Reading(event.fields))
        if (true or unknown) and not _is_own_report(event):
            return True
        return (self._watched() and tells_health(event)) or bool(commands_of(event)) or self._book.concerned(event)

    def _watched(self) -> bool:
        """Whether a guard wants to know how CI does."""
        if self._watches[0] != self._book.generation:
            self._watches = (self._book.generation, any(guard.health for guard in self._book.guards()))
        return self._watches[1]

    def _turn(self, repository: str) -> float:
        """When it is its repository's turn to be decided: a flood of one does not keep the others waiting.

        Turns are times, each a little after the repository's last; one that was quiet has its turn now.
        """
        now = time.time()
        turn = min(max(now, self._turns.pop(repository, 0.0) + TURN_S), now + _FARTHEST_S)
        self._turns[repository] = turn  # at the end: the first is the one longest quiet
        if len(self._turns) > _REMEMBERED:
            del self._turns[next(iter(self._turns))]
        return turn

    def refused(self, code: str) -> None:
        """Count a request that was not a delivery; the log is told of them together, so that a flood of them is no flood there."""
        self._refused[code] += 1
        self.answers[f"refused-{code}"] += 1
        if self._telling is None:
            self._telling = self._loop.call_later(_TOLD_S, self._tell_refusals)

    async def close(self) -> None:
        """Commit what waits, and end."""
        while self._waiting or self._commit:
            self._begin()
            if self._commit:
                await self._commit
        if self._telling is not None:
            self._telling.cancel()
            await self._note(self._refused)
        await asyncio.to_thread(self._thread.shutdown)

    # groups

    def _schedule(self) -> None:
        """A group begins when it is full, when the window is over, or when the commit before it ends."""
        if self._commit is not None:
            return
        if len(self._waiting) >= GROUP:
            self._begin()
        elif self._timer is None:
            self._timer = self._loop.call_later(WINDOW_S, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._commit is None:
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            self._bytes -= sum(len(waiting.arrival.delivery.body) for waiting in group)
            self._commit = self._loop.create_task(self._keep(group))

    async def _keep(self, group: list[_Waiting]) -> None:
        """Commit a group and answer it; whatever happens, nobody is answered as if it were kept who is not."""
        try:
            await self._keep_together(group)
        except Exception as error:  # noqa: BLE001 - see above
            known = error if isinstance(error, PotatoError) else PotatoError("internal-error", f"{type(error).__name__} while keeping it.")
            self._resting_until = self._loop.time() + REST_S
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(known)
        finally:
            self._commit = None
            self._begin()

    async def _keep_together(self, group: list[_Waiting]) -> None:
        try:
            answers = await self._loop.run_in_executor(self._thread, self._inbox.accept, [waiting.arrival for waiting in group])
        except PotatoError:
            if len(group) == 1:
                raise
            await self._keep_together(group[:1])  # one that the database does not take must not keep the others out
            await self._keep_together(group[1:])
            return
        for waiting, answer in zip(group, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
        if any(waiting.arrival.state == "accepted" for waiting in group):
            self._kept()

    def _tell_refusals(self) -> None:
        counted, self._refused = self._refused, Counter()
        self._telling = None
        task = self._loop.create_task(self._note(counted))
        task.add_done_callback(lambda done: done.exception())

    async def _note(self, counted: Counter[str]) -> None:
        try:
            entry = Entry("rejected", {"requests": dict(sorted(counted.items()))})
            await self._loop.run_in_executor(self._thread, self._inbox.note, entry)
        except PotatoError:
            for code, count in counted.items():  # later, with those that come until then
                self._refused[code] += count


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A delivery and who waits for its answer."""

    arrival: Arrival
    answer: asyncio.Future[Answer]
