"""`POST /webhooks/github`: a raw handler, for most requests of a hub come here. See `potato.forges.github.webhook` for what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from potato.errors import PotatoError, UsageError
from potato.forges.github.normalise import MAX_BYTES
from potato.forges.github.webhook import Head, Refused, read_head, verify
from potato.hub.intake import RETRY_AFTER_S, Intake, Overloaded

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_S: Final = 10.0
MAX_UNVERIFIED: Final = 128 * 1024 * 1024
_JSON: Final = (b"content-type", b"application/json")
_LOG = logging.getLogger("potato")


class Webhook:
    """`secrets` are tried in order; two of them while rotating."""

    def __init__(self, intake: Intake, secrets: Sequence[bytes]) -> None:
        self._intake = intake
        self._secrets = secrets
        self._unverified = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["method"] != "POST":
            await _answer(send, 405, {"code": "method-not-allowed", "message": "send deliveries by POST."}, (b"allow", b"POST"))
            return
        try:
            head = read_head(scope["headers"])
            delivery = verify(head, await self._body(receive), self._secrets)
            answer = await self._intake.receive(delivery)
        except Refused as refused:
            self._intake.refused(refused.code)
            closing = [(b"connection", b"close")] if refused.status in (408, 413) else []
            await _answer(send, refused.status, {"code": refused.code, "message": refused.message}, *closing)
        except UsageError as error:
            self._intake.refused(error.code)
            await _answer(send, 400, {"code": error.code, "message": error.message})
        except Overloaded as error:
            await self._later(send, error)
        except PotatoError as error:
            _LOG.warning("a delivery was not kept: %s", error)
            if error.code == "value-refused":
                await _answer(send, 400, {"code": error.code, "message": error.message})
            else:
                await self._later(send, error)
        else:
            await self._accepted(send, head, answer)

    async def _body(self, receive: Receive) -> bytes:
        """The raw body, bounded in size and time, as all bodies are together that nobody has vouched for yet. Raises `Refused`."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Refused(400, "disconnected", "the connection ended within the body.")
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    self._unverified += len(chunk)
                    if size > MAX_BYTES:
                        raise Refused(413, "payload-too-large", f"GitHub's limit is {MAX_BYTES:,} bytes.")
                    if self._unverified > MAX_UNVERIFIED:
                        raise Overloaded("overloaded", "too much is being received at once.")
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError:
            raise Refused(408, "too-slow", f"the body did not come within {BODY_S:.0f} s.") from None
        finally:
            self._unverified -= size

    async def _accepted(self, send: Send, head: Head, answer: str) -> None:
        if answer == "conflict":
            message = "a delivery of this id came before with another body."
            await _answer(send, 409, {"code": "delivery-conflict", "message": message})
        else:
            await _answer(send, 202, {"delivery_id": head.unverified_delivery_id, "state": answer})

    async def _later(self, send: Send, error: PotatoError) -> None:
        await _answer(send, 503, {"code": error.code, "message": error.message}, (b"retry-after", str(RETRY_AFTER_S).encode()))


async def _answer(send: Send, status: int, body: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
    data = json.dumps(body).encode()
    await send(
        {"type": "http.response.start", "status": status, "headers": [_JSON, (b"content-length", str(len(data)).encode()), *headers]}
    )
    await send({"type": "http.response.body", "body": data})
