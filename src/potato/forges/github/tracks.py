"""Keys of what our effects leave on GitHub, and of what an event is about: where two are equal, the effect caused the event.

Ids are GitHub's own and never used again; numbers and names stand with their repository.
"""

from __future__ import annotations

from potato.core.lineage import Track
from potato.forges.github.payload import Payload

_OF_COMMITS = frozenset({"workflow_run", "workflow_job", "check_run", "check_suite", "status", "deployment", "deployment_status"})
_NEW_COMMITS = frozenset({"opened", "synchronize", "reopened"})


def comment(comment_id: object) -> str:
    """A comment on an issue, pull request, line or commit."""
    return f"comment:{comment_id}"


def review(review_id: object) -> str:
    """A review."""
    return f"review:{review_id}"


def check(check_id: object) -> str:
    """A check run."""
    return f"check:{check_id}"


def opened(repository: str | None, number: object) -> str:
    """A new issue or pull request."""
    return f"opened:{repository}#{number}".casefold()


def changed(repository: str | None, number: object) -> str:
    """A change of title, text or state."""
    return f"changed:{repository}#{number}".casefold()


def label(repository: str | None, number: object, name: str | None) -> str:
    """A label that was set or taken off."""
    return f"label:{repository}#{number}:{name}".casefold()[:300]


def asked(repository: str | None, number: object) -> str:
    """A review that was asked for."""
    return f"asked:{repository}#{number}".casefold()


def commit(sha: str | None) -> str:
    """A commit."""
    return f"commit:{sha}"


def dispatched(repository: str | None, workflow: str | None) -> str:
    """A workflow that was started by its file name."""
    return f"dispatched:{repository}:{(workflow or '').rpartition('/')[2]}".casefold()[:300]


def tracks_of(event: str, p: Payload, head_sha: str | None, number: int | None) -> tuple[Track, ...]:
    """What the event is about, most particular first."""
    repository = p.repository.full_name if p.repository else None
    found: list[Track] = []
    if event.endswith("comment") and p.comment and p.comment.id:
        found.append(Track(comment(p.comment.id)))
    if event == "pull_request_review" and p.review and p.review.id:
        found.append(Track(review(p.review.id)))
    if event == "check_run" and p.check_run and p.check_run.id:
        found.append(Track(check(p.check_run.id)))
    if event in ("issues", "pull_request", "pull_request_target") and number is not None:
        if p.action in ("labeled", "unlabeled") and p.label:
            found.append(Track(label(repository, number, p.label.name)))
        elif p.action in ("review_requested", "review_request_removed"):
            found.append(Track(asked(repository, number)))
        elif p.action == "opened":
            found.append(Track(opened(repository, number)))
        elif p.action in ("edited", "closed", "reopened"):
            found.append(Track(changed(repository, number)))
    if event == "workflow_run" and p.workflow_run and p.workflow_run.event == "workflow_dispatch":
        found.append(Track(dispatched(repository, p.workflow_run.path)))
    if head_sha and (event == "push" or event in _OF_COMMITS or (event == "pull_request" and p.action in _NEW_COMMITS)):
        found.append(Track(commit(head_sha), ours_only=event == "pull_request"))
    return tuple(found)
