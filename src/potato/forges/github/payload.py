"""The parts of GitHub's payloads that we read; everything else is skipped while parsing.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from typing import Any

import msgspec


class _Part(msgspec.Struct, frozen=True, gc=False):
    """A partial view: unknown keys are ignored."""


class User(_Part, frozen=True):
    """An account."""

    login: str | None = None
    id: int | None = None
    type: str | None = None


class Repository(_Part, frozen=True):
    """A repository; `full_name` is `owner/name`."""

    id: int | None = None
    full_name: str | None = None
    owner: User | None = None
    default_branch: str | None = None
    pushed_at: int | str | None = None


class Label(_Part, frozen=True):
    """A label, or any part that has just a name."""

    name: str | None = None


class Head(_Part, frozen=True):
    """One end of a pull request. `repo` is null when the fork is gone."""

    ref: str | None = None
    sha: str | None = None
    repo: Repository | None = None


class PullRequest(_Part, frozen=True):
    """A pull request, or the short form of one in check events (number, head and base only)."""

    number: int | None = None
    title: str | None = None
    body: str | None = None
    user: User | None = None
    draft: bool | None = None
    head: Head | None = None
    base: Head | None = None
    labels: list[Label] | None = None
    additions: int | None = None
    deletions: int | None = None
    state: str | None = None
    updated_at: str | None = None


class Issue(_Part, frozen=True):
    """An issue; `pull_request` is there when it is a pull request's conversation."""

    number: int | None = None
    title: str | None = None
    body: str | None = None
    user: User | None = None
    draft: bool | None = None
    labels: list[Label] | None = None
    pull_request: dict[str, Any] | None = None
    state: str | None = None
    updated_at: str | None = None


class Comment(_Part, frozen=True):
    """A comment or review."""

    id: int | None = None
    body: str | None = None
    user: User | None = None
    commit_id: str | None = None
    state: str | None = None
    updated_at: str | None = None
    submitted_at: str | None = None


class CheckSuite(_Part, frozen=True):
    """A check suite."""

    id: int | None = None
    updated_at: str | None = None
    status: str | None = None
    conclusion: str | None = None
    head_sha: str | None = None
    head_branch: str | None = None
    pull_requests: list[PullRequest] | None = None
    app: Label | None = None


class CheckRun(_Part, frozen=True):
    """A check run."""

    id: int | None = None
    started_at: str | None = None
    completed_at: str | None = None
    name: str | None = None
    status: str | None = None
    conclusion: str | None = None
    head_sha: str | None = None
    pull_requests: list[PullRequest] | None = None
    check_suite: CheckSuite | None = None


class WorkflowRun(_Part, frozen=True):
    """A run of a workflow."""

    id: int | None = None
    run_attempt: int | None = None
    updated_at: str | None = None
    name: str | None = None
    status: str | None = None
    conclusion: str | None = None
    head_sha: str | None = None
    head_branch: str | None = None
    event: str | None = None
    path: str | None = None
    head_repository: Repository | None = None
    pull_requests: list[PullRequest] | None = None


class WorkflowJob(_Part, frozen=True):
    """A job of a workflow run."""

    id: int | None = None
    started_at: str | None = None
    completed_at: str | None = None
    run_id: int | None = None
    name: str | None = None
    workflow_name: str | None = None
    status: str | None = None
    conclusion: str | None = None
    head_sha: str | None = None
    head_branch: str | None = None


class Commit(_Part, frozen=True):
    """A pushed commit. The file lists are absent in GitHub Actions' own event file."""

    id: str | None = None
    added: list[str] | None = None
    removed: list[str] | None = None
    modified: list[str] | None = None


class Release(_Part, frozen=True):
    """A release."""

    tag_name: str | None = None
    name: str | None = None
    body: str | None = None
    draft: bool | None = None
    author: User | None = None


class Discussion(_Part, frozen=True):
    """A discussion."""

    number: int | None = None
    title: str | None = None
    body: str | None = None
    user: User | None = None
    labels: list[Label] | None = None
    updated_at: str | None = None


class Deployment(_Part, frozen=True):
    """A deployment, or its status."""

    ref: str | None = None
    sha: str | None = None
    environment: str | None = None
    state: str | None = None


class MergeGroup(_Part, frozen=True):
    """A merge group."""

    head_sha: str | None = None
    head_ref: str | None = None
    base_sha: str | None = None
    base_ref: str | None = None


class Milestone(_Part, frozen=True):
    """A milestone."""

    title: str | None = None


class Payload(_Part, frozen=True):
    """Any delivery, seen partially."""

    action: str | None = None
    repository: Repository | None = None
    organization: User | None = None
    sender: User | None = None
    pull_request: PullRequest | None = None
    number: int | None = None
    issue: Issue | None = None
    comment: Comment | None = None
    review: Comment | None = None
    label: Label | None = None
    check_run: CheckRun | None = None
    check_suite: CheckSuite | None = None
    workflow_run: WorkflowRun | None = None
    workflow_job: WorkflowJob | None = None
    workflow: Label | str | None = None
    ref: str | None = None
    ref_type: str | None = None
    before: str | None = None
    after: str | None = None
    commits: list[Commit] | None = None
    forced: bool | None = None
    created: bool | None = None
    deleted: bool | None = None
    release: Release | None = None
    discussion: Discussion | None = None
    deployment: Deployment | None = None
    deployment_status: Deployment | None = None
    merge_group: MergeGroup | None = None
    milestone: Milestone | None = None
    schedule: str | None = None
    branch: str | None = None
    context: str | None = None
    state: str | None = None
    sha: str | None = None
    environment: str | None = None


DECODER = msgspec.json.Decoder(Payload, strict=True)
