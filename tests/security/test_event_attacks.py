"""Who an event is from, and what it is about, decided by what only GitHub can say; what agents aim at, by their grant alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import potato
from support.github import TOKEN, GitHub

from potato.core.gate import Grant, Setting, judge
from potato.core.permission import PERMISSIONS
from potato.forges.github.client import GitHubClient
from potato.forges.github.forge import GitHubForge
from potato.forges.github.normalise import normalise
from potato.testing import make_event

NEEDS = frozenset({"trusted"})


def example(deliveries: dict[str, list[dict[str, Any]]], event: str, action: str | None = None) -> dict[str, Any]:
    found = next(one for one in deliveries[event] if action is None or one.get("action") == action)
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("head", [None, {"id": 1, "fork": False, "full_name": "Codertocat/Hello-World"}, {"fork": True}])
def test_e01_e02_a_forks_head_gets_no_secret(tmp_path: Path, deliveries: dict[str, list[dict[str, Any]]], head: Any) -> None:
    """The head's repository has another id, is gone, or lies about its name: the agent runs without its secret, and cannot push."""
    payload = example(deliveries, "pull_request", "opened")
    base = payload["pull_request"]["base"]["repo"]["id"]
    payload["pull_request"]["head"]["repo"] = head and {**payload["pull_request"]["head"]["repo"], **head, "id": head.get("id", base + 1)}
    (tmp_path / "event.json").write_text(json.dumps(payload))
    (tmp_path / "agent.py").write_text(
        "import json, os\n"
        "push = {'kind': 'push_branch', 'branch': 'potato/x', 'message': 'm', 'files': [{'path': 'a', 'content': 'b'}]}\n"
        "print(json.dumps({'summary': str(os.environ.get('MODEL_KEY')), 'proposals': [push]}))\n"
    )
    (tmp_path / "orchestrator.yml").write_text(
        "routing: [{if: 'event == \"pull_request\"', run: [a]}]\n"
        "agents: {a: {command: [python3, agent.py], permissions: [push_branch], secrets: [MODEL_KEY]}}\n"
    )
    done = potato(
        "run", "--event", "pull_request", "--payload", "event.json", "--json", cwd=tmp_path, env={"MODEL_KEY": "the-canary-of-e02"}
    )
    (run,) = done.json["runs"]
    assert run["summary"] == "None"
    assert "untrusted event: it got no secrets" in run["warnings"]
    assert run["proposals"][0]["reason"].startswith("'push_branch' is refused: the event is untrusted, so the agent may only read")
    assert "the-canary-of-e02" not in done.out + done.err


async def test_e03_e04_who_may_only_read_is_not_trusted_whatever_the_payload_says(
    github: GitHub, deliveries: dict[str, list[dict[str, Any]]]
) -> None:
    """A label by somebody without rights on a pull request of the owner's; associations and commit authors count for nothing."""
    pull = github.pull_request("A change", {"src/a.py": "x\n"})
    forge = GitHubForge(GitHubClient(TOKEN, url=f"http://{github.url}"))
    numbers = {login: github.call("GET", f"/users/{login}")["id"] for login in ("alice", "mallory")}
    for login, number, trusted in (("mallory", "mallory", False), ("alice", "alice", True), ("alice", "mallory", False)):
        sender = {"login": login, "id": numbers[number], "type": "User"}
        payload = github.event(pull, "labeled") | {"label": {"name": "codex:route"}, "sender": sender}
        payload["pull_request"] |= {"author_association": "OWNER", "labels": [{"name": "codex:route"}]}
        event = normalise("pull_request", json.dumps(payload).encode(), what="it")
        assert event.actor == login
        assert (await forge.fetch_facts(event, NEEDS)).fields == {"trusted": trusted}
    await forge.close()


@pytest.mark.parametrize("key", ["issue", "comment", "both"])
async def test_what_an_outsider_wrote_stays_untrusted_whoever_labels_it_or_answers(key: str, github: GitHub) -> None:
    """A maintainer's label or comment does not vouch for the text that it stands on."""
    forge = GitHubForge(GitHubClient(TOKEN, url=f"http://{github.url}"))
    people = {login: {"login": login, "id": github.call("GET", f"/users/{login}")["id"], "type": "User"} for login in ("alice", "mallory")}
    repository = github.call("GET", f"/repos/{github.repository}")
    for author, trusted in (("alice", True), ("mallory", False)):
        issue = {"number": 1, "title": "t", "state": "open", "user": people["alice" if key == "comment" else author]}
        payload: dict[str, Any] = {"action": "labeled", "issue": issue, "repository": repository, "sender": people["alice"]}
        if key != "issue":
            payload |= {"action": "created", "comment": {"id": 5, "body": "b", "user": people[author]}}
        event = normalise("issue_comment" if key != "issue" else "issues", json.dumps(payload).encode(), what="it")
        assert (await forge.fetch_facts(event, NEEDS)).fields["trusted"] is trusted
    await forge.close()


def test_e09_a_ci_run_names_a_pull_request_only_where_github_is_sure(deliveries: dict[str, list[dict[str, Any]]]) -> None:
    """GitHub lists no pull requests for a fork's run; artifacts and names, which the fork writes, are never asked."""
    payload = example(deliveries, "workflow_run", "completed")
    payload["workflow_run"] |= {
        "pull_requests": [], "head_branch": "pull/17", "display_title": "PR #17", "head_repository": {"id": 666, "full_name": "mallory/fork"},
    }  # fmt: skip
    event = normalise("workflow_run", json.dumps(payload).encode(), what="it")
    assert (event.subject, event.number) == (None, None)
    assert event.fields["fork"] is True
    two = [{"number": 17, "id": 1, "url": "x"}, {"number": 18, "id": 2, "url": "x"}]
    payload["workflow_run"]["pull_requests"] = two
    assert normalise("workflow_run", json.dumps(payload).encode(), what="it").number is None


KINDS: list[dict[str, Any]] = [
    {"kind": "apply_labels", "labels": ["a"]}, {"kind": "remove_labels", "labels": ["a"]}, {"kind": "comment", "body": "x"},
    {"kind": "create_issue", "title": "t", "body": "b"}, {"kind": "request_review", "reviewers": ["bob"]},
    {"kind": "review", "event": "comment", "body": "x"}, {"kind": "open_pr", "title": "t", "files": [{"path": "a", "content": "b"}]},
    {"kind": "push_branch", "branch": "potato/x", "message": "m", "files": [{"path": "a", "content": "b"}]},
    {"kind": "create_check", "name": "n", "conclusion": "neutral", "title": "t", "summary": "s"},
    {"kind": "dispatch_workflow", "workflow": "x.yml"},
]  # fmt: skip


@pytest.mark.parametrize("proposal", KINDS, ids=lambda proposal: proposal["kind"])
def test_a03_nothing_that_is_not_granted_or_aims_elsewhere(proposal: dict[str, Any]) -> None:
    kind = proposal["kind"]
    setting = Setting(make_event(repository="octo/demo"), trusted=True, policy="p")
    everything = Grant("a", "orchestrator", PERMISSIONS)
    assert judge([proposal], everything, setting)[0].answer != "deny"
    without = judge([proposal], Grant("a", "orchestrator", PERMISSIONS - {kind}), setting)
    assert (without[0].answer, without[0].reason) == ("deny", f"a has no permission '{kind}'")
    for elsewhere in ("octo/other", "evil/demo", "octo/demo2"):
        aimed = judge([{**proposal, "repository": elsewhere}], everything, setting)[0]
        assert (aimed.answer, aimed.reason) == ("deny", f"it aims at {elsewhere}, the event is in octo/demo")


@pytest.mark.parametrize(
    "change",
    [
        {"path": ".github/workflows/ci.yml", "content": "x"}, {"path": ".github/workflows/old.yml", "content": None},
        {"path": ".GITHUB/workflows/ci.yml", "content": "x"}, {"path": "CODEOWNERS", "content": "* @mallory"}, {"path": ".gitmodules", "content": "x"},
        {"path": "orchestrator.yml", "content": "x"}, {"path": ".husky/pre-commit", "content": "x"},
    ],
    ids=lambda change: f"{change['path']} {'removed' if change['content'] is None else ''}",
)  # fmt: skip
def test_a04_protected_files_wait_for_a_human_also_removed_or_in_other_case(change: dict[str, Any]) -> None:
    setting = Setting(make_event(repository="octo/demo"), trusted=True, policy="p", protected=frozenset({"orchestrator.yml"}))
    files = [{"path": "README.md", "content": "x"}, change]
    (verdict,) = judge([{"kind": "open_pr", "title": "t", "files": files}], Grant("a", "orchestrator", PERMISSIONS), setting)
    assert verdict.answer == "needs_approval"
    assert verdict.reason == f"it touches the protected file {change['path']}"
