"""Raw delivery -> event. Pure; whatever GitHub sends becomes an event, with the fields we know of it.

Meanings that differ from GitHub's raw ones: `status` is the conclusion once there is one; `label` holds all
labels of the subject; `job` on `workflow_run` is the workflow's name and, once fetched, its jobs' names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from potato.core.event import Event, Person, Subject
from potato.core.strict_json import require_object
from potato.core.value import UNKNOWN, Partial, Value
from potato.core.vocabulary import ACTIONS, FREE_ACTION, PULL_REQUEST_EVENTS
from potato.errors import UsageError
from potato.forges.github.identity import identity_of
from potato.forges.github.payload import (
    DECODER,
    CheckRun,
    CheckSuite,
    Comment,
    Discussion,
    Issue,
    Label,
    Payload,
    PullRequest,
    WorkflowRun,
)  # fmt: skip
from potato.forges.github.tracks import tracks_of

MAX_BYTES: Final = 25 * 1024 * 1024
_EVENT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FULL_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}/(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}")
_SHA: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_COMMAND: Final = re.compile(r"[ ]{0,3}/([A-Za-z][A-Za-z0-9_-]{0,63}(?:[ \t]+\S[^\n]*)?)")
_FENCE: Final = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ \t]*(.*)")
_HIDDEN: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_MAX_COMMANDS: Final = 20
_PUSH_COMMITS: Final = 2048

_KEYS: Final = {
    "pull_request": ("pull_request",), "pull_request_target": ("pull_request",), "pull_request_review": ("review", "pull_request"),
    "pull_request_review_comment": ("comment", "pull_request"), "pull_request_review_thread": ("pull_request",),
    "issues": ("issue",), "issue_comment": ("issue", "comment"), "push": ("ref",), "workflow_run": ("workflow_run",),
    "workflow_job": ("workflow_job",), "check_run": ("check_run",), "check_suite": ("check_suite",), "release": ("release",),
    "discussion": ("discussion",), "discussion_comment": ("discussion", "comment"), "deployment": ("deployment",),
    "deployment_status": ("deployment_status",), "merge_group": ("merge_group",), "status": ("context", "state"),
    "commit_comment": ("comment",), "create": ("ref", "ref_type"), "delete": ("ref", "ref_type"), "label": ("label",),
    "workflow_dispatch": ("workflow",), "repository_dispatch": ("branch",),
}  # fmt: skip
"""Keys that tell an event; the name of the event comes in an unsigned header, so the two are compared."""


_OF_WRITERS: Final = frozenset(
    {"push", "schedule", "workflow_dispatch", "repository_dispatch", "create", "delete", "release", "deployment", "merge_group"}
)
_OF_ANYONE: Final = ("pull_request", "issue", "comment", "review", "discussion")
"""Events that only writers cause are trusted without asking, so nothing that strangers write may come under their names."""

_WHEN: Final = re.compile(r"[0-9T:.Z+-]{10,40}")


def normalise(event: str, body: bytes, *, what: str = "the payload", ref: str | None = None, sha: str | None = None) -> Event:
    """One event. `ref` and `sha` are used where the payload has none (a `schedule` in GitHub Actions).

    Raises `UsageError`: `bad-event-name`, `payload-too-large`, `malformed-json`, `wrong-shape`.
    """
    if not _EVENT_NAME.fullmatch(event):
        raise UsageError("bad-event-name", "the event's name is not lower-case letters, digits and '_'.", "Such as: pull_request.")
    if len(body) > MAX_BYTES:
        raise UsageError("payload-too-large", f"{what} has {len(body):,} bytes; GitHub's limit is {MAX_BYTES:,}.")
    require_object(body, what)
    try:
        payload = DECODER.decode(body)
    except (msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError("wrong-shape", f"{what} is no {event} delivery: {error}.") from None
    if payload.repository and payload.repository.full_name and not _FULL_NAME.fullmatch(payload.repository.full_name):
        raise UsageError("wrong-shape", f"{what}: the repository's full name is not owner/name.")
    foreign = [key for key in _OF_ANYONE if getattr(payload, key) is not None] if event in _OF_WRITERS else []
    if foreign:  # it would be trusted for what it says it is
        raise UsageError("wrong-shape", f"{what} is no {event} delivery: it has '{foreign[0]}'.", "Check the event's name.")
    missing = [key for key in _KEYS.get(event, ()) if getattr(payload, key) is None]
    if missing:
        raise UsageError("wrong-shape", f"{what} is no {event} delivery: it has no '{missing[0]}'.", "Check the event's name.")
    return _Normaliser(event, payload, ref, sha).event()


class _Normaliser:
    def __init__(self, event: str, payload: Payload, ref: str | None, sha: str | None) -> None:
        self.name = event
        self.p = payload
        self.ref = payload.ref or ref
        self.fields: dict[str, Value] = {}
        self.subject: Subject | None = None
        self.head_sha: str | None = sha if event in ("schedule", "workflow_dispatch") else None
        self.base_sha: str | None = None
        self.ci_run_id: int | None = None
        self.changed_lines: int | None = None

    def event(self) -> Event:
        repository = self.p.repository.full_name if self.p.repository else None
        owner = self.p.repository.owner.login if self.p.repository and self.p.repository.owner else None
        owner = owner or (self.p.organization.login if self.p.organization else None)
        actor = self.p.sender.login if self.p.sender else None
        action = self.p.action if ACTIONS.get(self.name) != frozenset() or self.name in FREE_ACTION else None
        self._set(event=self.name, action=action, repository=repository, owner=owner, actor=actor, trusted=UNKNOWN)
        self._subject()
        self._comment()
        self._ci()
        self._git()
        self._other()
        default_branch = self.p.repository.default_branch if self.p.repository else None
        head_sha, base_sha = (sha if sha and _SHA.fullmatch(sha) else None for sha in (self.head_sha, self.base_sha))
        about = self.p.pull_request or self.p.issue
        return Event(self.name, action, repository, self.subject, actor, head_sha, base_sha, default_branch,
                     self.fields, self.ci_run_id, self.changed_lines, _when(self.p.pull_request),
                     about is not None and about.state == "open", identity_of(self.name, self.p),
                     tracks_of(self.name, self.p, head_sha, self.subject.number if self.subject else None), _people(self.p))  # fmt: skip

    def _set(self, **values: Value) -> None:
        self.fields.update({name: value for name, value in values.items() if value is not None})

    # what the event is about

    def _subject(self) -> None:
        if self.p.pull_request and self.name in PULL_REQUEST_EVENTS:
            self._pull_request(self.p.pull_request)
        elif self.p.issue and self.name in ("issues", "issue_comment"):
            self._issue(self.p.issue)
        elif self.p.discussion and self.name in ("discussion", "discussion_comment"):
            self._text(self.p.discussion)
            if self.p.discussion.number is not None:
                self.subject = Subject("discussion", self.p.discussion.number)
        elif self.name == "label":
            self._set(label=_names([self.p.label] if self.p.label else []))

    def _pull_request(self, pull: PullRequest) -> None:
        self._text(pull)
        number = pull.number or self.p.number
        if number is not None:
            self.subject = Subject("pull_request", number)
            self._set(number=number)
        head, base = pull.head, pull.base
        self.head_sha, self.base_sha = (head.sha if head else None), (base.sha if base else None)
        if pull.additions is not None and pull.deletions is not None:
            self.changed_lines = pull.additions + pull.deletions
        self._set(draft=bool(pull.draft), branch=head.ref if head else None, base=base.ref if base else None,
                  fork=is_fork(pull), path=UNKNOWN)  # fmt: skip

    def _issue(self, issue: Issue) -> None:
        self._text(issue)
        is_pull = issue.pull_request is not None
        if issue.number is not None:
            self.subject = Subject("pull_request" if is_pull else "issue", issue.number)
        if is_pull and self.name == "issue_comment":
            self._set(draft=issue.draft if issue.draft is not None else UNKNOWN, fork=UNKNOWN, branch=UNKNOWN, base=UNKNOWN, path=UNKNOWN)

    def _text(self, part: PullRequest | Issue | Discussion) -> None:
        self._set(number=part.number, title=part.title, body=part.body or "", author=part.user.login if part.user else None,
                  label=_names(part.labels or []))  # fmt: skip

    def _comment(self) -> None:
        comment = self.p.review if self.name == "pull_request_review" else self.p.comment
        if comment is None or self.name not in _COMMENT_EVENTS:
            return
        self._set(body=comment.body or "", author=comment.user.login if comment.user else None, command=commands(comment))
        if self.name == "commit_comment":
            self.head_sha = comment.commit_id

    # continuous integration

    def _ci(self) -> None:
        if self.name == "workflow_run" and (run := self.p.workflow_run):
            self._outcome(run.status, run.conclusion)
            self.head_sha, self.ci_run_id = run.head_sha, run.id
            self._set(workflow=run.name, branch=run.head_branch, number=_only_number(run), fork=self._foreign(run),
                      job=Partial((run.name,) if run.name else ()))  # fmt: skip
        elif self.name == "workflow_job" and (job := self.p.workflow_job):
            self._outcome(job.status, job.conclusion)
            self.head_sha, self.ci_run_id = job.head_sha, job.run_id
            self._set(workflow=job.workflow_name, branch=job.head_branch, job=(job.name,) if job.name else None, fork=UNKNOWN)
        elif self.name == "check_run" and (check := self.p.check_run):
            self._outcome(check.status, check.conclusion)
            self.head_sha = check.head_sha
            branch = check.check_suite.head_branch if check.check_suite else None
            self._set(check=check.name, job=(check.name,) if check.name else None, branch=branch, number=_only_number(check), fork=UNKNOWN)
        elif self.name == "check_suite" and (suite := self.p.check_suite):
            self._outcome(suite.status, suite.conclusion)
            self.head_sha = suite.head_sha
            self._set(check=suite.app.name if suite.app else None, branch=suite.head_branch, number=_only_number(suite), fork=UNKNOWN)
        number = self.fields.get("number")
        if self.subject is None and isinstance(number, int):
            self.subject = Subject("pull_request", number)

    def _outcome(self, status: str | None, conclusion: str | None) -> None:
        self._set(status=conclusion or status, conclusion=conclusion)

    def _foreign(self, run: WorkflowRun) -> bool:
        own = self.p.repository.id if self.p.repository else None
        return run.head_repository is None or run.head_repository.id is None or run.head_repository.id != own

    # refs and pushes

    def _git(self) -> None:
        ref = self.ref
        if self.name in ("create", "delete") and ref:
            kind = "tag" if self.p.ref_type == "tag" else "branch"
            self.fields[kind] = ref
            self.fields["ref"] = f"refs/{'tags' if kind == 'tag' else 'heads'}/{ref}"
        elif ref and self.name in ("push", "schedule", "workflow_dispatch"):
            self._set(ref=ref, branch=_after(ref, "refs/heads/"), tag=_after(ref, "refs/tags/"))
        if self.name == "push":
            self.head_sha, self.base_sha = self.p.after, self.p.before
            self._set(path=self._pushed_paths())

    def _pushed_paths(self) -> Value:
        """Every file of the pushed commits; partial where GitHub leaves commits or their files out."""
        commits = self.p.commits or []
        listed = [c for c in commits if c.added is not None or c.modified is not None or c.removed is not None]
        paths = tuple(dict.fromkeys(p for c in listed for part in (c.added, c.modified, c.removed) for p in part or ()))
        moved_without_commits = not commits and not self.p.deleted and (self.p.forced or not self.p.created)
        if len(listed) < len(commits) or len(commits) >= _PUSH_COMMITS or moved_without_commits:
            return Partial(paths) if paths else UNKNOWN
        return paths

    # the rest

    def _other(self) -> None:
        if self.name == "release" and (release := self.p.release):
            self._set(tag=release.tag_name, title=release.name or release.tag_name, body=release.body or "", draft=bool(release.draft),
                      author=release.author.login if release.author else None)  # fmt: skip
        elif self.name == "milestone" and self.p.milestone:
            self._set(title=self.p.milestone.title)
        elif self.name.startswith("deployment"):
            part = self.p.deployment
            self._set(environment=part.environment if part else self.p.environment, ref=part.ref if part else None)
            self.head_sha = part.sha if part else None
            if self.name in ("deployment", "deployment_status") and part:
                self._set(branch=part.ref)
            if self.name == "deployment_status" and self.p.deployment_status:
                self._set(status=self.p.deployment_status.state)
        elif self.name == "status":
            self.head_sha = self.p.sha
            self._set(check=self.p.context, status=self.p.state)
        elif self.name == "merge_group" and (group := self.p.merge_group):
            self.head_sha, self.base_sha = group.head_sha, group.base_sha
            self._set(
                ref=group.head_ref, branch=_after(group.head_ref or "", "refs/heads/"), base=_after(group.base_ref or "", "refs/heads/")
            )
        elif self.name == "schedule":
            self._set(cron=self.p.schedule)
        if self.name in ("workflow_dispatch", "schedule"):
            self._set(workflow=self.p.workflow.name if isinstance(self.p.workflow, Label) else self.p.workflow)


_COMMENT_EVENTS: Final = frozenset(
    {"issue_comment", "pull_request_review", "pull_request_review_comment", "discussion_comment", "commit_comment"}
)


def _when(pull: PullRequest | None) -> str | None:
    at = pull.updated_at if pull else None
    return at if at and _WHEN.fullmatch(at) else None


def is_fork(pull: PullRequest) -> bool:
    """Whether the head lies in another repository, or in one that is gone."""
    head = pull.head.repo if pull.head else None
    base = pull.base.repo if pull.base else None
    return head is None or base is None or head.id is None or head.id != base.id


def commands(comment: Comment) -> tuple[str, ...]:
    """Slash commands: lines that start with `/word`, outside quotes, code blocks and HTML comments.

    Each gives its name, and the whole line without the slash where it has arguments.
    """
    found: dict[str, None] = {}
    fence = ""
    for line in _HIDDEN.sub("\0", comment.body or "").split("\n"):
        mark = _FENCE.match(line.rstrip())
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not mark[2]:
            fence = ""
        match = None if fence or mark else _COMMAND.fullmatch(line.rstrip())
        if match:
            found.setdefault(match[1].split(None, 1)[0])
            found.setdefault(" ".join(match[1].split()))
    return tuple(found)[:_MAX_COMMANDS]


def _names(labels: Iterable[Label]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.name for label in labels if label.name))


def _only_number(part: WorkflowRun | CheckRun | CheckSuite) -> int | None:
    """The pull request, if it is certain which: GitHub lists only those of the same repository."""
    numbers = [pull.number for pull in part.pull_requests or [] if pull.number is not None]
    return numbers[0] if len(numbers) == 1 else None


def _after(text: str, prefix: str) -> str | None:
    return text.removeprefix(prefix) if text.startswith(prefix) else None


def _people(payload: Payload) -> tuple[Person, ...]:
    """The sender first, then the authors of what the event is about."""
    texts = (payload.pull_request, payload.issue, payload.comment, payload.review, payload.discussion)
    users = (payload.sender, *(text.user for text in texts if text is not None))
    return tuple(dict.fromkeys(Person(user.login or "", user.id) for user in users if user is not None))
