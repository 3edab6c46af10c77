"""The normalised fact that everything downstream works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from potato.core.lineage import Track
from potato.core.value import UNKNOWN, Value

SubjectKind = Literal["pull_request", "issue", "discussion"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the event is about, where it is something with a number."""

    kind: SubjectKind
    number: int


@dataclass(frozen=True, slots=True)
class Person:
    """An account by its name, which may change hands, and its number, which may not; the number is absent where the payload has none."""

    login: str
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One delivery, normalised. Every string in it was chosen by a stranger.

    `fields` holds what rules may read (see `potato.core.fields`); a fact not in the payload is
    `UNKNOWN` or `Partial` there until `with_facts` fills it in. `head_sha` and `base_sha` are the
    commits of the subject, `default_branch` the repository's, `changed_lines` those added and removed by a
    pull request, `ci_run_id` the id of the workflow run; all may be absent. `occurred_at` is when the forge says that the
    subject was last changed, `was_open` whether it was open then, and `identity` is equal for
    two deliveries of the same happening (see `potato.forges.github.identity`). `tracks` are keys of what it is about, by which the
    run that caused it is found (see `potato.core.lineage`). `people` are who caused it and who wrote what it carries.
    """

    event: str
    action: str | None
    repository: str | None
    subject: Subject | None
    actor: str | None
    head_sha: str | None
    base_sha: str | None
    default_branch: str | None
    fields: Mapping[str, Value]
    ci_run_id: int | None = None
    changed_lines: int | None = None
    occurred_at: str | None = None
    was_open: bool = False
    identity: tuple[str, ...] | None = None
    tracks: tuple[Track, ...] = ()
    people: tuple[Person, ...] = ()

    @property
    def number(self) -> int | None:
        """The subject's number."""
        return self.subject.number if self.subject else None

    def summary(self) -> dict[str, Any]:
        """The short form that `explain --json` prints."""
        labels = self.fields.get("label")
        trusted = self.fields.get("trusted")
        return {
            "event": self.event,
            "action": self.action,
            "repository": self.repository,
            "number": self.number if self.subject else self.fields.get("number"),
            "labels": list(labels) if isinstance(labels, tuple) else [],
            "trusted": None if trusted is UNKNOWN else bool(trusted),
        }


@dataclass(frozen=True, slots=True)
class File:
    """One changed file; `patch` is the unified diff of it, absent where the forge gives none."""

    path: str
    status: str = "modified"
    additions: int = 0
    deletions: int = 0
    patch: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules need that the payload lacks. Only what was fetched stands in `fields`; the rest stays unknown.

    `problems` says why something could not be fetched, one line each; `later` whether asking again in a while may help.
    """

    fields: Mapping[str, Value] = field(default_factory=dict[str, Value])
    problems: tuple[str, ...] = ()
    later: bool = False


def with_facts(event: Event, facts: Facts) -> Mapping[str, Value]:
    """The fields that rules see: the event's, with unknown ones replaced by what was fetched."""
    return {**event.fields, **facts.fields} if facts.fields else event.fields
