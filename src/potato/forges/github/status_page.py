"""What GitHub's status page says. Source: https://www.githubstatus.com/api (Statuspage's `status.json`)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import httpx

from potato.core.foreign import as_object
from potato.core.strict_json import parse_object
from potato.core.text import printable
from potato.errors import PotatoError

_TIMEOUT_S: Final = 5.0
_MOST: Final = 1_000_000
_KNOWN: Final = frozenset({"none", "minor", "maintenance", "major", "critical"})
_MATTER: Final = frozenset({"major", "critical"})


class HttpStatusPage:
    """See the port `StatusPage`."""

    async def incident(self, url: str) -> str | None:
        """See the port: major and critical incidents matter."""
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client, client.stream("GET", url) as answer:
                body = b""
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST:
                        raise PotatoError("status-page-unclear", "the status page is too large.")
                if answer.status_code != HTTPStatus.OK:
                    raise PotatoError("status-page-unclear", f"the status page answered {answer.status_code}.")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PotatoError("status-page-unclear", f"the status page does not answer ({type(error).__name__}).") from None
        status = as_object(parse_object(body, "the status page").get("status"))
        indicator = status.get("indicator")
        if indicator not in _KNOWN:
            raise PotatoError("status-page-unclear", "the status page says nothing that is known.")
        return f"the status page says {indicator}: {printable(str(status.get('description')), 120)}" if indicator in _MATTER else None
