"""The only place where proposals become verdicts. Pure: the same batch always gets the same answer."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from potato.core import neutralise
from potato.core.approval import ApprovalRule, asked_for
from potato.core.canonical import digest
from potato.core.event import Event
from potato.core.expression.pattern import Predicate, compile_pattern
from potato.core.foreign import as_list, as_object
from potato.core.paths import is_protected, safe_branch, unsafe_path, well_formed_ref
from potato.core.permission import CODE_WRITING, DEFAULT_CAPS, NEEDS_APPROVAL, ROLE_MAY_HOLD, WRITING, Role
from potato.core.proposal import (
    MAX_BODY,
    Action,
    ApplyLabels,
    CreateIssue,
    MalformedProposal,
    OpenPr,
    PushBranch,
    RemoveLabels,
    RequestReview,
    RouteAgents,
    UpdateIssue,
    arguments,
    kind_of,
    parse_action,
)  # fmt: skip
from potato.core.secret_scan import leaked

Answer = Literal["allow", "deny", "needs_approval"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What one agent may do in one run. `caps` overrides the default caps by kind; its files may match `paths` only, if there are any."""

    agent: str
    role: Role
    permissions: frozenset[str]
    caps: Mapping[str, int] = field(default_factory=dict[str, int])
    paths: tuple[str, ...] = ()

    def cap(self, kind: str) -> int:
        """How much of a kind the whole run may propose."""
        return self.caps.get(kind, DEFAULT_CAPS[kind])

    def as_json(self) -> dict[str, Any]:
        """What the agent is told about its own grant."""
        kinds = sorted(self.permissions & DEFAULT_CAPS.keys())
        told = {"role": self.role, "permissions": sorted(self.permissions), "caps": {kind: self.cap(kind) for kind in kinds}}
        return told | ({"paths": list(self.paths)} if self.paths else {})


@dataclass(frozen=True, slots=True)
class Setting:
    """What the gate must know beside the grant: the event, the config's agents and own files, secrets, who must say yes.

    `policy` is the version of the policy that verdicts are bound to. `reading_only` is why nothing may be proposed at all (an untrusted
    event, where nobody lifted that), `commit` what the agent's workspace was made of.
    """

    event: Event
    trusted: bool
    policy: str
    routable: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    approvals: tuple[ApprovalRule, ...] = ()
    reading_only: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one proposal. `action` is what may be applied: neutralised, and absent where malformed.

    `digest` binds (proposal, repository, subject, head sha, version of the policy): any change gives another one.
    """

    kind: str
    args: Mapping[str, Any]
    answer: Answer
    reason: str
    digest: str
    action: Action | None = None


def judge(proposals: Sequence[Any], grant: Grant, setting: Setting) -> list[Verdict]:
    """One verdict for each proposal, in order. Over a cap, or with a secret anywhere in it, the whole batch is refused."""
    names = leaked(_texts(list(proposals)), setting.secrets)
    if names:
        reason = f"the whole batch is refused: it holds the secret {', '.join(names)}"
        return [Verdict(_kind_shown(raw), {}, "deny", reason, digest([setting.policy, names])) for raw in proposals]
    verdicts = [_judge_one(raw, grant, setting) for raw in proposals]
    over = _over_cap(verdicts, grant)
    if not over:
        return verdicts
    refused = f"the whole batch is refused: {over}"
    return [v if v.answer == "deny" else replace(v, answer="deny", reason=refused, action=None) for v in verdicts]


def _judge_one(raw: Any, grant: Grant, setting: Setting) -> Verdict:  # noqa: ANN401 - an agent's word
    try:
        action = parse_action(raw)
    except MalformedProposal as error:
        return Verdict(_kind_shown(raw), {}, "deny", f"malformed proposal: {error}", digest([str(raw)[:10_000]]))
    kind = kind_of(action)
    denial = _denial(action, kind, grant, setting)
    action = _neutral(action)
    denial = denial or _too_long(action)
    args = arguments(action)
    bound = bound_digest(kind, args, setting.event, setting.policy)
    if denial:
        return Verdict(kind, args, "deny", denial, bound)
    human = _needs_human(action, kind, setting) or _wanted_by_rule(kind, grant, setting)
    if human:
        return Verdict(kind, args, "needs_approval", human, bound, action)
    return Verdict(kind, args, "allow", f"{grant.agent} holds {kind}", bound, action)


def bound_digest(kind: str, args: Mapping[str, Any], event: Event, policy: str) -> str:
    """What an approval is bound to."""
    return digest([kind, args, event.repository, event.number, event.head_sha, policy])


def _wanted_by_rule(kind: str, grant: Grant, setting: Setting) -> str | None:
    """A rule without kinds says who answers; only one that names the kind makes an allowed one wait."""
    rule = asked_for(kind, grant.agent, [rule for rule in setting.approvals if kind in rule.kinds])
    return f"approval rule {rule} asks for a human" if rule else None


def _kind_shown(raw: Any) -> str:  # noqa: ANN401 - an agent's word
    """The kind if it is one of ours; anything else an agent wrote there is not repeated."""
    kind = as_object(raw).get("kind")
    return kind if isinstance(kind, str) and kind in WRITING else "unknown"


def _denial(action: Action, kind: str, grant: Grant, setting: Setting) -> str | None:
    """The first reason to refuse, or nothing."""
    if kind not in grant.permissions:
        return f"{grant.agent} has no permission '{kind}'"
    if kind not in ROLE_MAY_HOLD[grant.role]:
        return f"the role '{grant.role}' may never use '{kind}'"
    if setting.reading_only:
        return f"'{kind}' is refused: {setting.reading_only}"
    if kind in CODE_WRITING and not setting.trusted:
        return f"'{kind}' is refused on an untrusted event"
    return _wrong_target(action, kind, setting.event) or _wrong_content(action, grant, setting)


def _wrong_target(action: Action, kind: str, event: Event) -> str | None:
    if event.repository is None and kind not in ("route_agents", "block"):
        return "the event has no repository to act on"
    if action.repository is not None and action.repository.casefold() != (event.repository or "").casefold():
        return f"it aims at {action.repository}, the event is in {event.repository}"
    number = getattr(action, "number", None)
    if number is not None and number != event.number:
        return f"it aims at #{number}, the event is about {_subject(event)}"
    if kind in _ON_SUBJECT and event.subject is None:
        return "the event has no issue or pull request to act on"
    if kind in ("request_review", "review") and event.subject and event.subject.kind != "pull_request":
        return "the event is about no pull request"
    if isinstance(action, UpdateIssue) and event.subject and event.subject.kind != "issue":
        return "the event is about no issue"
    if kind == "create_check" and not event.head_sha:
        return "the event has no commit to report on"
    return None


_ON_SUBJECT = frozenset({"apply_labels", "remove_labels", "update_issue", "comment", "request_review", "review"})


def _subject(event: Event) -> str:
    return f"#{event.subject.number}" if event.subject else "no numbered subject"


def _wrong_content(action: Action, grant: Grant, setting: Setting) -> str | None:
    if isinstance(action, RouteAgents):
        unknown = sorted(set(action.agents) - setting.routable)
        if unknown:
            return f"'{unknown[0]}' is no agent of this config; define it under 'agents:'"
        if grant.agent in action.agents:
            return "an agent cannot route to itself"
    if isinstance(action, CreateIssue) and action.labels and "apply_labels" not in grant.permissions:
        return f"it has labels, and {grant.agent} has no permission 'apply_labels'"
    if isinstance(action, RequestReview) and not action.reviewers and not action.teams:
        return "it names no reviewer"
    if isinstance(action, UpdateIssue) and (action.title, action.body, action.state) == (None, None, None):
        return "it changes nothing"
    for name in ("base", "ref"):
        ref = getattr(action, name, None)
        if ref is not None and not well_formed_ref(ref):
            return f"the {name} {ref!r} is not a well-formed branch name"
    if isinstance(action, (OpenPr, PushBranch)):
        if action.branch is not None and not safe_branch(action.branch):
            return f"the branch {action.branch!r} is not a well-formed name under 'potato/'"
        return _wrong_files(action, grant, setting)
    return None


def _wrong_files(action: OpenPr | PushBranch, grant: Grant, setting: Setting) -> str | None:
    for change in action.files:
        problem = unsafe_path(change.path)
        if problem:
            return f"the path {change.path!r} is refused: {problem}"
        if grant.paths and not any(fits(change.path) for fits in _globs(grant.paths)):
            return f"the path {change.path!r} is not among those that {grant.agent} may change: {', '.join(grant.paths)}"
    if action.parent is not None and action.parent not in (setting.commit, setting.event.head_sha):
        return "it builds on a commit that is not the event's"
    if len({change.path.casefold() for change in action.files}) != len(action.files):
        return "two files differ at most in case"
    return None


@functools.lru_cache(maxsize=256)
def _globs(patterns: tuple[str, ...]) -> tuple[Predicate, ...]:
    return tuple(compile_pattern(pattern, in_path=True) for pattern in patterns)


def _needs_human(action: Action, kind: str, setting: Setting) -> str | None:
    if isinstance(action, (OpenPr, PushBranch)):
        touched = [change.path for change in action.files if is_protected(change.path, setting.protected)]
        if touched:
            return f"it touches the protected file {touched[0]}"
    if kind in NEEDS_APPROVAL:
        return f"'{kind}' always needs a human"
    return None


def _over_cap(verdicts: Sequence[Verdict], grant: Grant) -> str | None:
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        if verdict.action is not None:
            counts[verdict.kind] += _weight(verdict.action)
    for kind, count in counts.items():
        if count > grant.cap(kind):
            return f"{count} x {kind}, the cap is {grant.cap(kind)}"
    return None


def _weight(action: Action) -> int:
    match action:
        case ApplyLabels() | RemoveLabels():
            return len(action.labels)
        case RequestReview():
            return len(action.reviewers) + len(action.teams)
        case RouteAgents():
            return len(action.agents)
        case _:
            return 1


def _neutral(action: Action) -> Action:
    """The action with texts that no longer mention, close, command or claim to be ours."""
    changes: dict[str, Any] = {}
    for name in ("body", "summary"):
        text = getattr(action, name, None)
        if isinstance(text, str):
            changes[name] = neutralise.markdown(text)
    for name in ("title", "message", "reason"):
        text = getattr(action, name, None)
        if isinstance(text, str):
            changes[name] = neutralise.plain(text)
    return msgspec.structs.replace(action, **changes) if changes else action


def _too_long(action: Action) -> str | None:
    """Breaking triggers makes texts longer; GitHub's limits hold for what is sent."""
    for name in ("body", "summary"):
        text = getattr(action, name, None)
        if isinstance(text, str) and len(text) > MAX_BODY:
            return f"its {name} is longer than {MAX_BODY:,} characters once its triggers are broken"
    return None


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        return [value]
    items = [*as_object(value).keys(), *as_object(value).values(), *as_list(value)]
    return [text for item in items for text in _texts(item)]
