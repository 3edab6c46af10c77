"""HTTP/1.1 by uvicorn, with an end for connections that send no request: uvicorn itself waits for a request's head for ever."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S: Final = 10.0


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose first head is not complete in time. Between requests uvicorn's keep-alive limit holds."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's face
        """Start counting."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_S, transport.close)

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
