"""What every forge promises, on the local one, the fake, and GitHub's emulation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from support.github import TOKEN, Fault, GitHub, Proxy

from potato.core.event import Event, Subject
from potato.core.proposal import parse_action
from potato.errors import PotatoError
from potato.forges.github.client import GitHubClient
from potato.forges.github.forge import GitHubForge
from potato.forges.local.forge import LocalForge
from potato.ports import Forge
from potato.testing import FakeForge, make_event

ACTIONS: list[dict[str, Any]] = [
    {"kind": "apply_labels", "labels": ["one", "Two"]},
    {"kind": "remove_labels", "labels": ["old"]},
    {"kind": "comment", "body": "Hello."},
    {"kind": "comment", "body": "Other.", "key": "second"},
    {"kind": "create_issue", "title": "T", "body": "B", "key": "k"},
    {"kind": "create_check", "name": "n", "conclusion": "neutral", "title": "t", "summary": "s"},
    {"kind": "request_review", "reviewers": ["bob"]},
    {"kind": "review", "event": "comment", "body": "Read it."},
    {"kind": "open_pr", "title": "Add", "files": [{"path": "new/file.txt", "content": "ü\n"}]},
    {
        "kind": "push_branch",
        "branch": "potato/pushed",
        "message": "Push",
        "files": [{"path": "other.txt", "content": "x"}, {"path": "README.md", "content": None}],
    },
]


@pytest.fixture(params=["local", "fake", "github"])
async def forge_and_event(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Forge, Event]]:
    if request.param == "github":
        github: GitHub = request.getfixturevalue("github")
        pull = github.pull_request("A change", {"src/a.py": "x\n"}, labels=("old",))
        forge: Forge = GitHubForge(GitHubClient(TOKEN, url=f"http://{github.url}"))
        event = replace(
            make_event(repository=github.repository), subject=Subject("pull_request", pull["number"]), head_sha=pull["head"]["sha"]
        )
    else:
        forge = LocalForge() if request.param == "local" else FakeForge()
        event = make_event()
    yield forge, event
    await forge.close()


@pytest.mark.parametrize("raw", ACTIONS, ids=lambda raw: raw["kind"] + raw.get("key", ""))
async def test_doing_it_again_changes_nothing(forge_and_event: tuple[Forge, Event], raw: dict[str, Any]) -> None:
    forge, event = forge_and_event
    action = parse_action(raw)
    first = await forge.apply(event, "agent", action, "key")
    second = await forge.apply(event, "agent", action, "key")
    assert first.state == ("staged" if forge.kind == "local" else "applied")
    assert second.state == ("staged" if forge.kind == "local" else "unchanged")
    assert first.detail
    assert second.detail


async def test_facts_that_cannot_be_had_are_left_out_and_told(forge_and_event: tuple[Forge, Event]) -> None:
    forge, event = forge_and_event
    facts = await forge.fetch_facts(replace(event, event="workflow_run", subject=None), frozenset({"jobs"}))
    assert "job" not in facts.fields
    assert facts.problems or forge.kind == "fake"


async def test_without_reading_permissions_nothing_is_read(forge_and_event: tuple[Forge, Event]) -> None:
    forge, event = forge_and_event
    assert dict(await forge.read(event, frozenset())) == {}


async def test_another_persons_copy_of_our_marker_is_left_alone(github: GitHub) -> None:
    pull = github.pull_request("A change", {"src/a.py": "x\n"})
    copied = "<!-- potato:comment agent/main -->"
    github.repo("POST", f"/issues/{pull['number']}/comments", {"body": f"Mine. {copied}"})
    client = GitHubClient(TOKEN, url=f"http://{github.url}")
    client._login = "somebody-else"  # as if the comment above were not ours
    forge = GitHubForge(client)
    event = replace(make_event(repository=github.repository), subject=Subject("pull_request", pull["number"]))
    effect = await forge.apply(event, "agent", parse_action({"kind": "comment", "body": "Ours."}), "key")
    await forge.close()
    assert effect.detail == "commented"
    assert len(github.repo("GET", f"/issues/{pull['number']}/comments")) == 2


async def test_trust_is_what_the_api_says_now(github: GitHub) -> None:
    """E01, E03, E07: by ids and permission, fetched; an unknown actor or a failing API is never trusted."""
    pull = github.pull_request("A change", {"src/a.py": "x\n"})
    forge = GitHubForge(GitHubClient(TOKEN, url=f"http://{github.url}"))
    event = replace(make_event(repository=github.repository), subject=Subject("pull_request", pull["number"]))
    needs = frozenset({"trusted"})
    assert (await forge.fetch_facts(replace(event, actor="alice"), needs)).fields == {"trusted": True}
    assert (await forge.fetch_facts(replace(event, actor="mallory"), needs)).fields == {"trusted": False}
    assert (await forge.fetch_facts(replace(event, actor=None), needs)).fields == {"trusted": False}
    assert (await forge.fetch_facts(replace(event, fields={**event.fields, "fork": True}), needs)).fields == {"trusted": False}
    assert (await forge.fetch_facts(replace(event, repository=None), needs)).fields == {"trusted": False}
    gone = await forge.fetch_facts(replace(event, subject=Subject("pull_request", 9999)), needs)
    assert (dict(gone.fields), len(gone.problems)) == ({}, 1)
    await forge.close()


async def test_a_base_that_is_not_there_is_an_error(github: GitHub) -> None:
    forge = GitHubForge(GitHubClient(TOKEN, url=f"http://{github.url}"))
    action = parse_action({"kind": "open_pr", "title": "T", "base": "nowhere", "files": [{"path": "a", "content": "x"}]})
    with pytest.raises(PotatoError, match="the branch 'nowhere' does not exist"):
        await forge.apply(make_event(repository=github.repository), "agent", action, "key")
    await forge.close()


async def test_a_workflow_is_dispatched_once_and_never_retried(github: GitHub, proxy: Proxy) -> None:
    """GitHub gives no way to look for a dispatch, so an unclear answer is told, not repeated."""
    forge = GitHubForge(GitHubClient(TOKEN, url=proxy.url))
    action = parse_action({"kind": "dispatch_workflow", "workflow": "ci.yml", "inputs": {"a": "b"}})
    event = make_event(repository=github.repository)
    proxy.faults.append(Fault("POST", "/actions/workflows/ci.yml/dispatches$", status=204, body=b""))
    assert (await forge.apply(event, "agent", action, "key")).detail == "started ci.yml on main"
    assert json.loads(proxy.writes()[0].body) == {"ref": "main", "inputs": {"a": "b"}}
    proxy.faults.append(Fault("POST", "/dispatches$", status=502, times=9))
    with pytest.raises(PotatoError, match="github-broken"):
        await forge.apply(event, "agent", action, "key")
    assert len(proxy.writes()) == 2
    await forge.close()
