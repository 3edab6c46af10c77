"""HTTP/1.1 by uvicorn, with an end for connections that send no request: uvicorn itself waits for a request's head for ever."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_S: Final = 10.0
MAX_HEAD: Final = 64 * 1024


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose head is not complete in time. While nothing comes at all, uvicorn's keep-alive limit holds."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's face
        """Start counting."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """The next head on a kept connection begins."""
        if self._head_timer is None and self._between_requests():
            self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self._head_has_ended(data):
                self.transport.close()
                return
        super().data_received(data)

    def _head_has_ended(self, data: bytes) -> bool:
        """Whether what goes beyond the limit may be the body that came with the head."""
        return b"\r\n\r\n" in data and self._head_bytes - len(data) <= MAX_HEAD

    def _between_requests(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # absent before the first request, whatever uvicorn's own annotation says
        return cycle is None or cycle.response_complete

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._forget()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to close."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
            self._head_bytes = 0
