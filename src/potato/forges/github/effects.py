"""Allowed actions -> GitHub, each so that doing it again changes nothing: look first, then write what is missing."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from potato.core.canonical import digest
from potato.core.event import Event
from potato.core.foreign import as_list, as_object
from potato.core.proposal import (
    Action,
    ApplyLabels,
    Comment,
    CreateCheck,
    CreateIssue,
    DispatchWorkflow,
    OpenPr,
    PushBranch,
    RemoveLabels,
    RequestReview,
    Review,
    UpdateIssue,
)  # fmt: skip
from potato.errors import PotatoError
from potato.forges.github import tracks
from potato.forges.github.client import GitHubClient, Uncertain
from potato.forges.github.commits import commit_files, signed_off
from potato.forges.github.marker import is_ours, marked, marker
from potato.ports import Effect, HeadReport, Note

_ATTEMPTS: Final = 3
_MAX_LOOK: Final = 1000
_MAX_NOTES: Final = 50
_SLUG: Final = re.compile(r"[^a-z0-9]+")


class Effects:
    """Applies actions for one forge."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._handlers: dict[type, Callable[[Event, str, Any, str], Awaitable[Effect]]] = {
            ApplyLabels: self._apply_labels, RemoveLabels: self._remove_labels, CreateIssue: self._create_issue,
            UpdateIssue: self._update_issue, Comment: self._comment, RequestReview: self._request_review, Review: self._review,
            OpenPr: self._open_pr, PushBranch: self._push_branch, CreateCheck: self._create_check,
        }  # fmt: skip

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:
        """Apply one action. A write without a clear answer is followed by another look, at most three times."""
        if isinstance(action, DispatchWorkflow):
            return await self._dispatch_workflow(event, action)
        handler = self._handlers[type(action)]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await handler(event, agent, action, key)
            except Uncertain as error:
                if attempt == _ATTEMPTS:
                    raise PotatoError(error.code, error.message, "It may or may not have happened; run again to look.") from None
                await self._client.sleep(2.0**attempt)
        raise AssertionError

    # labels

    async def _labels(self, event: Event) -> dict[str, str]:
        """Labels of the subject, by their folded name: GitHub compares labels without case."""
        pages = self._client.pages(f"{_subject(event)}/labels", _MAX_LOOK)
        return {str(label["name"]).casefold(): str(label["name"]) async for label in pages}

    async def _apply_labels(self, event: Event, _agent: str, action: ApplyLabels, _key: str) -> Effect:
        present = await self._labels(event)
        missing = [label for label in dict.fromkeys(action.labels) if label.casefold() not in present]
        if not missing:
            return Effect("unchanged", f"labels are there: {', '.join(action.labels)}")
        await self._client.post(f"{_subject(event)}/labels", {"labels": missing})
        return Effect("applied", f"labelled {', '.join(missing)}", tracks=_label_tracks(event, missing))

    async def _remove_labels(self, event: Event, _agent: str, action: RemoveLabels, _key: str) -> Effect:
        present = await self._labels(event)
        there = [present[label.casefold()] for label in dict.fromkeys(action.labels) if label.casefold() in present]
        for label in there:
            try:
                await self._client.delete(f"{_subject(event)}/labels/{quote(label, safe='')}")
            except PotatoError as error:
                if error.code != "github-not-found":
                    raise
        told = f"removed {', '.join(there)}" if there else "labels are not there"
        return Effect("applied" if there else "unchanged", told, tracks=_label_tracks(event, there))

    # issues and comments

    async def _create_issue(self, event: Event, agent: str, action: CreateIssue, _key: str) -> Effect:
        mark = marker("issue", agent, action.key or digest(action.title)[7:19])
        login = await self._client.login()
        async for issue in self._client.pages(f"/repos/{event.repository}/issues?state=open", _MAX_LOOK):
            if is_ours(issue, mark, login) and "pull_request" not in issue:
                return Effect("unchanged", f"issue #{issue['number']} is open", issue.get("html_url"))
        data = {"title": action.title, "body": marked(action.body, mark), **({"labels": list(action.labels)} if action.labels else {})}
        made = await self._client.post(f"/repos/{event.repository}/issues", data)
        mine = (tracks.opened(event.repository, made["number"]), *_label_tracks(event, action.labels, made["number"]))
        return Effect("applied", f"opened issue #{made['number']}", made.get("html_url"), mine)

    async def _update_issue(self, event: Event, _agent: str, action: UpdateIssue, _key: str) -> Effect:
        now = await self._client.get(_subject(event))
        wanted = {name: value for name in ("title", "body", "state") if (value := getattr(action, name)) is not None}
        changes = {name: value for name, value in wanted.items() if now.get(name) != value}
        if changes:
            await self._client.patch(_subject(event), changes)
        mine = (tracks.changed(event.repository, event.number),) if changes else ()
        told = f"changed {', '.join(changes)}" if changes else "it is so already"
        return Effect("applied" if changes else "unchanged", told, tracks=mine)

    async def _comment(self, event: Event, agent: str, action: Comment, _key: str) -> Effect:
        mark = marker("comment", agent, action.key or "main")
        body = marked(action.body, mark)
        login = await self._client.login()
        async for comment in self._client.pages(f"{_subject(event)}/comments", _MAX_LOOK):
            if is_ours(comment, mark, login):
                if comment["body"].replace("\r\n", "\n") == body:
                    return Effect("unchanged", "the comment says so already", comment.get("html_url"))
                await self._client.patch(f"/repos/{event.repository}/issues/comments/{comment['id']}", {"body": body})
                return Effect("applied", "edited its comment", comment.get("html_url"), (tracks.comment(comment["id"]),))
        made = await self._client.post(f"{_subject(event)}/comments", {"body": body})
        return Effect("applied", "commented", made.get("html_url"), (tracks.comment(made["id"]),))

    # reviews

    async def _request_review(self, event: Event, _agent: str, action: RequestReview, _key: str) -> Effect:
        """Nobody is asked who is asked already, has reviewed, or wrote it (GitHub refuses that)."""
        pull = await self._client.get(_pull(event))
        reviews = [review async for review in self._client.pages(f"{_pull(event)}/reviews", _MAX_LOOK)]
        people = [*as_list(pull.get("requested_reviewers")), *(as_object(review).get("user") for review in reviews), pull.get("user")]
        done = {str(as_object(person).get("login")).casefold() for person in people}
        asked_teams = {str(as_object(team).get("slug")).casefold() for team in as_list(pull.get("requested_teams"))}
        reviewers = [name for name in dict.fromkeys(action.reviewers) if name.casefold() not in done]
        teams = [name for name in dict.fromkeys(action.teams) if name.casefold() not in asked_teams]
        if not reviewers and not teams:
            return Effect("unchanged", "they are asked already, have reviewed, or wrote it")
        await self._client.post(f"{_pull(event)}/requested_reviewers", {"reviewers": reviewers, "team_reviewers": teams})
        return Effect("applied", f"asked {', '.join(reviewers + teams)}", tracks=(tracks.asked(event.repository, event.number),))

    async def _review(self, event: Event, agent: str, action: Review, _key: str) -> Effect:
        mark = marker("review", agent, digest([action.event, action.body, event.head_sha])[7:19])
        login = await self._client.login()
        async for review in self._client.pages(f"{_pull(event)}/reviews", _MAX_LOOK):
            if is_ours(review, mark, login):
                return Effect("unchanged", "the review is there", review.get("html_url"))
        data = {"event": action.event.upper(), "body": marked(action.body, mark)}
        made = await self._client.post(f"{_pull(event)}/reviews", data | ({"commit_id": event.head_sha} if event.head_sha else {}))
        return Effect("applied", "reviewed", made.get("html_url"), (tracks.review(made["id"]),))

    # code

    async def _open_pr(self, event: Event, agent: str, action: OpenPr, key: str) -> Effect:
        base = action.base or await self._base(event, stacked=action.parent is not None)
        branch = action.branch or f"potato/{_slug(agent)}/{_slug(action.title)[:40]}-{digest(action.title)[7:13]}"
        try:
            message = signed_off(action.title, await self._client.login(), agent, key)
            wrote = await commit_files(self._client, str(event.repository), base, branch, message, action.files, action.parent)
        except PotatoError as error:
            if error.code == "nothing-to-change":
                return Effect("unchanged", error.message)
            raise
        owner = str(event.repository).split("/")[0]
        path = f"/repos/{event.repository}/pulls"
        async for pull in self._client.pages(f"{path}?state=open&head={quote(f'{owner}:{branch}')}", _MAX_LOOK):
            if as_object(pull.get("head")).get("ref") == branch:
                mine = (tracks.commit(wrote),) if wrote else ()
                return Effect("applied" if wrote else "unchanged", f"pull request #{pull['number']} is open", pull.get("html_url"), mine)
        body = marked(action.body, marker("pull", agent, branch))
        made = await self._client.post(path, {"title": action.title, "body": body, "head": branch, "base": base, "draft": action.draft})
        mine = (tracks.opened(event.repository, made["number"]), *((tracks.commit(wrote),) if wrote else ()))
        return Effect("applied", f"opened pull request #{made['number']}", made.get("html_url"), mine)

    async def _base(self, event: Event, *, stacked: bool) -> str:
        """Where changes go: changes of a pull request's own commit to its branch, all others to the default branch."""
        head = event.fields.get("branch")
        if (
            stacked
            and event.subject
            and event.subject.kind == "pull_request"
            and isinstance(head, str)
            and event.fields.get("fork") is False
        ):
            return head
        return event.default_branch or str((await self._client.get(f"/repos/{event.repository}"))["default_branch"])

    async def _push_branch(self, event: Event, agent: str, action: PushBranch, key: str) -> Effect:
        base = await self._base(event, stacked=False)
        message = signed_off(action.message, await self._client.login(), agent, key)
        wrote = await commit_files(self._client, str(event.repository), base, action.branch, message, action.files, action.parent)
        told = f"{'pushed to' if wrote else 'nothing new for'} {action.branch}"
        return Effect("applied" if wrote else "unchanged", told, tracks=(tracks.commit(wrote),) if wrote else ())

    async def _create_check(self, event: Event, agent: str, action: CreateCheck, _key: str) -> Effect:
        """Named under our prefix, so that no agent can pass for a required check of another system."""
        name, external = f"potato / {action.name}", f"potato:{agent}/{action.name}"
        output = {"title": action.title, "summary": action.summary or action.title}
        data = {"name": name, "status": "completed", "conclusion": action.conclusion, "external_id": external, "output": output}
        path = f"/repos/{event.repository}/commits/{event.head_sha}/check-runs?check_name={quote(name, safe='')}"
        async for check in self._client.pages(path, _MAX_LOOK, "check_runs"):
            if check.get("external_id") == external:
                said = as_object(check.get("output"))
                if (check.get("conclusion"), said.get("title"), said.get("summary")) == (action.conclusion, *output.values()):
                    return Effect("unchanged", f"check '{name}' says so already", check.get("html_url"))
                await self._client.patch(f"/repos/{event.repository}/check-runs/{check['id']}", data)
                told = f"changed check '{name}' to {action.conclusion}"
                return Effect("applied", told, check.get("html_url"), (tracks.check(check["id"]),))
        made = await self._client.post(f"/repos/{event.repository}/check-runs", data | {"head_sha": event.head_sha})
        return Effect("applied", f"check '{name}': {action.conclusion}", made.get("html_url"), (tracks.check(made["id"]),))

    async def tell(self, told: HeadReport) -> None:
        """See the port `Forge`. The newest check of that name and id is changed; there is none, it is made."""
        name, external = told.name, "potato"
        data: dict[str, Any] = {"output": {"title": told.title, "summary": told.summary}}
        data |= {"status": "completed", "conclusion": told.conclusion} if told.conclusion else {"status": "in_progress"}
        data |= {"details_url": told.url} if told.url else {}
        data["output"] |= {"annotations": [_annotation(note) for note in told.notes[:_MAX_NOTES]]} if told.notes else {}
        path = f"/repos/{told.repository}/commits/{told.head_sha}/check-runs?check_name={quote(name)}"
        async for check in self._client.pages(path, _MAX_LOOK, "check_runs"):
            if check.get("external_id") == external and check.get("name") == name:
                said = as_object(check.get("output"))
                same = (said.get("title"), said.get("summary"), check.get("status"), check.get("conclusion"))
                if same != (told.title, told.summary, data["status"], told.conclusion):
                    await self._client.patch(f"/repos/{told.repository}/check-runs/{check['id']}", data)
                return
        data |= {"name": name, "head_sha": told.head_sha, "external_id": external}
        await self._client.post(f"/repos/{told.repository}/check-runs", data)

    async def _dispatch_workflow(self, event: Event, action: DispatchWorkflow) -> Effect:
        """GitHub gives no way to look for it first, so it is tried once only."""
        ref = action.ref or event.default_branch or "main"
        path = f"/repos/{event.repository}/actions/workflows/{quote(action.workflow, safe='')}/dispatches"
        await self._client.post(path, {"ref": ref, "inputs": dict(action.inputs)})
        mine = (tracks.dispatched(event.repository, action.workflow),)
        return Effect("applied", f"started {action.workflow} on {ref}", tracks=mine)


def _annotation(note: Note) -> dict[str, Any]:
    """Source: https://docs.github.com/en/rest/checks/runs#create-a-check-run."""
    level = note.level
    return {"path": note.path, "start_line": note.line, "end_line": note.line, "annotation_level": level, "message": note.text}


def _label_tracks(event: Event, names: list[str], number: int | None = None) -> tuple[str, ...]:
    return tuple(tracks.label(event.repository, number or event.number, name) for name in names)


def _subject(event: Event) -> str:
    return f"/repos/{event.repository}/issues/{event.number}"


def _pull(event: Event) -> str:
    return f"/repos/{event.repository}/pulls/{event.number}"


def _slug(text: str) -> str:
    return _SLUG.sub("-", text.lower()).strip("-") or "change"
