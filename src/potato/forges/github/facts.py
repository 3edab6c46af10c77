"""Facts that routing needs and GitHub's payloads lack. What cannot be fetched stays unknown, and is told."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from potato.core.event import Event, Facts, Person
from potato.core.foreign import as_list, as_object
from potato.core.text import printable
from potato.core.value import UNKNOWN, Partial, Value
from potato.core.vocabulary import PULL_REQUEST_EVENTS
from potato.errors import TRANSIENT, AuthError, PotatoError
from potato.forges.github.client import GitHubClient

MAX_FILES: Final = 3000
"""GitHub lists no more: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files."""

_FRESH_S: Final = 5.0
_KEPT: Final = 256
_MAX_COMPARED: Final = 300
_MAX_JOBS: Final = 1000
_WRITERS: Final = frozenset({"admin", "maintain", "write"})
_BY_WRITERS_ONLY: Final = frozenset(
    {"push", "schedule", "workflow_dispatch", "repository_dispatch", "create", "delete", "release", "deployment", "merge_group"}
)
"""Events that only somebody who may write can cause."""


class FactFetcher:
    """Fetches for one forge; answers about a pull request are kept for a few seconds, for the several facts of one event."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._pulls: dict[tuple[str, int], tuple[float, Any]] = {}

    async def fetch(self, event: Event, needs: frozenset[str]) -> Facts:
        """The named facts: `paths`, `jobs`, `trusted`, `pull_request`. Raises `AuthError` only."""
        fields: dict[str, Value] = {}
        problems: list[str] = []
        later = False
        fetchers: dict[str, Callable[[Event], Awaitable[dict[str, Value]]]] = {
            "pull_request": self._pull_fields, "trusted": self._trusted, "paths": self._paths, "jobs": self._jobs,
        }  # fmt: skip
        for need in sorted(needs & fetchers.keys()):
            try:
                fields |= await fetchers[need](event)
            except AuthError:
                raise
            except PotatoError as error:
                problems.append(f"{need} could not be fetched: {error.message}")
                later = later or error.code in TRANSIENT
        return Facts(fields, tuple(problems), later)

    async def pull(self, event: Event) -> Any | None:  # noqa: ANN401 - GitHub's JSON
        """The pull request the event is about, as it was a few seconds ago at most; nothing if it is about none."""
        if event.repository is None or event.subject is None or event.subject.kind != "pull_request":
            return None
        key = (event.repository, event.subject.number)
        fetched_at, pull = self._pulls.get(key, (0.0, None))
        if pull is None or time.monotonic() - fetched_at > _FRESH_S:
            pull = await self._client.get(f"/repos/{event.repository}/pulls/{event.subject.number}")
            while len(self._pulls) >= _KEPT:
                self._pulls.pop(next(iter(self._pulls)))
            self._pulls[key] = (time.monotonic(), pull)
        return pull

    async def stale(self, event: Event) -> str | None:
        """Why the event is out of date: asked anew each time."""
        if event.repository is None or event.subject is None or event.subject.kind != "pull_request":
            return None
        self._pulls.pop((event.repository, event.subject.number), None)
        pull = as_object(await self.pull(event))
        head = str(as_object(pull.get("head")).get("sha"))
        if event.event in PULL_REQUEST_EVENTS and event.head_sha and head != event.head_sha:
            return f"the event is about commit {event.head_sha[:12]}, the pull request is at {head[:12]}"
        if event.event in PULL_REQUEST_EVENTS and event.was_open and pull.get("state") == "closed":
            return "the pull request is closed by now"
        return None

    async def head(self, event: Event) -> str | None:
        """The commit that the event's pull request is at: asked anew each time."""
        if event.repository is None or event.subject is None or event.subject.kind != "pull_request":
            return None
        self._pulls.pop((event.repository, event.subject.number), None)
        return str(as_object(as_object(await self.pull(event)).get("head")).get("sha"))

    async def _pull_fields(self, event: Event) -> dict[str, Value]:
        pull = await self.pull(event)
        if pull is None:
            return {}
        known: dict[str, Value] = {
            "draft": bool(pull.get("draft")),
            "branch": pull["head"]["ref"],
            "base": pull["base"]["ref"],
            "fork": _is_fork(pull),
        }
        return {name: value for name, value in known.items() if event.fields.get(name) is UNKNOWN}

    async def _trusted(self, event: Event) -> dict[str, Value]:
        """Same repository by numeric ids, caused and written by people who may write to it, all as the API says now."""
        if event.repository is None:
            return {"trusted": False}
        if event.event in _BY_WRITERS_ONLY:
            return {"trusted": True}
        pull = await self.pull(event) if event.event in PULL_REQUEST_EVENTS | {"issue_comment"} else None
        if event.fields.get("fork") is True or (pull is not None and _is_fork(pull)):
            return {"trusted": False}
        if event.actor is None:
            return {"trusted": False}
        named = {person.login for person in event.people}
        for person in (*event.people, *(() if event.actor in named else (Person(event.actor),))):
            if not await self._may_write(event.repository, person):
                return {"trusted": False}
        return {"trusted": True}

    async def _may_write(self, repository: str, person: Person) -> bool:
        """GitHub is asked by a name; that it answers about the account of the payload, its number shows."""
        if not person.login:
            return False
        told = as_object(await self._client.find(f"/repos/{repository}/collaborators/{quote(person.login, safe='')}/permission"))
        number = as_object(told.get("user")).get("id")
        same = person.id is None or number is None or number == person.id
        return same and str(told.get("permission")) in _WRITERS

    async def _paths(self, event: Event) -> dict[str, Value]:
        paths, complete = await self.files_and_completeness(event)
        names = tuple(dict.fromkeys(name for file in paths for name in (file["path"], file.get("previous")) if name))
        return {"path": names if complete else Partial(names)}

    async def files_and_completeness(self, event: Event) -> tuple[list[dict[str, Any]], bool]:
        """The changed files as agents see them, and whether these are all.

        A pull request whose list is empty is compared once more: GitHub computes the list later than the head.
        """
        if event.event == "push":
            return await self._compared(event, event.base_sha, event.head_sha)
        pull = await self.pull(event)
        if pull is None:
            raise PotatoError("no-pull-request", "the event is about no pull request.")
        path = f"/repos/{event.repository}/pulls/{pull['number']}/files"
        files = [_file(raw) async for raw in self._client.pages(path, MAX_FILES)]
        if files:
            return files, len(files) < MAX_FILES and len(files) >= int(pull.get("changed_files") or 0)
        return await self._compared(event, pull["base"]["sha"], pull["head"]["sha"])

    async def _compared(self, event: Event, base: str | None, head: str | None) -> tuple[list[dict[str, Any]], bool]:
        if not base or not head or not base.strip("0"):
            raise PotatoError("no-base", "there is no earlier commit to compare with.")
        told = await self._client.get(f"/repos/{event.repository}/compare/{base}...{head}")
        files = [_file(raw) for raw in as_list(told.get("files"))]
        return files, len(files) < _MAX_COMPARED

    async def _jobs(self, event: Event) -> dict[str, Value]:
        jobs = await self.jobs(event)
        workflow = event.fields.get("workflow")
        own = (workflow,) if isinstance(workflow, str) else ()
        return {"job": tuple(dict.fromkeys((*own, *(str(job["name"]) for job in jobs))))}

    async def jobs(self, event: Event) -> list[dict[str, Any]]:
        """Name, conclusion, id and failed steps of each job of the workflow run."""
        if event.ci_run_id is None:
            raise PotatoError("no-workflow-run", "the event is about no workflow run.")
        path = f"/repos/{event.repository}/actions/runs/{event.ci_run_id}/jobs?filter=latest"
        return [
            {
                "id": job["id"],
                "name": job["name"],
                "conclusion": job.get("conclusion"),
                "failed_steps": [step["name"] for step in as_list(job.get("steps")) if step.get("conclusion") == "failure"],
            }
            async for job in self._client.pages(path, _MAX_JOBS, "jobs")
        ]


def _file(raw: Any) -> dict[str, Any]:  # noqa: ANN401 - GitHub's JSON
    file = {
        "path": str(raw["filename"]),
        "status": printable(str(raw.get("status", "modified")), 20),
        "additions": int(raw.get("additions") or 0),
        "deletions": int(raw.get("deletions") or 0),
        "patch": raw.get("patch"),
    }
    return file | ({"previous": raw["previous_filename"]} if raw.get("previous_filename") else {})


def _is_fork(pull: Any) -> bool:  # noqa: ANN401 - GitHub's JSON
    head, base = pull["head"].get("repo"), pull["base"].get("repo")
    return not head or not base or head.get("id") != base.get("id")
