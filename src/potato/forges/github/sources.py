"""Files of repositories, at the commit of their default branch or any other."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import quote

from potato.core.foreign import as_list, as_object
from potato.core.text import printable
from potato.errors import PotatoError
from potato.forges.github.client import GitHubClient

MAX_BYTES: Final = 1_000_000
"""GitHub gives the content of no larger files there: https://docs.github.com/en/rest/repos/contents#get-repository-content."""


class GitHubSources:
    """See `potato.ports.hub.Sources`."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client

    async def head(self, repository: str) -> str | None:
        """See the port. An empty repository is a conflict: https://docs.github.com/en/rest/commits/commits#get-a-commit."""
        try:
            sha = as_object(await self._client.find(f"/repos/{repository}/commits/HEAD")).get("sha")
        except PotatoError as error:
            if error.code == "github-invalid":
                return None
            raise
        return sha if isinstance(sha, str) else None

    async def file(self, repository: str, path: str, sha: str) -> bytes | None:
        """See the port. A symbolic link is followed by GitHub within the repository, and told as one: it is refused."""
        found = await self._client.find(f"/repos/{repository}/contents/{quote(path)}?ref={quote(sha, safe='')}")
        if found is None:
            return None
        told, shown = as_object(found), printable(path, 200)
        if told.get("type") != "file" or told.get("path", path) != path:
            raise PotatoError("config-unreadable", f"'{shown}' in {repository} is no plain file.")
        if told.get("encoding") != "base64" or int(told.get("size") or 0) > MAX_BYTES:
            raise PotatoError("config-unreadable", f"'{shown}' in {repository} is larger than {MAX_BYTES:,} bytes.")
        try:
            return base64.b64decode(told["content"])
        except (binascii.Error, KeyError, TypeError, ValueError) as error:
            raise PotatoError("github-garbage", f"'{shown}' in {repository} is not readable ({type(error).__name__}).") from None

    async def names(self, repository: str, folder: str, sha: str) -> list[str]:
        """See the port."""
        path = f"/contents/{quote(folder)}" if folder else "/contents"
        found = as_list(await self._client.find(f"/repos/{repository}{path}?ref={quote(sha, safe='')}"))
        return [str(item["name"]) for item in map(as_object, found) if item.get("type") == "file" and "name" in item]

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()
