"""GitHub's documented deliveries, all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import SPECIFICATION, octokit_examples
from support.github import COUNTERPARTS

from potato.config.loader import load_config
from potato.core.expression import Reading, compile_expression, parse
from potato.core.fields import FIELDS, possible_values
from potato.core.routing import decide
from potato.core.value import UNKNOWN, Partial
from potato.core.vocabulary import ACTIONS, FREE_ACTION
from potato.errors import UsageError
from potato.forges.github.normalise import normalise

TYPES = {"string": str, "strings": tuple, "int": int, "bool": bool}


def every() -> list[tuple[str, dict[str, Any]]]:
    return [(event, payload) for event, payloads in octokit_examples().items() for payload in payloads]


def body(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def test_all_329_payloads_of_58_events_normalise() -> None:
    events = [normalise(name, body(payload)) for name, payload in every()]
    assert len(events) == 329
    assert len({event.event for event in events}) == 58
    for event, (name, payload) in zip(events, every(), strict=True):
        assert event.fields["event"] == name
        assert event.repository == (payload.get("repository") or {}).get("full_name")
        if name != "repository_import" and ACTIONS[name]:
            assert event.fields["action"] == payload["action"]


def test_every_field_an_event_has_is_declared_with_its_type_and_values() -> None:
    for name, payload in every():
        for field, value in normalise(name, body(payload)).fields.items():
            assert name in FIELDS[field].events, (field, name)
            if value is not UNKNOWN and not isinstance(value, Partial):
                assert isinstance(value, TYPES[FIELDS[field].kind]), (field, name)
            possible = possible_values(field, frozenset({name}))
            if possible is not None:
                assert value in possible, (field, name, value)


def test_every_declared_field_of_an_event_occurs_or_is_known_to_be_rare() -> None:
    """The other way round: no field is promised for an event that never has it."""
    seen = {(field, name) for name, payload in every() for field in normalise(name, body(payload)).fields}
    without_examples = {"pull_request_target", "schedule", "deployment_protection_rule"}
    rare = {
        ("number", "workflow_job"), ("number", "check_suite"), ("number", "check_run"), ("number", "workflow_run"),
        ("draft", "issue_comment"), ("fork", "issue_comment"), ("branch", "issue_comment"), ("base", "issue_comment"), ("path", "issue_comment"),
        ("branch", "create"), ("branch", "delete"), ("ref", "deployment_review"), ("command", "issue_comment"),
    }  # fmt: skip
    promised = {
        (field.name, name)
        for field in FIELDS.values()
        for name in field.events & octokit_examples().keys()
        if field.name not in ("action", "repository", "owner", "actor", "command", "tag", "conclusion")
    }
    missing = {pair for pair in promised - seen if pair[1] not in without_examples} - rare
    assert missing == set()


def test_the_vocabulary_holds_what_githubs_schemas_know() -> None:
    """Drift: a newer package of schemas with another event or action fails here."""
    schema = json.loads((COUNTERPARTS / "node_modules/@octokit/webhooks-schemas/schema.json").read_text())
    for name, definition in schema["definitions"].items():
        if "$" not in name:
            continue
        event, _, _ = name.partition("$")
        assert event in ACTIONS, event
        action = definition.get("properties", {}).get("action", {})
        values = action.get("enum", []) or ([action["const"]] if "const" in action else [])
        if event not in FREE_ACTION:
            assert set(values) <= ACTIONS[event], name


@pytest.mark.parametrize(
    ("event", "action", "changes", "facts", "agents"),
    [
        ("pull_request", "labeled", {"label": "codex:route"}, {}, ["codex_router"]),
        ("pull_request", "labeled", {}, {}, ["codex_triage"]),
        ("pull_request", "opened", {}, {}, ["codex_triage"]),
        ("workflow_run", "completed", {"conclusion": "failure"}, {"job": ("CI", "tests")}, ["ci_triage_guard", "coverage_orchestrator"]),
        ("workflow_run", "completed", {"conclusion": "failure", "name": "tests"}, {}, ["ci_triage_guard", "coverage_orchestrator"]),
        ("workflow_run", "completed", {"conclusion": "success"}, {"job": ("CI", "tests")}, []),
        ("workflow_run", "completed", {"conclusion": "failure"}, {"job": ("CI", "lint")}, []),
        ("issues", "opened", {}, {}, []),
    ],
)
def test_the_specifications_rules_pick_the_specifications_agents(event: str, action: str, changes: dict[str, str], facts: dict[str, Any],
                                                                  agents: list[str]) -> None:  # fmt: skip
    payload = json.loads(json.dumps(next(p for n, p in every() if n == event and p.get("action") == action)))
    if "label" in changes:
        for label in payload["pull_request"]["labels"]:
            label["name"] = changes["label"]
    elif changes:
        payload["workflow_run"].update(changes)
    table = load_config(str(SPECIFICATION / "orchestrator.yml")).require().table
    decision = decide({**normalise(event, body(payload)).fields, **facts}, table)
    assert [a.agent for a in decision.assignments] == agents
    assert decision.held == ()


def test_a_failed_run_whose_jobs_are_not_known_is_held_not_guessed() -> None:
    payload = next(p for n, p in every() if n == "workflow_run" and p["action"] == "completed")
    payload = {**payload, "workflow_run": {**payload["workflow_run"], "conclusion": "failure"}}
    table = load_config(str(SPECIFICATION / "orchestrator.yml")).require().table
    decision = decide(normalise("workflow_run", body(payload)).fields, table)
    assert [a.agent for a in decision.held] == ["ci_triage_guard", "coverage_orchestrator"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [({"id": 1}, False), ({"id": 2}, True), (None, True), ({}, True), ({"id": 2, "full_name": "octo/demo", "fork": False}, True)],
)
def test_forks_are_told_by_numeric_ids_only(head: Any, expected: bool) -> None:
    """E01: names and flags in the payload can be chosen; a head repository that is gone counts as a fork."""
    payload = {"action": "opened", "number": 1, "repository": {"id": 1, "full_name": "octo/demo"},
               "pull_request": {"number": 1, "head": {"ref": "x", "repo": head}, "base": {"ref": "main", "repo": {"id": 1, "full_name": "octo/demo"}}}}  # fmt: skip
    assert normalise("pull_request", body(payload)).fields["fork"] is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/deploy", ("deploy",)),
        ("please\n/deploy staging  now\r\n/retest", ("deploy", "deploy staging now", "retest")),
        ("> /deploy", ()),
        ("```\n/deploy\n```\n/retest", ("retest",)),
        ("~~~\n```\n/deploy\n~~~", ()),
        ("a /deploy", ()),
        ("    /code", ()),
        ("/usr/bin/x", ()),
        ("//x", ()),
        ("/", ()),
        ("x\r/deploy", ()),
        ("x\u2028/deploy", ()),
        ("<!--\n/deploy\n-->", ()),
        ("<!-- -->/deploy", ()),
        ("````\n```\n/deploy\n````\n/retest", ("retest",)),
        ("```\nx\n```js\n/evil\n```", ()),
    ],
)
def test_commands_are_lines_outside_quotes_and_code(text: str, expected: tuple[str, ...]) -> None:
    payload = {"action": "created", "issue": {"number": 1}, "comment": {"body": text}}
    assert normalise("issue_comment", body(payload)).fields.get("command") == expected


def push(**changes: Any) -> Any:
    return {"ref": "refs/heads/main", "before": "b" * 40, "after": "a" * 40, **changes}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            push(commits=[{"added": ["a"], "modified": ["b"], "removed": []}, {"added": ["a"], "modified": [], "removed": ["c"]}]),
            ("a", "b", "c"),
        ),
        (push(commits=[{"id": "x"}]), UNKNOWN),
        (push(commits=[{"added": ["a"]}, {"id": "x"}]), Partial(("a",))),
        (push(commits=[], created=True), ()),
        (push(commits=[], deleted=True), ()),
        (push(commits=[], forced=True), UNKNOWN),
        (push(commits=[{"added": ["a"]}] * 2048), Partial(("a",))),
    ],
)
def test_pushed_paths_are_known_only_as_far_as_github_tells(payload: Any, expected: Any) -> None:
    assert normalise("push", body(payload)).fields["path"] == expected


def test_refs_tags_and_branches() -> None:
    tag = normalise("push", body(push(ref="refs/tags/v1", commits=[])))
    assert (tag.fields.get("tag"), tag.fields.get("branch"), tag.fields["ref"]) == ("v1", None, "refs/tags/v1")
    created = normalise("create", body({"ref": "feature/x", "ref_type": "branch"}))
    assert (created.fields["branch"], created.fields["ref"]) == ("feature/x", "refs/heads/feature/x")
    schedule = normalise("schedule", body({"schedule": "0 */6 * * *", "workflow": "x.yml"}), ref="refs/heads/main", sha="c" * 40)
    assert (schedule.fields["cron"], schedule.fields["branch"], schedule.head_sha) == ("0 */6 * * *", "main", "c" * 40)


@pytest.mark.parametrize(
    ("event", "payload", "code"),
    [
        ("Pull_Request", {}, "bad-event-name"),
        ("../x", {}, "bad-event-name"),
        ("pull_request", {}, "wrong-shape"),
        ("pull_request", {"pull_request": []}, "wrong-shape"),
        ("pull_request", {"pull_request": {"number": "7"}}, "wrong-shape"),
        ("issues", {"pull_request": {"number": 7}}, "wrong-shape"),
        ("push", {"ref": "x", "repository": {"full_name": "../.."}}, "wrong-shape"),
        ("push", {"ref": "x", "repository": {"full_name": "a/b/c"}}, "wrong-shape"),
        ("push", {"ref": "x", "repository": {"full_name": "../x"}}, "wrong-shape"),
    ],
)
def test_payloads_of_the_wrong_shape(event: str, payload: Any, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise(event, body(payload))
    assert caught.value.code == code


def test_events_we_know_no_fields_of_still_route() -> None:
    event = normalise("brand_new_event", body({"action": "happened", "repository": {"full_name": "o/r", "owner": {"login": "o"}}}))
    assert (event.fields["action"], event.repository) == ("happened", "o/r")
    assert compile_expression(parse('event != "push" && repository == "o/r"'))(Reading(event.fields)) is True
