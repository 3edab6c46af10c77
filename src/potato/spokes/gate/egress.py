"""Hosts that an agent may reach: tunnels to those that its config lists, at addresses of the public internet.

The name is resolved here, once, and the connection goes to what was found: an answer that changes later changes nothing.

Source: RFC 9110, 9.3.6 (CONNECT)
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Final, cast

from potato.core.text import printable
from potato.ports import Session

_MAX_HEAD: Final = 16 * 1024
_PORT: Final = re.compile(r"[0-9]{1,5}")
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE | re.ASCII)
_CONNECT_S: Final = 10.0
_PORTS: Final = frozenset({443})


class Unreachable(Exception):  # noqa: N818 - it names what the host is
    """Why nobody goes there."""


async def public_address(host: str, port: int) -> str:
    """The address to go to. Raises `Unreachable` where the host has none, or any that is not of the public internet."""
    if "\0" in host:  # the resolver would read no further
        raise Unreachable("it has no address")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("it has no address") from None
    addresses = [str(entry[4][0]) for entry in found]
    private = [address for address in addresses if not is_public(address)]
    if private or not addresses:
        raise Unreachable(f"it is at {private[0] if private else 'no address'}, which is not of the public internet")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether it is an address of the public internet; one that embeds another counts as that one too."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    embedded = (ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)) if isinstance(ip, ipaddress.IPv6Address) else None
    if isinstance(ip, ipaddress.IPv6Address) and ip in ipaddress.ip_network("64:ff9b::/96"):
        embedded = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.is_global and not ip.is_multicast and (embedded is None or embedded.is_global)


def listed(host: str, allowed: Sequence[str]) -> bool:
    """Whether a host is on the list: by its whole name, or below a name that is written `*.name`."""
    host = host.casefold().rstrip(".")
    return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in (item.casefold() for item in allowed))


class Egress:
    """Of one run."""

    def __init__(self, allowed: Sequence[str], session: Session, token: str) -> None:
        self.allowed = allowed
        self._session = session
        self._token = token
        self._going: set[asyncio.Task[None]] = set()

    def tunnel(self) -> asyncio.Protocol:
        """For one connection."""
        return _Tunnel(self)

    def go(self, tunnel: _Tunnel, head: bytes) -> None:
        """Open it, or refuse."""
        task = asyncio.ensure_future(self._open(tunnel, head))
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def _open(self, tunnel: _Tunnel, head: bytes) -> None:
        line, _, rest = head.partition(b"\r\n")
        host, _, port = line.split(b" ")[1].decode("latin-1").rpartition(":") if line.count(b" ") >= 2 else ("", "", "")  # noqa: PLR2004
        shown = printable(f"{host}:{port}", 200)
        if not self._known(rest):
            tunnel.refuse(407, "this is not the token of this run")
            return
        try:
            address = await self._address(host, port)
            async with asyncio.timeout(_CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: _Far(tunnel), address, int(port))
        except (Unreachable, OSError, TimeoutError) as error:
            why = str(error) if isinstance(error, Unreachable) else "it does not answer"
            self._session.tell("egress", f"refused {shown}: {why}", host=shown, allowed=False)
            tunnel.refuse(403, why)
            return
        self._session.tell("egress", f"connected to {shown}", host=shown, allowed=True)

    async def _address(self, host: str, port: str) -> str:
        """Raises `Unreachable`."""
        if not _NAME.fullmatch(host) or not listed(host, self.allowed) or not _PORT.fullmatch(port) or int(port) not in _PORTS:
            raise Unreachable("it is not among the hosts (at port 443) that 'egress' lists")
        return await public_address(host, int(port))

    def _known(self, headers: bytes) -> bool:
        for line in headers.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"proxy-authorization":
                scheme, _, word = value.strip().partition(b" ")
                with contextlib.suppress(binascii.Error):
                    given = base64.b64decode(word).partition(b":")[2] if scheme.lower() == b"basic" else word
                    return hmac.compare_digest(given, self._token.encode())
        return False

    async def close(self) -> None:
        """Cut what is being opened."""
        for task in self._going:
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)


class _Tunnel(asyncio.Protocol):
    """The agent's side."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._head = b""
        self._asked = False
        self._far: asyncio.Transport | None = None
        self.near: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.near = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._far is not None:
            self._far.write(data)
            return
        self._head += data
        if len(self._head) > _MAX_HEAD:
            self.refuse(431, "the head is too long")
        elif not self._asked and b"\r\n\r\n" in self._head:
            self._asked = True
            self._egress.go(self, self._head.partition(b"\r\n\r\n")[0])

    def opened(self, far: asyncio.Transport) -> None:
        """The other side is there."""
        assert self.near is not None  # noqa: S101 - it asked
        if self.near.is_closing():
            far.abort()
            return
        self._far = far
        self.near.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        early = self._head.partition(b"\r\n\r\n")[2]
        if early:
            far.write(early)

    def refuse(self, status: int, why: str) -> None:
        """Say no, and end it."""
        if self.near is not None and not self.near.is_closing():
            body = f"{printable(why, 300)}\n".encode()
            self.near.write(b"HTTP/1.1 %d Refused\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body))
            self.near.close()

    def pause_writing(self) -> None:
        if self._far is not None:
            self._far.pause_reading()

    def resume_writing(self) -> None:
        if self._far is not None:
            self._far.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's face
        if self._far is not None:
            self._far.close()


class _Far(asyncio.Protocol):
    """The host's side."""

    def __init__(self, tunnel: _Tunnel) -> None:
        self._tunnel = tunnel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tunnel.opened(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        if self._tunnel.near is not None:
            self._tunnel.near.write(data)

    def pause_writing(self) -> None:
        if self._tunnel.near is not None:
            self._tunnel.near.pause_reading()

    def resume_writing(self) -> None:
        if self._tunnel.near is not None:
            self._tunnel.near.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's face
        if self._tunnel.near is not None:
            self._tunnel.near.close()
