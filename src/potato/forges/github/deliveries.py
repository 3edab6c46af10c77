"""What GitHub could not deliver, and open pull requests: for a hub that was away.

Source: https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries (GitHub does not try again by itself, and
keeps failed deliveries for three days).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from potato.core.foreign import as_object
from potato.errors import PotatoError
from potato.forges.github.client import GitHubClient
from potato.ports import Delivery
from potato.ports.hub import Failed

_MAX_LISTED: Final = 500
_MAX_HOOKS: Final = 50
_MAX_PULLS: Final = 1000
_OK: Final = range(200, 300)


class GitHubBackfill:
    """See `potato.ports.hub.Missed`. Only hooks that deliver to us are looked at, where our address is known."""

    def __init__(self, client: GitHubClient, own_url: str | None) -> None:
        self._client = client
        self._own_url = own_url.rstrip("/") + "/webhooks/github" if own_url else None

    async def failed(self, repositories: Sequence[str], *, app: bool) -> list[Failed]:
        """See the port."""
        found: list[Failed] = []
        if app and self._client.is_app:
            found += _failed([item async for item in self._client.app_pages("/app/hook/deliveries", _MAX_LISTED)], "/app/hook/deliveries")
        for repository in repositories:
            async for hook in self._client.pages(f"/repos/{repository}/hooks", _MAX_HOOKS):
                if self._own_url in (None, as_object(hook.get("config")).get("url")):
                    path = f"/repos/{repository}/hooks/{hook['id']}/deliveries"
                    found += _failed([item async for item in self._client.pages(path, _MAX_LISTED)], path)
        return found

    async def redeliver(self, failed: Failed) -> None:
        """See the port."""
        if failed.path.startswith("/app/"):
            await self._client.app_post(failed.path)
        else:
            await self._client.post(failed.path, {})

    async def open_heads(self, repository: str) -> list[tuple[str, Delivery]]:
        """See the port."""
        pulls = [pull async for pull in self._client.pages(f"/repos/{repository}/pulls?state=open", _MAX_PULLS)]
        return [(str(as_object(pull.get("head")).get("sha")), _poll(repository, pull)) for pull in pulls]


def _failed(listed: Sequence[Any], path: str) -> list[Failed]:
    """Those of which no attempt was answered well; the newest attempt is what is redelivered."""
    attempts: dict[str, list[Any]] = {}
    for item in listed:
        if isinstance(item.get("guid"), str) and isinstance(item.get("id"), int):
            attempts.setdefault(item["guid"], []).append(item)
    return [
        Failed(guid, str(items[0].get("event", "")), f"{path}/{items[0]['id']}/attempts")
        for guid, items in attempts.items()
        if not any(_went_well(item) for item in items)
    ]


def _went_well(item: Any) -> bool:  # noqa: ANN401 - GitHub's JSON
    code = item.get("status_code")
    return isinstance(code, int) and code in _OK


def _poll(repository: str, pull: Any) -> Delivery:  # noqa: ANN401 - GitHub's JSON
    """A pull request as it is, in the shape of the delivery that would have told of its head."""
    try:
        body = {"action": "synchronize", "number": pull["number"], "pull_request": pull, "repository": pull["base"]["repo"],
                "sender": pull["user"]}  # fmt: skip
        return Delivery(f"poll-{repository}-{pull['number']}-{pull['head']['sha'][:16]}", "pull_request", json.dumps(body).encode(), "poll")
    except (KeyError, TypeError) as error:
        raise PotatoError("github-garbage", f"a pull request of {repository} is not readable ({type(error).__name__}).") from None
