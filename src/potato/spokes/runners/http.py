"""The runner `http`: an agent somewhere else. It gets the request of a `command` agent, signed, and answers with the same report.

Nothing of the hub is in reach of it: it proposes, and the gate disposes. The request's address is resolved once and must be of the public
internet (unless its config says `internal: true`); redirects are not followed; the answer is bounded in size and time.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (headers and signature)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import time
from dataclasses import replace
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import httpx

from potato import __version__
from potato.core.text import printable
from potato.errors import PotatoError
from potato.ports import MAX_OUTPUT, Report, Request
from potato.ports.session import Trouble
from potato.spokes.cage.report import report_from
from potato.spokes.gate.egress import Unreachable, public_address

_CONNECT_S: Final = 10.0
_TROUBLE: Final[dict[int, Trouble]] = {401: "auth", 403: "auth", 408: "timeout", 429: "rate_limited", 504: "timeout"}
_SUCCESS: Final = range(200, 300)


class HttpRunner:
    """See the port."""

    async def run(self, request: Request) -> Report:
        """One request, one answer."""
        agent = request.agent
        key = request.keys.get(agent.signing_secret or "")
        if not key:
            return Report(failure=f"it cannot be asked: {agent.signing_secret}, which signs requests, is not set", trouble="auth")
        body = json.dumps(request.as_json(), ensure_ascii=False).encode()
        try:
            async with asyncio.timeout(agent.timeout_s):
                return await _asked(request, agent.url or "", body, key)
        except TimeoutError:
            return Report(failure=f"it ran longer than {agent.timeout_s:g} s", trouble="timeout")
        except Unreachable as error:
            return Report(failure=f"its address is refused: {error}")
        except httpx.HTTPError as error:
            return Report(failure=f"it cannot be reached ({type(error).__name__})", trouble="overloaded")
        except PotatoError as error:
            return Report(failure=f"its answer is no report: {error.message}")


async def _asked(request: Request, url: str, body: bytes, key: str) -> Report:
    """Raises `Unreachable`, `httpx.HTTPError`, `PotatoError`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if request.agent.internal:
        pinned = url
    else:
        address = await public_address(host, port)
        shown = f"[{address}]" if ":" in address else address
        pinned = parts._replace(netloc=f"{shown}:{port}").geturl()
    headers = {**signed(request.run_id, body, key), "host": parts.netloc, "content-type": "application/json", "accept-encoding": "identity",
               "user-agent": f"potato/{__version__}"}  # fmt: skip
    timeout = httpx.Timeout(request.agent.timeout_s, connect=_CONNECT_S)
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False) as client:
        question = client.build_request("POST", pinned, content=body, headers=headers, extensions={"sni_hostname": host})
        answer = await client.send(question, stream=True)
        async with contextlib.aclosing(answer):
            if answer.status_code not in _SUCCESS:
                return _refused(answer.status_code)
            return replace(report_from(await _bounded(answer)), log="")


def signed(run_id: str, body: bytes, key: str) -> dict[str, str]:
    """Id, time and signature of a request."""
    at = str(int(time.time()))
    signature = hmac.digest(key.encode(), f"{run_id}.{at}.".encode() + body, sha256)
    return {"webhook-id": run_id, "webhook-timestamp": at, "webhook-signature": f"v1,{base64.b64encode(signature).decode()}"}


def _refused(status: int) -> Report:
    trouble = _TROUBLE.get(status) or ("overloaded" if status >= 500 else None)  # noqa: PLR2004 - HTTP
    told = " and redirects, which are not followed" if status in range(300, 400) else ""
    return Report(failure=printable(f"it answered {status}{told}", 200), trouble=trouble)


async def _bounded(answer: httpx.Response) -> bytes:
    """Raises `PotatoError`."""
    data = bytearray()
    async for chunk in answer.aiter_raw():
        data += chunk
        if len(data) > MAX_OUTPUT:
            raise PotatoError("bad-report", f"it is longer than {MAX_OUTPUT:,} bytes.")
    return bytes(data)
