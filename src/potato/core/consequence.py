"""The events that our own effects cause: how an agent can trigger itself or another.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads. GitHub does not start workflows for what the token of a
workflow does, except dispatches; a GitHub App or a personal token has no such brake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potato.core.fields import ANY
from potato.core.vocabulary import PULL_REQUEST_EVENTS

PULLS: Final = PULL_REQUEST_EVENTS | {"issue_comment"}
ISSUES: Final = frozenset({"issues", "issue_comment"})
DISCUSSIONS: Final = frozenset({"discussion", "discussion_comment"})
SUBJECTS: Final = PULLS | ISSUES | DISCUSSIONS
CI: Final = frozenset({"workflow_run", "workflow_job"})
_WITHOUT_COMMIT: Final = ISSUES | DISCUSSIONS | {"label", "milestone", "member", "star", "watch", "fork"}


@dataclass(frozen=True, slots=True)
class Consequence:
    """One event after an effect of `kind` for an event of `given`. `repeats`: the same proposal made again causes it again."""

    kind: str
    event: str
    action: str | None
    given: frozenset[str]
    repeats: bool


CONSEQUENCES: Final = (
    Consequence("apply_labels", "pull_request", "labeled", PULLS, repeats=False),
    Consequence("apply_labels", "issues", "labeled", ISSUES, repeats=False),
    Consequence("apply_labels", "discussion", "labeled", DISCUSSIONS, repeats=False),
    Consequence("remove_labels", "pull_request", "unlabeled", PULLS, repeats=False),
    Consequence("remove_labels", "issues", "unlabeled", ISSUES, repeats=False),
    Consequence("remove_labels", "discussion", "unlabeled", DISCUSSIONS, repeats=False),
    Consequence("comment", "issue_comment", "created", PULLS | ISSUES, repeats=True),
    Consequence("comment", "issue_comment", "edited", PULLS | ISSUES, repeats=True),
    Consequence("comment", "discussion_comment", "created", DISCUSSIONS, repeats=True),
    Consequence("create_issue", "issues", "opened", ANY, repeats=True),
    Consequence("update_issue", "issues", "edited", ISSUES, repeats=True),
    Consequence("update_issue", "issues", "closed", ISSUES, repeats=False),
    Consequence("update_issue", "issues", "reopened", ISSUES, repeats=False),
    Consequence("request_review", "pull_request", "review_requested", PULLS, repeats=False),
    Consequence("review", "pull_request_review", "submitted", PULLS, repeats=True),
    Consequence("open_pr", "pull_request", "opened", ANY, repeats=True),
    Consequence("open_pr", "push", None, ANY, repeats=True),
    Consequence("push_branch", "pull_request", "synchronize", ANY, repeats=True),
    Consequence("push_branch", "push", None, ANY, repeats=True),
    Consequence("create_check", "check_run", "created", ANY - _WITHOUT_COMMIT, repeats=False),
    Consequence("create_check", "check_run", "completed", ANY - _WITHOUT_COMMIT, repeats=False),
    Consequence("dispatch_workflow", "workflow_dispatch", None, ANY, repeats=True),
    Consequence("dispatch_workflow", "workflow_run", "completed", ANY, repeats=True),
)

USABLE_ON: Final = {
    "apply_labels": SUBJECTS, "remove_labels": SUBJECTS, "comment": SUBJECTS, "update_issue": ISSUES,
    "request_review": PULLS, "review": PULLS, "read_pull_request": PULLS, "read_ci_logs": CI, "create_check": ANY - _WITHOUT_COMMIT,
}  # fmt: skip
"""Permissions that only some events give a use: their subject, commit or CI run is what they act on."""
