"""What reading tools show of GitHub: each text with who wrote it, and whether the API says that this one may write.

Source: https://docs.github.com/en/rest/pulls, https://docs.github.com/en/rest/issues and
https://docs.github.com/en/rest/repos/contents
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from potato.core.event import Event
from potato.core.foreign import as_list, as_object
from potato.core.paths import unsafe_path
from potato.errors import PotatoError
from potato.forges.github.client import GitHubClient
from potato.forges.github.facts import FactFetcher
from potato.ports.session import Piece

_MAX_COMMENTS: Final = 100
_MAX_FILES: Final = 200
_LOG_BYTES: Final = 60_000
_MAX_LOGS: Final = 10
_MAX_ENTRIES: Final = 1_000
_OF_FILES: Final = ("path", "status", "additions", "deletions")
_WRITERS: Final = frozenset({"admin", "maintain", "write"})


class Reader:
    """Answers for one forge."""

    def __init__(self, client: GitHubClient, facts: FactFetcher) -> None:
        self._client = client
        self._facts = facts
        self._tools: dict[str, Callable[[Event, Mapping[str, Any], _People], Awaitable[Sequence[Piece]]]] = {
            "read_pull_request": self._pull_request, "read_ci_logs": self._ci_logs, "read_issues": self._issues,
            "read_file": self._file, "list_files": self._files,
        }  # fmt: skip

    async def consult(self, event: Event, tool: str, arguments: Mapping[str, Any]) -> Sequence[Piece]:
        """See the port `Forge`."""
        if event.repository is None:
            raise PotatoError("nothing-to-read", "the event is about no repository.")
        return await self._tools[tool](event, arguments, _People(self._client, event.repository))

    async def _pull_request(self, event: Event, _arguments: Mapping[str, Any], people: _People) -> list[Piece]:
        pull = await self._facts.pull(event)
        if pull is None:
            raise PotatoError("nothing-to-read", "the event is about no pull request.")
        pieces = await self._conversation(event, pull, int(pull["number"]), people)
        author = pieces[0].author
        trusted = pieces[0].trusted
        reviews = self._client.pages(f"/repos/{event.repository}/pulls/{pull['number']}/reviews", _MAX_COMMENTS)
        pieces += [await people.piece("review", review.get("body"), review, state=review.get("state")) async for review in reviews]
        files, complete = await self._facts.files_and_completeness(event)
        pieces += [
            Piece("file", str(file.get("patch") or ""), author, trusted, {key: file[key] for key in _OF_FILES}, markdown=False)
            for file in files[:_MAX_FILES]
        ]  # fmt: skip
        if not complete or len(files) > _MAX_FILES:
            pieces.append(Piece("note", "there are more changed files than are shown", None, trusted=True))
        return pieces

    async def _issues(self, event: Event, arguments: Mapping[str, Any], people: _People) -> list[Piece]:
        number = arguments.get("number") or event.number
        if number is None:
            found = [issue async for issue in self._client.pages(f"/repos/{event.repository}/issues?state=open", _MAX_COMMENTS)]
            return [await people.piece("title", issue.get("title"), issue, number=issue.get("number")) for issue in found]
        issue = as_object(await self._client.find(f"/repos/{event.repository}/issues/{int(number)}"))
        if not issue:
            raise PotatoError("nothing-to-read", f"there is no issue #{number} here.")
        return await self._conversation(event, issue, int(number), people)

    async def _conversation(self, event: Event, subject: Any, number: int, people: _People) -> list[Piece]:  # noqa: ANN401 - GitHub's JSON
        more = {"number": number, "state": subject.get("state")}
        pieces = [
            await people.piece("title", subject.get("title"), subject, **more),
            await people.piece("body", subject.get("body"), subject),
        ]
        comments = self._client.pages(f"/repos/{event.repository}/issues/{number}/comments", _MAX_COMMENTS)
        pieces += [await people.piece("comment", comment.get("body"), comment, at=comment.get("created_at")) async for comment in comments]
        return pieces

    async def _ci_logs(self, event: Event, _arguments: Mapping[str, Any], _people: _People) -> list[Piece]:
        jobs = await self._facts.jobs(event)
        pieces = [
            Piece("job", "", None, more={"name": job["name"], "conclusion": job["conclusion"], "failed_steps": job["failed_steps"]})
            for job in jobs
        ]
        failed = [job for job in jobs if job["conclusion"] not in ("success", "skipped", "neutral", None)]
        for job in failed[:_MAX_LOGS]:
            log = await self._client.text(f"/repos/{event.repository}/actions/jobs/{job['id']}/logs", _LOG_BYTES)
            pieces.append(Piece("log", log, None, more={"job": job["name"]}, markdown=False))
        return pieces

    async def _file(self, event: Event, arguments: Mapping[str, Any], _people: _People) -> list[Piece]:
        path = str(arguments.get("path", ""))
        problem = unsafe_path(path)
        if problem:
            raise PotatoError("nothing-to-read", f"the path is refused: {problem}.")
        ref = f"?ref={event.head_sha}" if event.head_sha else ""
        found = await self._client.find(f"/repos/{event.repository}/contents/{quote(path)}{ref}")
        told = as_object(found)
        if told.get("encoding") != "base64" or told.get("type") != "file":
            raise PotatoError("nothing-to-read", "there is no such file at the event's commit.")
        try:
            text = base64.b64decode(told["content"]).decode("utf-8")
        except (binascii.Error, KeyError):
            raise PotatoError("github-garbage", "the file is not readable.") from None
        except UnicodeDecodeError:
            raise PotatoError("nothing-to-read", "the file is no text.") from None
        return [Piece("file", text, None, more={"path": path, "commit": event.head_sha}, markdown=False)]

    async def _files(self, event: Event, _arguments: Mapping[str, Any], _people: _People) -> list[Piece]:
        commit = event.head_sha or event.default_branch or "HEAD"
        told = as_object(await self._client.get(f"/repos/{event.repository}/git/trees/{quote(commit)}?recursive=1"))
        paths = [str(as_object(item).get("path")) for item in as_list(told.get("tree")) if as_object(item).get("type") == "blob"]
        more = {"commit": commit, "complete": not told.get("truncated") and len(paths) <= _MAX_ENTRIES}
        return [Piece("paths", "\n".join(paths[:_MAX_ENTRIES]), None, more=more, markdown=False)]


class _People:
    """Who may write, asked once each for one answer. By the API's permission, never by `author_association` or a name."""

    def __init__(self, client: GitHubClient, repository: str) -> None:
        self._client = client
        self._repository = repository
        self._known: dict[str, bool] = {}

    async def piece(self, what: str, text: Any, of: Any, **more: Any) -> Piece:  # noqa: ANN401 - GitHub's JSON
        login = as_object(as_object(of).get("user")).get("login")
        author = login if isinstance(login, str) else None
        told = {key: value for key, value in more.items() if value is not None}
        return Piece(what, text if isinstance(text, str) else "", author, await self._may_write(author), told)

    async def _may_write(self, login: str | None) -> bool:
        if login is None:
            return False
        if login not in self._known:
            told = await self._client.find(f"/repos/{self._repository}/collaborators/{quote(login, safe='')}/permission")
            self._known[login] = str(as_object(told).get("permission")) in _WRITERS
        return self._known[login]
