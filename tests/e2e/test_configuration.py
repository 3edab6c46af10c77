"""Configuration across repositories on the emulated GitHub: an organisation's above each repository's own, from default branches only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import potato
from support.github import TOKEN, Fault, GitHub, Proxy, wait_until
from support.hub import Hub, Postgres, project, query, started

HUB = """
hub: {configuration: {organisation: ORGANISATION, repositories: ["alice/*"], every: 1h}}
agents: {seer: {command: [python3, agent.py], sandbox: none, permissions: [comment, apply_labels]}}
"""
ORGANISATION = """
routing: [{name: every, if: 'event == "pull_request" && action == "opened"', run: [seer]}]
loops: {depth: 3}
repositories: {permissions: [comment, apply_labels]}
"""
OWN = """
routing: [{name: mine, if: 'event == "pull_request" && action == "opened"', run: [helper]}]
agents: {helper: {ref: builtin:basic_triage, permissions: [apply_labels]}}
"""


pytestmark = pytest.mark.slow


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'potato.db'}"


@pytest.fixture
def organisation(github_url: str, _repositories: Iterator[str]) -> GitHub:
    return GitHub(github_url, next(_repositories))


def hub_of(tmp_path: Path, url: str, proxy: Proxy, organisation: GitHub, **env: str) -> Any:
    folder = project(tmp_path, HUB.replace("ORGANISATION", organisation.repository))
    return started(folder, url, env={"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": proxy.url, **env})


def push(hub: Hub, github: GitHub) -> int:
    """The delivery of a push to main."""
    sha = github.repo("GET", "/git/ref/heads/main")["object"]["sha"]
    repository = github.call("GET", f"/repos/{github.repository}")
    body = {"ref": "refs/heads/main", "before": "0" * 40, "after": sha, "repository": repository, "sender": github.call("GET", "/user"),
            "pusher": {"name": "alice"}, "commits": [], "head_commit": None, "created": False, "deleted": False, "forced": False, "compare": "x"}  # fmt: skip
    return hub.send(body, event="push")


def opened(hub: Hub, github: GitHub, title: str, files: dict[str, str] | None = None) -> dict[str, Any]:
    pull = github.pull_request(title, files or {f"{title}.md": "x"})
    assert hub.send(github.event(pull, "opened")) == 202
    return pull


def agents_on(hub: Hub, pull: dict[str, Any]) -> set[str]:
    return {
        run["agent"]
        for run in hub.api("/api/v1/runs?limit=1000")
        if (run["repository"], run["number"]) == (pull["base"]["repo"]["full_name"], pull["number"])
    }


def check(github: GitHub, sha: str) -> dict[str, Any]:
    found = github.repo("GET", f"/commits/{sha}/check-runs")["check_runs"]
    return next((one for one in found if one["name"] == "potato config"), {})


def status(hub: Hub, url: str) -> dict[str, Any]:
    return json.loads(potato("status", "--database", url, "--json", cwd=hub.folder).out)


def test_rules_of_both_hold_and_changes_come_with_a_push(
    tmp_path: Path, github: GitHub, organisation: GitHub, proxy: Proxy, url: str
) -> None:
    """C06: what holds is what stands on the default branch, at a commit that is on record."""
    organisation.commit("main", "orchestrator.yml", ORGANISATION)
    github.commit("main", ".codex/orchestrator/config.yml", OWN)
    with hub_of(tmp_path, url, proxy, organisation) as hub:
        first = opened(hub, github, "First")
        assert wait_until(lambda: agents_on(hub, first) == {"seer", "helper"}, 20), hub.text()
        other = opened(hub, organisation, "Other")  # a repository without a config of its own
        assert wait_until(lambda: agents_on(hub, other) == {"seer"}, 20), hub.text()

        evil = OWN.replace('event == "pull_request" && action == "opened"', 'event == "pull_request"').replace(
            "[apply_labels]", "[comment]"
        )
        pull = opened(hub, github, "Evil", {".codex/orchestrator/config.yml": evil})
        assert wait_until(lambda: agents_on(hub, pull) == {"seer", "helper"}, 20), hub.text()
        decisions = {row[0] for row in query(url, "SELECT config_digest FROM decision")}
        assert len(decisions) == 2  # of the repository, and of the organisation's own: none of the pull request

        github.commit("main", ".codex/orchestrator/config.yml", "loops: {depth: 1}\n")
        assert push(hub, github) == 202
        assert wait_until(lambda: len(query(url, "SELECT seq FROM audit_entry WHERE kind = 'config'")) == 3, 20), hub.text()
        last = opened(hub, github, "Last")
        assert wait_until(lambda: agents_on(hub, last) == {"seer"}, 20), hub.text()
        bodies = [json.loads(row[0])["body"] for row in query(url, "SELECT leaf FROM audit_entry WHERE kind = 'config' ORDER BY seq")]
        sha = github.repo("GET", "/git/ref/heads/main")["object"]["sha"]
        assert (bodies[-1]["repository"], bodies[-1]["sha"], bodies[-1]["kind"]) == (github.repository, sha, "repository")
        assert status(hub, url)["configurations"] == []


def test_a_broken_or_loosening_config_leaves_the_last_good_one_and_says_so(
    tmp_path: Path, github: GitHub, organisation: GitHub, proxy: Proxy, url: str
) -> None:
    """C05, C08: the last good one stays, on the commit and in `status` stands why."""
    organisation.commit("main", "orchestrator.yml", ORGANISATION)
    github.commit("main", "orchestrator.yml", OWN)
    with hub_of(tmp_path, url, proxy, organisation) as hub:
        first = opened(hub, github, "First")
        assert wait_until(lambda: agents_on(hub, first) == {"seer", "helper"}, 20), hub.text()
        for number, (text, told) in enumerate([
            (OWN + "loops: {depth: 9}\n", "orchestrator.yml:4:16 loosens-policy: loops.depth is more than the config above allows"),
            (OWN.replace("[apply_labels]", "[apply_label]"), "unknown-permission: 'apply_label' is no permission"),
            ("a: [", "invalid-yaml"),
        ]):  # fmt: skip
            github.commit("main", "orchestrator.yml", text)
            sha = github.repo("GET", "/git/ref/heads/main")["object"]["sha"]
            assert push(hub, github) == 202
            assert wait_until(lambda sha=sha: check(github, sha).get("conclusion") == "failure", 20), hub.text()
            assert told in check(github, sha)["output"]["summary"]
            pull = opened(hub, github, f"More{number}")
            assert wait_until(lambda pull=pull: agents_on(hub, pull) == {"seer", "helper"}, 20), hub.text()
            (trouble,) = status(hub, url)["configurations"]
            assert trouble["problem_sha"] == sha != trouble["sha"]
            assert told in trouble["problem"]
        assert "cannot be used" in potato("status", "--database", url, cwd=hub.folder).out
        github.commit("main", "orchestrator.yml", OWN + "loops: {depth: 2}\n")
        sha = github.repo("GET", "/git/ref/heads/main")["object"]["sha"]
        assert push(hub, github) == 202
        assert wait_until(lambda: check(github, sha).get("conclusion") == "success", 20), hub.text()
        assert status(hub, url)["configurations"] == []
    refused = query(url, "SELECT seq FROM audit_entry WHERE kind = 'config-refused'")
    assert len(refused) == 3


def test_without_an_organisation_nothing_is_decided_until_it_is_there(
    tmp_path: Path, github: GitHub, organisation: GitHub, proxy: Proxy, url: str
) -> None:
    """Missing, broken, loosening the hub's own, or trying to be another's: nothing is decided, nothing is lost."""
    with hub_of(tmp_path, url, proxy, organisation) as hub:
        pull = opened(hub, github, "Waits")
        for text, told in [
            (None, "has no config"), ("a: [", "invalid-yaml"), ("hub: {configuration: {organisation: mallory/own}}\n", "not-here: 'hub' belongs"),
            ("agents: {seer: {permissions: [push_branch]}}\n", "loosens-policy: 'seer' does not hold 'push_branch' above"),
        ]:  # fmt: skip
            if text is not None:
                organisation.commit("main", "orchestrator.yml", text)
                assert push(hub, organisation) == 202
            assert wait_until(lambda told=told: told in json.dumps(status(hub, url)["configurations"]), 20), hub.text()
            assert agents_on(hub, pull) == set()
        assert status(hub, url)["undecided"] > 0
        organisation.commit("main", "orchestrator.yml", ORGANISATION)
        assert push(hub, organisation) == 202
        assert wait_until(lambda: agents_on(hub, pull) == {"seer"}, 40), hub.text()

        organisation.remove("main", "orchestrator.yml")
        assert push(hub, organisation) == 202
        assert wait_until(lambda: "has no config" in json.dumps(status(hub, url)["configurations"]), 20), hub.text()
        again = opened(hub, github, "Again")  # the last good one stays
        assert wait_until(lambda: agents_on(hub, again) == {"seer"}, 20), hub.text()


def test_what_was_in_use_holds_over_a_restart_without_github(
    tmp_path: Path, github: GitHub, organisation: GitHub, proxy: Proxy, url: str
) -> None:
    organisation.commit("main", "orchestrator.yml", ORGANISATION)
    github.commit("main", "orchestrator.yml", OWN)
    with hub_of(tmp_path, url, proxy, organisation) as hub:
        first = opened(hub, github, "First")
        assert wait_until(lambda: agents_on(hub, first) == {"seer", "helper"}, 20), hub.text()
    proxy.faults.append(Fault("GET", "/commits/HEAD", status=503, times=10**6))
    with hub_of(tmp_path, url, proxy, organisation) as hub:
        second = opened(hub, github, "Second")
        assert wait_until(lambda: agents_on(hub, second) == {"seer", "helper"}, 60), hub.text()
        proxy.faults.clear()


def test_a_second_hub_hears_of_it(tmp_path: Path, github: GitHub, organisation: GitHub, proxy: Proxy, postgres: Postgres) -> None:
    url = postgres.database()
    organisation.commit("main", "orchestrator.yml", ORGANISATION)
    with hub_of(tmp_path / "one", url, proxy, organisation) as one, hub_of(tmp_path / "two", url, proxy, organisation) as two:
        for hub, title in ((one, "First"), (two, "Second")):
            pull = opened(hub, github, title)
            assert wait_until(lambda hub=hub, pull=pull: agents_on(hub, pull) == {"seer"}, 30), hub.text()
        github.commit("main", "orchestrator.yml", OWN)
        assert push(one, github) == 202
        # either may take the delivery of the push from the queue; the other hears of it
        assert wait_until(lambda: f"the config of {github.repository}" in one.text() + two.text(), 20), one.text()
        assert wait_until(
            lambda: query(url, f"SELECT own FROM repository_config WHERE repository = '{github.repository}' AND own != ''"), 20
        )

        def heard(hub: Hub) -> bool:
            pull = opened(hub, github, f"Later{len(hub.api('/api/v1/runs?limit=1000'))}")
            return wait_until(lambda: agents_on(hub, pull) == {"seer", "helper"}, 5)

        for hub in (one, two):
            assert wait_until(lambda hub=hub: heard(hub), 30), hub.text()


def test_the_hubs_own_file_is_read_again_when_it_changes(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    config = "routing: [{name: one, if: 'event == \"pull_request\"', run: [AGENT]}]\n"
    folder = project(tmp_path, config.replace("AGENT", "basic_triage"))
    with started(folder, url, env={"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": proxy.url}) as hub:
        first = opened(hub, github, "First")
        assert wait_until(lambda: agents_on(hub, first) == {"basic_triage"}, 20), hub.text()
        (folder / "orchestrator.yml").write_text(config.replace("AGENT", "nobody_of_this_name"))
        assert wait_until(lambda: "unknown-agent" in json.dumps(status(hub, url)["configurations"]), 20), hub.text()
        second = opened(hub, github, "Second")
        assert wait_until(lambda: agents_on(hub, second) == {"basic_triage"}, 20), hub.text()
        (folder / "orchestrator.yml").write_text(config.replace("AGENT", "documentation_generator"))
        assert wait_until(lambda: status(hub, url)["configurations"] == [] and "is in use" in hub.text(), 20), hub.text()
        third = opened(hub, github, "Third")
        assert wait_until(lambda: agents_on(hub, third) == {"documentation_generator"}, 20), hub.text()


TESTS = """
tests:
  - {name: opened is helped, event: pull_request, fields: {action: opened}, expect: {run: [seer, helper]}}
  - {name: closed is not, event: pull_request, fields: {action: closed}, expect: {run: []}}
"""


def test_a_pull_request_is_told_what_it_would_make_of_the_config(
    tmp_path: Path, github: GitHub, organisation: GitHub, proxy: Proxy, url: str
) -> None:
    """C09: validate, lint, tests, what it widens, and what it would have decided otherwise, on its head."""
    organisation.commit("main", "orchestrator.yml", ORGANISATION)
    github.commit("main", "orchestrator.yml", OWN)
    github.commit("main", "rules.test.yml", TESTS)
    with hub_of(tmp_path, url, proxy, organisation) as hub:

        def told(title: str, files: dict[str, str]) -> dict[str, Any]:
            pull = opened(hub, github, title, files)
            sha = pull["head"]["sha"]
            assert wait_until(lambda: bool(check(github, sha)), 20), hub.text()
            return check(github, sha)

        assert told("Elsewhere", {"a.md": "x"})["output"]["title"] == "not touched"

        broken = told("Broken", {"orchestrator.yml": OWN + "loops: {depth: 9}\n"})
        assert (broken["conclusion"], broken["output"]["title"]) == ("failure", "1 error(s)")
        assert f"{github.repository}:orchestrator.yml:4:16 loosens-policy" in broken["output"]["summary"]

        failing = told("Failing", {"orchestrator.yml": OWN.replace('action == "opened"', 'action == "closed"')})
        assert failing["conclusion"] == "failure"
        assert "**2 of 2 tests of rules fail**" in failing["output"]["summary"]

        wider = told("Wider", {"orchestrator.yml": OWN.replace("[apply_labels]", "[apply_labels, comment]")})
        assert (wider["conclusion"], wider["output"]["title"].split(",")[0]) == ("action_required", "widens 1 thing(s)")
        assert "- helper may comment, which it did not before" in wider["output"]["summary"]

        catch_all = told(
            "All",
            {"orchestrator.yml": OWN.replace(' && action == "opened"', ""), "rules.test.yml": TESTS.replace("run: []", "run: [helper]")},
        )
        assert catch_all["conclusion"] == "action_required"
        assert "- helper also runs by rule mine, for example on" in catch_all["output"]["summary"]

        safer = told("Safer", {"orchestrator.yml": OWN + "loops: {depth: 1}\n"})
        assert safer["conclusion"] == "success", safer
        assert "**2 tests of rules pass**" in safer["output"]["summary"]
        assert "loops.depth is 1, before 3" in safer["output"]["summary"]
        assert "decides 0 of the last" in safer["output"]["title"]

        gone = organisation.pull_request("Gone", {"x.md": "x", "orchestrator.yml": None})
        assert hub.send(organisation.event(gone, "synchronize")) == 202
        assert wait_until(lambda: bool(check(organisation, gone["head"]["sha"])), 20), hub.text()
        assert check(organisation, gone["head"]["sha"])["output"]["title"] == "it would be gone"
