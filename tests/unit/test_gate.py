from __future__ import annotations

from typing import Any

import pytest

from potato.core.gate import Grant, Setting, Verdict, judge
from potato.core.permission import DEFAULT_CAPS, PERMISSIONS, ROLE_MAY_HOLD, ROLES, WRITING
from potato.testing import make_event

EVERYTHING = Grant("worker", "orchestrator", PERMISSIONS)
VALID: dict[str, dict[str, Any]] = {
    "apply_labels": {"labels": ["x"]},
    "remove_labels": {"labels": ["x"]},
    "create_issue": {"title": "t"},
    "update_issue": {"title": "t"},
    "comment": {"body": "b"},
    "request_review": {"reviewers": ["bob"]},
    "review": {"event": "comment", "body": "b"},
    "open_pr": {"title": "t", "files": [{"path": "a.py", "content": "x"}]},
    "push_branch": {"branch": "potato/x", "message": "m", "files": [{"path": "a.py", "content": "x"}]},
    "create_check": {"name": "n", "conclusion": "success", "title": "t"},
    "dispatch_workflow": {"workflow": "ci.yml"},
    "route_agents": {"agents": ["other"]},
    "block": {"reason": "r"},
}


def setting(*, trusted: bool = True, secrets: dict[str, str] | None = None, **event: Any) -> Setting:
    return Setting(make_event(**event), trusted, "sha256:c", frozenset({"worker", "other"}), frozenset({"orchestrator.yml"}), secrets or {})


def one(proposal: Any, grant: Grant = EVERYTHING, where: Setting | None = None) -> Verdict:
    (verdict,) = judge([proposal], grant, where or setting())
    return verdict


def make(kind: str, **changes: Any) -> dict[str, Any]:
    return {"kind": kind, **VALID[kind], **changes}


def for_kind(kind: str) -> Setting:
    return setting(kind="issue", event="issues") if kind == "update_issue" else setting()


def test_every_kind_has_an_example() -> None:
    assert VALID.keys() == WRITING == DEFAULT_CAPS.keys()


@pytest.mark.parametrize("kind", sorted(WRITING))
def test_a_granted_kind_is_allowed_or_waits_for_a_human(kind: str) -> None:
    expected = "needs_approval" if kind in ("push_branch", "dispatch_workflow") else "allow"
    assert one(make(kind), where=for_kind(kind)).answer == expected


@pytest.mark.parametrize("kind", sorted(WRITING))
@pytest.mark.parametrize("role", ROLES)
def test_without_the_permission_or_beyond_the_role_it_is_denied(kind: str, role: Any) -> None:
    assert one(make(kind), Grant("worker", role, PERMISSIONS - {kind}), for_kind(kind)).answer == "deny"
    verdict = one(make(kind), Grant("worker", role, frozenset({kind})), for_kind(kind))
    assert (verdict.answer == "deny") is (kind not in ROLE_MAY_HOLD[role])


@pytest.mark.parametrize("kind", sorted(WRITING - {"route_agents", "block"}))
def test_the_target_is_the_events_repository_and_subject(kind: str) -> None:
    verdict = one(make(kind, repository="octo/other"), where=for_kind(kind))
    assert (verdict.answer, verdict.reason) == ("deny", "it aims at octo/other, the event is in octo/demo")
    assert one(make(kind, repository="Octo/Demo"), where=for_kind(kind)).answer != "deny"
    if kind in ("apply_labels", "remove_labels", "comment", "request_review", "review", "update_issue"):
        assert one(make(kind, number=8), where=for_kind(kind)).reason == "it aims at #8, the event is about #7"
        assert one(make(kind, number=7), where=for_kind(kind)).answer == "allow"
        assert one(make(kind), where=setting(event="push", number=None)).reason == "the event has no issue or pull request to act on"


@pytest.mark.parametrize(
    ("proposal", "said"),
    [
        ("text", "a proposal is an object with a 'kind'"),
        (None, "a proposal is an object with a 'kind'"),
        ({}, "unknown kind 'None'"),
        ({"kind": "aply_labels"}, "Did you mean 'apply_labels'?"),
        ({"kind": ["x"]}, "unknown kind"),
        ({"kind": "apply_labels"}, "missing required field `labels`"),
        ({"kind": "apply_labels", "labels": "x"}, "Expected `array`"),
        ({"kind": "apply_labels", "labels": []}, "length >= 1"),
        ({"kind": "apply_labels", "labels": [1]}, "Expected `str`"),
        ({"kind": "apply_labels", "labels": ["x"], "force": True}, "it has unknown field `force`"),
        ({"kind": "apply_labels", "labels": ["x"], "number": "7"}, "Expected `int"),
        ({"kind": "apply_labels", "labels": ["x"], "number": True}, "Expected `int"),
        ({"kind": "comment", "body": "x" * 70_000}, "length <="),
        ({"kind": "review", "event": "approve", "body": "b"}, "Invalid enum value 'approve'"),
        ({"kind": "request_review", "reviewers": ["a/b"]}, "`$.reviewers[0]` has characters that are not allowed there"),
        ({"kind": "open_pr", "title": "t", "files": [{"path": "a", "content": "x", "mode": "120000"}]}, "it has unknown field `mode`"),
    ],
)
def test_what_is_no_proposal_is_denied_with_its_reason(proposal: Any, said: str) -> None:
    verdict = one(proposal)
    assert verdict.answer == "deny"
    assert said in verdict.reason
    assert verdict.action is None


def test_over_a_cap_the_whole_batch_is_refused() -> None:
    batch = [
        make("apply_labels", labels=[f"l{n}" for n in range(6)]),
        make("comment"),
        make("apply_labels", labels=[f"m{n}" for n in range(5)]),
    ]
    verdicts = judge(batch, EVERYTHING, setting())
    assert {v.answer for v in verdicts} == {"deny"}
    assert {v.reason for v in verdicts} == {"the whole batch is refused: 11 x apply_labels, the cap is 10"}
    assert all(v.action is None for v in verdicts)


def test_caps_come_from_the_grant() -> None:
    twice = [make("comment", key="a"), make("comment", key="b")]
    assert [v.answer for v in judge(twice, EVERYTHING, setting())] == ["deny", "deny"]
    wider = Grant("worker", "orchestrator", PERMISSIONS, {"comment": 2})
    assert [v.answer for v in judge(twice, wider, setting())] == ["allow", "allow"]
    none = Grant("worker", "orchestrator", PERMISSIONS, {"comment": 0})
    assert [v.answer for v in judge([make("comment")], none, setting())] == ["deny"]


def test_denied_ones_do_not_count_against_the_cap() -> None:
    verdicts = judge([make("comment", number=99), make("comment")], EVERYTHING, setting())
    assert [v.answer for v in verdicts] == ["deny", "allow"]


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".GitHub/Workflows/x", "CODEOWNERS", "docs/CODEOWNERS", ".gitmodules", ".husky/pre-commit",
                                  "orchestrator.yml", "sub/orchestrator.yml", ".pre-commit-config.yaml", "AGENTS.md", "x/CLAUDE.md", "prek.toml", ".lefthook.yml", "sub/.husky/x", "hooks/pre-commit", ".ci/run", ".travis.yml", ".npmrc"])  # fmt: skip
def test_protected_files_need_a_human(path: str) -> None:
    verdict = one(make("open_pr", files=[{"path": "ok.py", "content": ""}, {"path": path, "content": ""}]))
    assert (verdict.answer, verdict.reason) == ("needs_approval", f"it touches the protected file {path}")


def test_untrusted_events_write_no_code() -> None:
    for kind in ("open_pr", "push_branch", "dispatch_workflow"):
        assert one(make(kind), where=setting(trusted=False)).reason == f"'{kind}' is refused on an untrusted event"
    assert one(make("apply_labels"), where=setting(trusted=False)).answer == "allow"


def test_routing_stays_within_the_config() -> None:
    assert one(make("route_agents", agents=["stranger"])).reason == "'stranger' is no agent of this config; define it under 'agents:'"
    assert one(make("route_agents", agents=["worker"])).reason == "an agent cannot route to itself"


@pytest.mark.parametrize(
    "branch",
    [
        "main",
        "potato",
        "potato/",
        "potato/../main",
        "potato/a..b",
        "potato/a b",
        "potato/a.lock",
        "refs/heads/main",
        "potato/.a",
        "potato//a",
        "potato/a@{1}",
    ],
)
def test_branches_stay_under_ours(branch: str) -> None:
    assert "is not a well-formed name under 'potato/'" in one(make("open_pr", branch=branch)).reason


@pytest.mark.parametrize(
    "name", ["../../../../victim/priv/git/ref/heads/main", "../../../../../../user", "/x", "a b", "-x", "a\n", "a.lock"]
)
def test_bases_and_refs_are_branch_names_and_nothing_else(name: str) -> None:
    assert f"the base {name!r} is not a well-formed branch name" in one(make("open_pr", base=name)).reason
    assert f"the ref {name!r} is not a well-formed branch name" in one(make("dispatch_workflow", ref=name)).reason


def test_a_secret_anywhere_refuses_the_whole_batch_and_is_not_repeated() -> None:
    secret = "s3cr3t-Value/with+signs"
    halves = [make("comment", body=secret[:11]), make("create_issue", title=secret[11:]), {"kind": "fine"}]
    for batch in (
        halves,
        [make("comment", body=f"x{secret}")],
        [{"kind": secret}],
        [{secret: 1}],
        [secret],
        [make("apply_labels", labels=[secret])],
    ):
        verdicts = judge(batch, EVERYTHING, setting(secrets={"KEY": secret}))
        assert {v.answer for v in verdicts} == {"deny"}
        assert {v.reason for v in verdicts} == {"the whole batch is refused: it holds the secret KEY"}
        assert secret not in str(verdicts)


def test_labels_of_a_new_issue_need_their_own_permission() -> None:
    only_issues = Grant("worker", "triage", frozenset({"create_issue"}))
    assert (
        one(make("create_issue", labels=["codex:route"]), only_issues).reason
        == "it has labels, and worker has no permission 'apply_labels'"
    )
    assert one(make("create_issue"), only_issues).answer == "allow"


def test_a_text_that_grows_past_githubs_limit_is_denied() -> None:
    assert "its body is longer than 65,000 characters" in one(make("comment", body="@a" * 32_000)).reason


@pytest.mark.parametrize(
    "proposal",
    [
        {"kind": "request_review", "reviewers": ["octocat\n"]},
        {"kind": "comment", "body": "b", "key": "a\n"},
        {"kind": "apply_labels", "labels": ["\x1b[2J\nx"]},
        {"kind": "apply_labels", "labels": [" "]},
        {"kind": "apply_labels", "labels": ["\u202eabc"]},
        {"kind": "create_check", "name": "n\n\x1b", "conclusion": "success", "title": "t"},
    ],
)
def test_names_hold_no_control_characters(proposal: Any) -> None:
    assert one(proposal).answer == "deny"


def test_the_digest_binds_proposal_target_head_and_config() -> None:
    base = one(make("comment"))
    others = [
        one(make("comment", body="c")),
        one(make("comment", key="k")),
        one(make("comment"), where=setting(number=8)),
        one(make("comment"), where=setting(repository="octo/other")),
        judge([make("comment")], EVERYTHING, Setting(make_event(), True, "sha256:d"))[0],
    ]
    assert len({base.digest, *(v.digest for v in others)}) == 6
    assert base.digest == one(make("comment")).digest


def test_texts_are_neutralised_before_they_are_shown_or_applied() -> None:
    verdict = one(make("comment", body="@octocat fixes #1\n/approve"))
    assert verdict.args["body"] == "@&#8203;octocat fixes &#8203;#&#8203;1\n&#8203;/approve"
    title = one(make("create_issue", title="Fixes #1\n@all")).args["title"]
    assert title == "Fixes \u200b#\u200b1 @\u200ball"
