"""The GitHub forge: facts and effects over one client."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from potato.core.approval import Standing
from potato.core.event import Event, Facts
from potato.core.foreign import as_object
from potato.core.proposal import Action
from potato.errors import PotatoError
from potato.forges.git import fetched
from potato.forges.github.client import GitHubClient
from potato.forges.github.effects import Effects
from potato.forges.github.facts import FactFetcher
from potato.forges.github.reading import Reader
from potato.ports import Checkout, Effect, HeadReport, Piece

_CODEOWNERS: Final = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
_LOG_BYTES: Final = 200_000
_MAX_LOGS: Final = 10
_LEVELS: Final = frozenset({"admin", "maintain", "write", "triage", "read", "none"})


class GitHubForge:
    """See the port. Effects go to the event's repository only."""

    kind = "github"

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._facts = FactFetcher(client)
        self._effects = Effects(client)
        self._reader = Reader(client, self._facts)

    async def fetch_facts(self, event: Event, needs: frozenset[str]) -> Facts:
        """See the port."""
        return await self._facts.fetch(event, needs)

    async def read(self, event: Event, permissions: frozenset[str]) -> Mapping[str, Any]:
        """Changed files and CODEOWNERS of a pull request; jobs and failed jobs' logs of a workflow run."""
        shown: dict[str, Any] = {}
        if "read_pull_request" in permissions and event.subject and event.subject.kind == "pull_request":
            shown["files"], complete = await self._facts.files_and_completeness(event)
            if not complete:
                shown["files_incomplete"] = True
            codeowners = await self._codeowners(event)
            if codeowners is not None:
                shown["codeowners"] = codeowners
        if "read_ci_logs" in permissions and event.ci_run_id is not None:
            jobs = await self._facts.jobs(event)
            shown["jobs"] = jobs
            failed = [job for job in jobs if job["conclusion"] not in ("success", "skipped", "neutral", None)]
            logs = [
                await self._client.text(f"/repos/{event.repository}/actions/jobs/{job['id']}/logs", _LOG_BYTES)
                for job in failed[:_MAX_LOGS]
            ]
            shown["logs"] = "\n".join(logs)
        return shown

    async def consult(self, event: Event, tool: str, arguments: Mapping[str, Any]) -> Sequence[Piece]:
        """See the port."""
        return await self._reader.consult(event, tool, arguments)

    async def checkout(self, event: Event) -> Checkout | None:
        """See the port. Without a head of its own an event is about the default branch as it is now."""
        if event.repository is None:
            return None
        commit = event.head_sha
        if commit is None:
            branch = event.default_branch or str((await self._client.get(f"/repos/{event.repository}"))["default_branch"])
            commit = str((await self._client.get(f"/repos/{event.repository}/git/ref/heads/{quote(branch)}"))["object"]["sha"])
        url, headers = await self._client.remote(event.repository)
        return await fetched(url, commit, headers)

    async def _codeowners(self, event: Event) -> str | None:
        """From the base branch, never from the pull request's own head."""
        base = event.fields.get("base")
        ref = f"?ref={quote(base, safe='')}" if isinstance(base, str) else ""
        for path in _CODEOWNERS:
            found = as_object(await self._client.find(f"/repos/{event.repository}/contents/{path}{ref}"))
            if found.get("encoding") == "base64":
                try:
                    return base64.b64decode(found["content"]).decode("utf-8", "replace")
                except (binascii.Error, KeyError) as error:
                    raise PotatoError("github-garbage", f"'{path}' is not readable ({type(error).__name__}).") from None
        return None

    async def stale(self, event: Event) -> str | None:
        """See the port: for events of a pull request with a head."""
        return await self._facts.stale(event)

    async def head(self, event: Event) -> str | None:
        """See the port."""
        return await self._facts.head(event)

    async def whoami(self) -> str:
        """See the port."""
        return await self._client.login()

    async def standing(self, repository: str, login: str, teams: frozenset[str]) -> Standing:
        """See the port. Permissions and memberships are asked for anew each time.

        Source: https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user and
        https://docs.github.com/en/rest/teams/members#get-team-membership-for-a-user
        """
        name = quote(login, safe="")
        told = as_object(await self._client.find(f"/repos/{repository}/collaborators/{name}/permission"))
        member_of: set[str] = set()
        for team in sorted(teams):
            organisation, _, slug = team.partition("/")
            path = f"/orgs/{quote(organisation, safe='')}/teams/{quote(slug, safe='')}/memberships/{name}"
            if as_object(await self._client.find(path)).get("state") == "active":
                member_of.add(team)
        is_person = as_object(told.get("user")).get("type", "User") == "User" and not login.endswith("[bot]")
        level = next((str(told.get(key)) for key in ("permission", "role_name") if told.get(key) in _LEVELS), "none")
        return Standing(login, level, frozenset(member_of), is_person)

    async def author(self, repository: str, number: int) -> str:
        """See the port."""
        told = as_object(await self._client.find(f"/repos/{repository}/issues/{number}"))
        if not told:
            told = as_object(await self._client.get(f"/repos/{repository}/pulls/{number}"))
        login = as_object(told.get("user")).get("login")
        if not isinstance(login, str):
            raise PotatoError("github-garbage", f"GitHub does not say who opened {repository}#{number}.")
        return login

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:
        """See the port. Markers tell effects apart; the key stands in commits."""
        return await self._effects.apply(event, agent, action, key)

    async def tell(self, told: HeadReport) -> None:
        """One check run `potato` on the commit, changed in place."""
        await self._effects.tell(told)

    async def close(self) -> None:
        """See the port."""
        await self._client.close()
