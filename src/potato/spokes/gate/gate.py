"""Who comes through, and where to: each run has a token of its own, and a socket that only it can reach."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any, Final, cast

from potato.core.canonical import canonical
from potato.ports import Request
from potato.spokes.cage.spec import GATE_PORT
from potato.spokes.gate.egress import Egress
from potato.spokes.gate.models import Models

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_EVERY_S: Final = 0.01
_BURST: Final = 200
"""After so many at once, requests are answered so many seconds apart."""

_PORT: Final = re.compile(r":\d+$")


class Gate:
    """One for a process. What serves tools and models is loaded and started when the first agent asks."""

    def __init__(self) -> None:
        self._tools: App | None = None
        self._tools_running: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    def admit(self, request: Request) -> Pass:
        """A pass for one run."""
        return Pass(self, request)

    async def tools(self) -> App:
        """The MCP server."""
        async with self._starting:
            if self._tools is None or self._tools_running is None or self._tools_running.done():
                self._tools, running = (await asyncio.to_thread(_load_tools))()
                started = asyncio.Event()
                self._tools_running = asyncio.create_task(running(started))
                await started.wait()
            return self._tools

    async def close(self) -> None:
        """End what was started."""
        if self._tools_running is not None:
            self._tools_running.cancel()
            await asyncio.gather(self._tools_running, return_exceptions=True)
            self._tools_running = None


def _load_tools() -> Callable[[], tuple[App, Callable[[asyncio.Event], Coroutine[Any, Any, None]]]]:
    """In a thread: it takes most of a second, for which the hub would stand still."""
    from potato.spokes.gate.tools import make_tools

    return make_tools


class Pass:
    """What one run may use while it goes on. `models` counts what they cost."""

    def __init__(self, gate: Gate, request: Request) -> None:
        self._gate = gate
        self.request = request
        self.token = secrets.token_urlsafe(32)
        self._due = 0.0
        self.models = Models(request)
        self.egress = Egress(request.agent.egress, request.session, self.token)

    def url(self, port: int = GATE_PORT) -> str:
        """Where the agent finds it."""
        return f"http://127.0.0.1:{port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells a caged agent where the gate is."""
        return {"POTATO_MCP_URL": f"{self.url()}/mcp", "POTATO_RUN_TOKEN": self.token, **self.proxies}

    @property
    def proxies(self) -> Mapping[str, str]:
        """The usual variables, where it may reach hosts."""
        if not self.request.agent.egress:
            return {}
        proxy = f"http://run:{self.token}@127.0.0.1:{GATE_PORT}"
        local = "127.0.0.1,localhost,::1"
        return {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "http_proxy": proxy, "https_proxy": proxy, "NO_PROXY": local, "no_proxy": local}

    @contextlib.asynccontextmanager
    async def outside(self) -> AsyncIterator[int]:
        """For an agent without a cage: a port of this machine's own loopback."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            serving = asyncio.create_task(self.serve(listener))
            try:
                yield listener.getsockname()[1]
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled. Nothing is loaded before the first connection."""
        from potato.spokes.gate.front import Front

        front = Front(self, self.egress)
        server = await asyncio.get_running_loop().create_server(front.protocol, sock=listener)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            await front.close()
            await self.models.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: `/mcp`, and a path for each kind of model provider. Any other token is refused before anything is read."""
        await self._paced()
        headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        if not self._known(headers):
            await answer(send, 401, {"error": {"type": "authentication_error", "message": "this is not the token of this run"}})
        elif not _local(headers):
            await answer(
                send, 403, {"error": {"type": "permission_error", "message": "requests come from the agent itself, by its loopback"}}
            )
        elif scope["path"] == "/mcp":
            scope["session"] = self.request.session
            await (await self._gate.tools())(scope, receive, send)
        else:
            await self.models(scope, receive, send)

    async def _paced(self) -> None:
        """One run's requests leave room for those of others, in a hub that is one process."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - _BURST * _EVERY_S) + _EVERY_S
        if self._due > now:
            await asyncio.sleep(self._due - now)

    def _known(self, headers: Mapping[bytes, bytes]) -> bool:
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ").strip()
        return hmac.compare_digest(given, self.token.encode())


def _local(headers: Mapping[bytes, bytes]) -> bool:
    """Whether it was asked by a name of the loopback, and by no page of another place (DNS rebinding)."""
    origin = headers.get(b"origin")
    names = [headers.get(b"host", b"")] + ([origin.partition(b"://")[2]] if origin is not None else [])
    return all(_PORT.sub("", name.decode("latin-1")) in _HOSTS for name in names)


async def answer(send: Send, status: int, body: Mapping[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """A whole answer as JSON."""
    data = canonical(body)
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": data})
