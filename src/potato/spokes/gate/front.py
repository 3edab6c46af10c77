"""Connections to a run's gate: a tunnel is asked for by CONNECT, all else is HTTP for the application."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, Final, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from potato.spokes.gate.egress import Egress

MOST_CONNECTIONS: Final = 64
_CONNECT: Final = b"CONNECT "
_MOST_HEAD: Final = 256 * 1024


class Front:
    """Makes a protocol for each connection of one run, and ends them with it."""

    def __init__(self, app: object, egress: Egress) -> None:
        self.egress = egress
        self.open: set[_First] = set()
        self.config = Config(
            cast("Any", app), http=HttpToolsProtocol, loop="none", lifespan="off", access_log=False, log_config=None, ws="none",
            server_header=False, date_header=False, timeout_keep_alive=300, proxy_headers=False,
        )  # fmt: skip
        self.config.load()
        self.state = ServerState()

    def protocol(self) -> asyncio.Protocol:
        """For one connection."""
        return _First(self)

    async def close(self) -> None:
        """Cut what is open."""
        for first in list(self.open):
            if first.transport is not None:
                first.transport.abort()
        for task in list(self.state.tasks):
            task.cancel()
        await asyncio.gather(*self.state.tasks, return_exceptions=True)
        await self.egress.close()


def _is_news(record: logging.LogRecord) -> bool:
    """An agent may send garbage and hang up as often as it likes; what is left is a bug of ours."""
    return record.levelno >= logging.ERROR and not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


_LOG: Final = logging.getLogger("potato.gate")
_LOG.addFilter(_is_news)


class _Http(HttpToolsProtocol):
    """With an end to what is no body: heads, trailers and the frames of chunks, which the parser keeps or reads without one."""

    _beside_bodies = 0

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments)
        self.logger = _LOG

    def data_received(self, data: bytes) -> None:
        self._beside_bodies += len(data)
        super().data_received(data)
        if self._beside_bodies > _MOST_HEAD:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        self._beside_bodies -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._beside_bodies = 0
        super().on_message_complete()


class _First(asyncio.Protocol):
    """Looks at the first bytes, and hands the connection on."""

    transport: asyncio.Transport | None = None

    def __init__(self, front: Front) -> None:
        self._front = front
        self._seen = b""
        self._next: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # asyncio does it only where a socket was made for TCP by number; without, each answer of two parts waits 40 ms for a receipt
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._front.open) >= MOST_CONNECTIONS:
            self.transport.abort()
            return
        self._front.open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._next is not None:
            self._next.data_received(data)
            return
        self._seen += data
        if len(self._seen) < len(_CONNECT) and _CONNECT.startswith(self._seen):
            return
        assert self.transport is not None  # noqa: S101 - data comes after it
        if self._seen.startswith(_CONNECT):
            self._next = self._front.egress.tunnel()
        else:
            self._next = _Http(self._front.config, self._front.state, {})
        self._next.connection_made(self.transport)
        self._next.data_received(self._seen)
        self._seen = b""

    def eof_received(self) -> bool | None:
        return self._next.eof_received() if self._next is not None else None

    def pause_writing(self) -> None:
        if self._next is not None:
            self._next.pause_writing()

    def resume_writing(self) -> None:
        if self._next is not None:
            self._next.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.open.discard(self)
        if self._next is not None:
            self._next.connection_lost(exc)
