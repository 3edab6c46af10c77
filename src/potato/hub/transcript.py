"""What an agent did, as it happens: kept in the store event by event, without secrets, and not without bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from potato.core.secret_scan import leaked, masked
from potato.core.text import printable
from potato.errors import PotatoError
from potato.ports import TranscriptEvent
from potato.ports.session import EventKind

if TYPE_CHECKING:
    from potato.hub.context import Hub

MAX_EVENTS: Final = 2_000
MAX_CHARACTERS: Final = 16_000
MAX_TOTAL: Final = 2_000_000
_FLUSH_S: Final = 0.25
_TAIL: Final = 400
_LARGEST: Final = 2**53
_BEYOND: Final = 4_000
"""So much is looked at beyond what is shown, for a secret that stands across the cut."""


class Transcript:
    """Of one attempt of a run."""

    def __init__(self, hub: Hub, run_id: str, attempt: int, secrets: Mapping[str, str]) -> None:
        self._hub = hub
        self._run_id = run_id
        self._attempt = attempt
        self._secrets = secrets
        self._waiting: list[TranscriptEvent] = []
        self._events = self._total = 0
        self._full = False
        self._tail = ""
        self._flushing: asyncio.Task[None] | None = None

    def add(self, kind: EventKind, text: str, more: Mapping[str, Any]) -> None:
        """One event. What is beyond the bounds is left out, and that is told once."""
        if self._full:
            return
        body = {"text": self._clean(text), **{key: self._masked_value(value) for key, value in more.items()}}
        size = sum(len(value) for value in body.values() if isinstance(value, str))
        self._events, self._total = self._events + 1, self._total + size
        if self._events > MAX_EVENTS or self._total > MAX_TOTAL:
            self._full = True
            kind, body = (
                "system",
                {"text": f"the rest is left out: a transcript has at most {MAX_EVENTS:,} events and {MAX_TOTAL:,} characters"},
            )
        event = TranscriptEvent(self._run_id, self._attempt, self._events, self._hub.clock.now(), kind, body)
        self._waiting.append(event)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.ensure_future(self._flush_soon())

    def _clean(self, text: str) -> str:
        """Masked, also where a secret began in the event before; printable line by line, and cut."""
        left = max(0, len(text) - MAX_CHARACTERS)
        text = text[: MAX_CHARACTERS + _BEYOND]
        shown = masked(text, self._secrets)
        if self._secrets and shown == text and leaked([self._tail + text[: MAX_CHARACTERS * 2]], self._secrets):
            shown = "(withheld: with what stands before, it holds a secret)"
        self._tail = (self._tail + shown)[-_TAIL:] if shown == text else ""
        cut = shown[:MAX_CHARACTERS] + (f"… ({left:,} more characters)" if left else "")
        return "\n".join(printable(line, MAX_CHARACTERS + 100) for line in cut.split("\n"))

    def _masked_value(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if value is None or isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) <= _LARGEST):
            return value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return self._clean(text)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(_FLUSH_S)
        await self.flush()

    async def flush(self) -> None:
        """Keep what waits; what a database refuses waits on. At the end that is lost, and never the run."""
        events, self._waiting = self._waiting, []
        if not events:
            return
        try:
            await self._hub.durable.commit(lambda: self._hub.store.add_transcript(events))
        except PotatoError:
            self._waiting = events + self._waiting

    async def close(self) -> None:
        """Keep the rest."""
        if self._flushing is not None and not self._flushing.done():
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        await self.flush()
