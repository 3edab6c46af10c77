"""One GitHub API client: credentials, retries that cannot do anything twice, and errors that say what to do.

Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api and
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import gidgethub
import httpx
from gidgethub import apps
from gidgethub.httpx import GitHubAPI

from potato import __version__
from potato.core.text import printable
from potato.errors import AuthError, PotatoError

DEFAULT_URL: Final = "https://api.github.com"
PATIENCE_S: Final = 120.0
_ATTEMPTS: Final = 4
_PAGE: Final = 100
_SERVER_ERROR: Final = 500
_READING: Final = frozenset({"GET", "HEAD"})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "PATCH", "DELETE"})
_MAX_BODY: Final = 32 * 1024 * 1024

_TOKEN_LEFT_S: Final = 300.0

Sleep = Callable[[float], Awaitable[None]]
Fence = Callable[[], None]
"""Called right before each write; raises if this process may not write any more."""


class Uncertain(PotatoError):  # noqa: N818 - it names what the answer is
    """A write got no clear answer: it may have happened. Look before writing again."""


class _Api(GitHubAPI):
    """gidgethub's API whose transport retries.

    A rate limit (429, or 403 that says so) was not executed: it is repeated after the wait GitHub asks for. A
    server error or broken connection is repeated only where that cannot do anything twice.
    """

    def __init__(self, client: httpx.AsyncClient, sleep: Sleep, token: str | None, url: str, fence: Fence) -> None:
        super().__init__(client, f"potato/{__version__}", oauth_token=token, base_url=url)  # type: ignore[reportUnknownMemberType] # gidgethub types httpx2's client
        self._http = client
        self._pause = sleep
        self._fence = fence

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, Mapping[str, str], bytes]:
        waited = 0.0
        attempt = 0
        while True:
            attempt += 1
            wait: float | None = None
            if method not in _READING:
                self._fence()
            try:
                response = await self._http.request(method, url, headers=dict(headers), content=body)
            except httpx.HTTPError as error:
                if method not in _IDEMPOTENT:
                    raise Uncertain("github-no-answer", f"GitHub gave no answer ({type(error).__name__}).") from None
                if attempt >= _ATTEMPTS:
                    raise PotatoError(
                        "github-unreachable", f"GitHub cannot be reached ({type(error).__name__}).", "Try again later."
                    ) from None
                wait = _backoff(attempt)
            else:
                limited = _rate_limit_wait(response, attempt)
                if limited is not None:
                    if waited + limited > PATIENCE_S:
                        raise PotatoError("github-rate-limit", f"GitHub's rate limit lasts {limited:.0f} s more.", "Try again then.")
                    wait = limited
                elif response.status_code >= _SERVER_ERROR:
                    if method not in _IDEMPOTENT:
                        raise Uncertain("github-broken", f"GitHub answered {response.status_code}.")
                    wait = _backoff(attempt) if attempt < _ATTEMPTS else None
                if wait is None:
                    return response.status_code, response.headers, response.content
            waited += wait
            await self._pause(wait)


def _backoff(attempt: int) -> float:
    return float(2 ** (attempt - 1))


def _rate_limit_wait(response: httpx.Response, attempt: int) -> float | None:
    """Seconds GitHub asks to wait; nothing if it is no rate limit."""
    if response.status_code not in (403, 429):
        return None
    after = response.headers.get("retry-after", "")
    if after.isdigit():
        return float(after)
    if response.headers.get("x-ratelimit-remaining") == "0":
        reset = response.headers.get("x-ratelimit-reset", "")
        return max(1.0, float(reset) - time.time()) if reset.isdigit() else 60.0
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or b"secondary rate limit" in response.content[:2000]:
        return 60.0 * attempt
    return None


class GitHubClient:
    """Calls by path; every failure is a `PotatoError` (`AuthError` for 401, `Uncertain` for an unanswered write)."""

    def __init__(self, token: str | None, *, url: str = DEFAULT_URL, app: tuple[str, str] | None = None, sleep: Sleep = asyncio.sleep,
                 in_actions: bool = False, fence: Fence = lambda: None) -> None:  # fmt: skip
        """`app` is (app id, private key in PEM); `in_actions` tells that the token is the job's own."""
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(20.0), limits=httpx.Limits(max_connections=8))
        self._api = _Api(self._http, sleep, token, url.rstrip("/"), fence)
        self._token = token
        self._app = app
        self._in_actions = in_actions
        self._login: str | None = None
        self._granting = asyncio.Lock()
        self._installations: dict[str, str] = {}
        self._granted: dict[str, tuple[str, float]] = {}
        self.sleep = sleep

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], fence: Fence = lambda: None) -> GitHubClient:
        """By GITHUB_TOKEN, or POTATO_GITHUB_APP_ID with POTATO_GITHUB_PRIVATE_KEY_FILE. Raises `AuthError` if neither is set."""
        url = environ.get("GITHUB_API_URL") or DEFAULT_URL
        if token := environ.get("GITHUB_TOKEN"):
            return cls(token, url=url, in_actions=environ.get("GITHUB_ACTIONS") == "true", fence=fence)
        app_id, key_file = environ.get("POTATO_GITHUB_APP_ID"), environ.get("POTATO_GITHUB_PRIVATE_KEY_FILE")
        if not app_id or not key_file:
            hint = "Set GITHUB_TOKEN, or POTATO_GITHUB_APP_ID and POTATO_GITHUB_PRIVATE_KEY_FILE; or forge: {kind: local}."
            raise AuthError("no-credentials", "there are no credentials for GitHub.", hint)
        try:
            key = Path(key_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise AuthError("no-credentials", "POTATO_GITHUB_PRIVATE_KEY_FILE cannot be read.") from None
        return cls(None, url=url, app=(app_id, key), fence=fence)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def remote(self, repository: str) -> tuple[str, dict[str, str]]:
        """Where git finds a repository, and the header that lets it in.

        Source: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
        (HTTP-based Git access); GitHub Enterprise Server has its API below `/api/v3` of the same host.
        """
        base = self._api.base_url.rstrip("/").removesuffix("/api/v3").replace("https://api.github.com", "https://github.com")
        token = await self._token_for(f"/repos/{repository}") or ""
        word = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        return f"{base}/{repository}.git", {"Authorization": f"Basic {word}"}

    async def get(self, path: str) -> Any:  # noqa: ANN401 - GitHub's JSON
        """One object."""
        return await self._call(path, lambda token: self._api.getitem(path, oauth_token=token))

    async def find(self, path: str) -> Any | None:  # noqa: ANN401 - GitHub's JSON
        """One object, or nothing where GitHub says 404."""
        try:
            return await self.get(path)
        except PotatoError as error:
            if error.code == "github-not-found":
                return None
            raise

    async def post(self, path: str, data: Mapping[str, Any]) -> Any:  # noqa: ANN401 - GitHub's JSON
        """Create something."""
        return await self._call(path, lambda token: self._api.post(path, data=dict(data), oauth_token=token))

    async def patch(self, path: str, data: Mapping[str, Any]) -> Any:  # noqa: ANN401 - GitHub's JSON
        """Change something."""
        return await self._call(path, lambda token: self._api.patch(path, data=dict(data), oauth_token=token))

    async def delete(self, path: str) -> None:
        """Remove something."""
        await self._call(path, lambda token: self._api.delete(path, oauth_token=token))

    async def pages(self, path: str, limit: int, key: str = "items") -> AsyncIterator[Any]:
        """At most `limit` items of a list, page by page; `key` is where an object holds its list."""
        url = f"{path}{'&' if '?' in path else '?'}per_page={_PAGE}"
        count = 0
        iterator = self._api.getiter(url, iterable_key=key, oauth_token=await self._token_for(path))
        while count < limit:
            try:
                item = await self._translated(path, lambda: anext(iterator))
            except StopAsyncIteration:
                return
            count += 1
            yield item

    async def text(self, path: str, limit: int) -> str:
        """The last `limit` bytes of a text (such as a log) that GitHub redirects to; the token stays with GitHub."""
        headers = {"authorization": f"Bearer {await self._token_for(path)}", "user-agent": f"potato/{__version__}"}
        try:
            response = await self._http.get(self._api.base_url + path, headers=headers)
            if response.is_redirect:
                response = await self._http.get(response.headers["location"])
        except (httpx.HTTPError, KeyError) as error:
            raise PotatoError("github-unreachable", f"a log cannot be fetched ({type(error).__name__}).") from None
        if response.status_code != HTTPStatus.OK:
            raise PotatoError("github-no-log", f"GitHub answered {response.status_code} for a log.")
        return response.content[-limit:].decode("utf-8", "replace")

    async def login(self) -> str:
        """Whose name our comments bear."""
        if self._login is None:
            if self._app is not None:
                app = await self._app_call("/app")
                self._login = f"{app['slug']}[bot]"
            elif self._in_actions:
                self._login = "github-actions[bot]"
            else:
                self._login = str((await self.get("/user"))["login"])
        return self._login

    @property
    def is_app(self) -> bool:
        """Whether the credentials are a GitHub App's."""
        return self._app is not None

    async def _app_call(self, path: str) -> Any:  # noqa: ANN401 - GitHub's JSON
        return await self._translated(path, lambda: self._api.getitem(path, jwt=self._jwt()))

    async def app_pages(self, path: str, limit: int) -> AsyncIterator[Any]:
        """At most `limit` items of a list that only the App itself may see."""
        iterator = self._api.getiter(f"{path}?per_page={_PAGE}", jwt=self._jwt())
        for _ in range(limit):
            try:
                yield await self._translated(path, lambda: anext(iterator))
            except StopAsyncIteration:
                return

    async def app_post(self, path: str) -> None:
        """Something that only the App itself may do."""
        await self._translated(path, lambda: self._api.post(path, data={}, jwt=self._jwt()))

    def _jwt(self) -> str:
        assert self._app is not None  # noqa: S101 - callers check
        return apps.get_jwt(app_id=self._app[0], private_key=self._app[1])

    async def _token_for(self, path: str) -> str | None:
        """The token, or for an App the installation's of the repository at hand, got anew before it expires.

        Source: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app (one hour).
        """
        parts = path.split("/")
        if self._app is None or len(parts) < 4 or parts[1] != "repos":  # noqa: PLR2004 - /repos/owner/name
            return self._token
        owner, name = parts[2].casefold(), parts[3].split("?")[0]
        async with self._granting:
            if owner not in self._installations:
                self._installations[owner] = str((await self._app_call(f"/repos/{parts[2]}/{name}/installation"))["id"])
            installation = self._installations[owner]
            token, until = self._granted.get(installation, ("", 0.0))
            if time.monotonic() + _TOKEN_LEFT_S > until:
                app_id, key = self._app
                granted = await self._translated(path, lambda: apps.get_installation_access_token(
                    self._api, installation_id=installation, app_id=app_id, private_key=key))  # fmt: skip
                token = str(granted["token"])
                self._granted[installation] = (token, time.monotonic() + 3600.0)
            return token

    async def _call(self, path: str, call: Callable[[str | None], Awaitable[Any]]) -> Any:  # noqa: ANN401 - GitHub's JSON
        token = await self._token_for(path)
        return await self._translated(path, lambda: call(token))

    async def _translated(self, path: str, call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - GitHub's JSON
        shown = printable(path.split("?", maxsplit=1)[0], 120)
        try:
            return await call()
        except gidgethub.HTTPException as error:
            raise _refusal(error, shown) from None
        except ValueError as error:
            raise PotatoError("github-garbage", f"GitHub's answer for {shown} is not readable ({type(error).__name__}).") from None


def _refusal(error: gidgethub.HTTPException, path: str) -> PotatoError:
    """GitHub's refusal in our words."""
    status, said = int(error.status_code), printable(str(error), 200)
    needs = printable(str(error.headers.get("x-accepted-github-permissions", "")), 100)
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthError("github-unauthorized", "GitHub refused the credentials (401).", "Check that the token is valid and not expired.")
    if status == HTTPStatus.FORBIDDEN:
        hint = f"It needs: {needs}." if needs else "Give the job or the App the permission."
        return PotatoError("github-forbidden", f"the token may not use {path} (403: {said}).", hint)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return PotatoError("github-not-found", f"{path} does not exist or the token cannot see it ({status}).")
    if status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT):
        return PotatoError("github-invalid", f"GitHub refused the content for {path} ({status}: {said}).")
    if status >= _SERVER_ERROR:
        return PotatoError("github-broken", f"GitHub answered {status} for {path}, {_ATTEMPTS} times.", "Try again later.")
    return PotatoError("github-unexpected", f"GitHub answered {status} for {path} ({said}).")
