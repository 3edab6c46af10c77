"""The fields that rules can use: type, events that have them, and what they mean.

One line a field; the reference page docs/reference/fields.md has a heading for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from potato.core.vocabulary import ACTIONS, FREE_ACTION, PULL_REQUEST_EVENTS

Kind = Literal["string", "strings", "int", "bool"]
Fact = Literal["paths", "jobs", "trusted", "pull_request"]

ANY: Final = frozenset(ACTIONS)
_PULLS = PULL_REQUEST_EVENTS
_ISSUES = frozenset({"issues", "issue_comment"})
_DISCUSSIONS = frozenset({"discussion", "discussion_comment"})
_SUBJECTS = _PULLS | _ISSUES | _DISCUSSIONS
_COMMENTS = frozenset({"issue_comment", "pull_request_review", "pull_request_review_comment", "discussion_comment", "commit_comment"})
_CI = frozenset({"workflow_run", "workflow_job", "check_run", "check_suite"})
_DEPLOYMENTS = frozenset({"deployment", "deployment_status", "deployment_review", "deployment_protection_rule"})
_OUTCOMES = _CI | {"status", "deployment_status"}


@dataclass(frozen=True, slots=True)
class Field:
    """`fact` names what must be fetched where the payload lacks the value."""

    name: str
    kind: Kind
    events: frozenset[str]
    doc: str
    fact: Fact | None = None


_FIELDS = (
    Field("event", "string", ANY, "GitHub's name of the event"),
    Field("action", "string", ANY, "what happened to the subject"),
    Field("repository", "string", ANY, "`owner/name`"),
    Field("owner", "string", ANY, "user or organisation that owns the repository"),
    Field("actor", "string", ANY, "login of whoever caused the event (GitHub's `sender`)"),
    Field("trusted", "bool", ANY, "same repository and, on GitHub, caused and written by accounts that may write to it", "trusted"),
    Field("number", "int", _SUBJECTS | _CI, "number of the pull request, issue or discussion"),
    Field("title", "string", _SUBJECTS | {"release", "milestone"}, "title of the subject"),
    Field("body", "string", _SUBJECTS | _COMMENTS | {"release"}, "text of the comment, else of the subject"),
    Field("author", "string", _SUBJECTS | _COMMENTS | {"release"}, "login of the subject's author"),
    Field("label", "strings", _SUBJECTS | {"label"}, "all labels of the subject"),
    Field("command", "strings", _COMMENTS, "slash commands of a comment"),
    Field("draft", "bool", _PULLS | {"release", "issue_comment"}, "still a draft", "pull_request"),
    Field("fork", "bool", _PULLS | _CI | {"issue_comment"}, "the head is in another repository", "pull_request"),
    Field("branch", "string", _PULLS | _CI | {"push", "create", "delete", "issue_comment", "merge_group", "schedule",
          "workflow_dispatch", "deployment", "deployment_status"}, "the head branch", "pull_request"),
    Field("base", "string", _PULLS | {"issue_comment", "merge_group"}, "the branch to merge into", "pull_request"),
    Field("path", "strings", _PULLS | {"push", "issue_comment"}, "each changed file", "paths"),
    Field("tag", "string", frozenset({"push", "create", "delete", "release"}), "the tag's name"),
    Field("ref", "string", frozenset({"push", "create", "delete", "schedule", "workflow_dispatch", "merge_group"})
          | _DEPLOYMENTS, "the full ref, or the ref as a deployment names it"),
    Field("job", "strings", _CI - {"check_suite"}, "job name; on `workflow_run` the workflow's and its jobs'", "jobs"),
    Field("workflow", "string", frozenset({"workflow_run", "workflow_job", "workflow_dispatch", "schedule"}),
          "the workflow's name (its file for `workflow_dispatch`)"),
    Field("status", "string", _OUTCOMES, "the outcome: the conclusion once completed, else the status"),
    Field("conclusion", "string", _CI, "the conclusion, absent until completed"),
    Field("check", "string", frozenset({"check_run", "check_suite", "status"}), "check run's, app's or status context's name"),
    Field("cron", "string", frozenset({"schedule"}), "the schedule that fired"),
    Field("environment", "string", _DEPLOYMENTS, "the deployment's environment"),
)  # fmt: skip

LACKING: Final[dict[Fact, frozenset[str]]] = {
    "paths": _PULLS | {"issue_comment"},
    "jobs": frozenset({"workflow_run"}),
    "pull_request": frozenset({"issue_comment"}),
    "trusted": ANY,
}
"""Fact -> the events whose payload lacks it, so that it must be fetched."""

FIELDS: Final = {field.name: field for field in _FIELDS}

_CONCLUSIONS = frozenset("success failure neutral cancelled timed_out action_required stale skipped startup_failure".split())
_RUNNING = frozenset("queued in_progress requested waiting pending".split())


def possible_values(field: str, events: frozenset[str]) -> frozenset[str] | None:
    """Every value that an enumerated field can have on one of `events`; `None` where any text may stand."""
    if field == "event":
        return events
    if field == "action":
        if events & FREE_ACTION and events != ANY:
            return None
        return frozenset[str]().union(*(ACTIONS[event] for event in events))
    if field == "conclusion":
        return _CONCLUSIONS
    if field == "status":
        values: set[str] = set()
        if events & _CI:
            values |= _CONCLUSIONS | _RUNNING
        if "status" in events:
            values |= {"error", "failure", "pending", "success"}
        if "deployment_status" in events:
            values |= {"error", "failure", "inactive", "in_progress", "pending", "queued", "success", "waiting"}
        return frozenset(values)
    return None
