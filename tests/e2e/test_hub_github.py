"""The hub with the emulated GitHub: effects, check runs, stale heads, what GitHub could not deliver, GitHub away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.github import TOKEN, Fault, GitHub, Proxy, wait_until
from support.hub import CONFIG, Hub, project, query, ran, started


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'potato.db'}"


@pytest.fixture
def hub(tmp_path: Path, proxy: Proxy, url: str) -> Iterator[Hub]:
    with started(project(tmp_path), url, env={"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": proxy.url}) as running:
        yield running


def checks(github: GitHub, sha: str) -> list[dict[str, Any]]:
    return [check for check in github.repo("GET", f"/commits/{sha}/check-runs")["check_runs"] if check["name"] == "potato"]


def test_a_pull_request_gets_its_effects_and_a_check_that_ends(hub: Hub, github: GitHub) -> None:
    pull = github.pull_request("Add a page", {"a.md": "x"})
    assert hub.send(github.event(pull, "opened")) == 202
    assert hub.settled(1)
    assert [label["name"] for label in github.repo("GET", f"/issues/{pull['number']}/labels")] == ["seen"]
    assert wait_until(lambda: [c["status"] for c in checks(github, pull["head"]["sha"])] == ["completed"], 15)
    check = checks(github, pull["head"]["sha"])[0]
    assert (check["conclusion"], check["output"]["title"]) == ("success", "1 succeeded")
    assert check["output"]["summary"] == "- **seer** succeeded (rule opened): 2 applied"


def test_an_event_about_an_older_head_acts_on_nothing(hub: Hub, github: GitHub, proxy: Proxy) -> None:
    """E08."""
    pull = github.pull_request("Old news", {"a.md": "x"})
    late = github.event(pull, "opened")
    late["pull_request"]["head"]["sha"] = "0" * 39 + "1"  # the emulator keeps the head that a pull request was opened with
    hub.send(late)
    assert hub.settled(1)
    run = hub.api("/api/v1/runs")[0]
    assert run["state"] == "superseded"
    assert run["reason"].startswith("the event is about commit ")
    assert ran(hub.folder) == []
    assert [call for call in proxy.writes() if "check-runs" not in call.path] == []


def test_an_event_about_a_pull_request_that_was_closed_since_acts_on_nothing(hub: Hub, github: GitHub) -> None:
    pull = github.pull_request("Closed soon", {"a.md": "x"})
    late = github.event(pull, "opened")
    github.repo("PATCH", f"/pulls/{pull['number']}", {"state": "closed"})
    hub.send(late)
    assert hub.settled(1)
    assert hub.api("/api/v1/runs")[0]["reason"] == "the pull request is closed by now"


@pytest.mark.slow
def test_github_away_delays_everything_and_loses_nothing(hub: Hub, github: GitHub, proxy: Proxy) -> None:
    """R09: while facts are fetched, and while effects are applied."""
    pull = github.pull_request("Patience", {"a.md": "x"})
    event = github.event(pull, "opened")
    proxy.faults.append(Fault("GET", "/collaborators/|/pulls/", 502, times=12))
    hub.send(event, delivery_id="patient")
    assert wait_until(lambda: query(f"sqlite:///{hub.folder / 'potato.db'}", "SELECT attempts FROM delivery")[0][0] >= 1, 30)
    proxy.faults.append(Fault("POST", "/comments", 502, times=1))
    assert hub.settled(1, 90)
    run = hub.api("/api/v1/runs")[0]
    assert run["state"] == "succeeded", run
    assert len(github.repo("GET", f"/issues/{pull['number']}/comments")) == 1
    assert len(ran(hub.folder)) == 1


def test_a_lost_answer_after_the_write_leaves_one_comment(hub: Hub, github: GitHub, proxy: Proxy) -> None:
    """R02."""
    pull = github.pull_request("Lost answer", {"a.md": "x"})
    proxy.faults.append(Fault("POST", "/comments", after=True, drop=True))
    hub.send(github.event(pull, "opened"))
    assert hub.settled(1, 60)
    assert hub.api("/api/v1/runs")[0]["state"] == "succeeded"
    assert len(github.repo("GET", f"/issues/{pull['number']}/comments")) == 1


@pytest.mark.slow
def test_missed_deliveries_are_asked_for_and_unseen_heads_found(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    """The emulator has no deliveries to ask for: the proxy plays those of one hook, with a failed one and one that went well later."""
    name = github.repository
    github.pull_request("Nobody told", {"a.md": "x"})
    proxy.extra[rf"/repos/{name}/hooks\?"] = [
        {"id": 9, "config": {"url": "https://hub.example/webhooks/github"}},
        {"id": 8, "config": {"url": "https://other.example"}},
    ]
    proxy.extra[r"/hooks/9/deliveries\?"] = [
        {"id": 33, "guid": "lost", "event": "pull_request", "status_code": 502},
        {"id": 32, "guid": "came-later", "event": "push", "status_code": 202},
        {"id": 31, "guid": "came-later", "event": "push", "status_code": 0},
    ]
    proxy.faults.append(Fault("POST", "/hooks/9/deliveries/33/attempts", 202, body=b"{}", times=9))
    config = CONFIG + f"hub: {{url: 'https://hub.example', backfill: {{every: 1s, repositories: ['{name}']}}}}\n"
    with started(project(tmp_path, config), url, env={"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": proxy.url}) as hub:
        assert hub.settled(1, 60)
        assert query(url, "SELECT source, state FROM delivery") == [("poll", "decided")]
        asked = [call.path for call in proxy.writes() if "/attempts" in call.path]
        assert set(asked) == {f"/repos/{name}/hooks/9/deliveries/33/attempts"}
        time.sleep(3)
        assert len(hub.api("/api/v1/runs")) == 1


def test_without_the_right_to_write_checks_the_rest_goes_on(hub: Hub, github: GitHub, proxy: Proxy) -> None:
    proxy.faults.append(Fault("POST", "/check-runs", 403, times=99))
    pull = github.pull_request("No checks", {"a.md": "x"})
    hub.send(github.event(pull, "opened"))
    assert hub.settled(1)
    assert hub.api("/api/v1/runs")[0]["state"] == "succeeded"
    assert wait_until(lambda: "check run on" in hub.text(), 10)
