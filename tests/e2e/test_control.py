"""Automation kept in hand, on the emulated GitHub: loops are cut, money is kept, CI's illness and people's pauses hold."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.cli import potato
from support.github import TOKEN, GitHub, wait_until
from support.hub import Hub, project, query, started

PING_PONG = """
routing:
  - {name: pings, if: 'event == "issue_comment" && body ~ "*pong*"', run: [pinger]}
  - {name: pongs, if: 'event == "issue_comment" && body ~ "*ping*"', run: [ponger]}
agents:
  pinger: {command: [python3, say.py, ping], permissions: [comment]}
  ponger: {command: [python3, say.py, pong], permissions: [comment]}
"""
SAY = """
import json, sys
request = json.load(sys.stdin)
comment = {"kind": "comment", "body": sys.argv[1], "key": request["run_id"]}
print(json.dumps({"proposals": [comment], "usage": {"tokens": 900, "cost": 0.4}}))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'potato.db'}"


def hub_of(tmp_path: Path, url: str, github: GitHub, config: str, *args: str) -> Any:
    folder = project(tmp_path, config)
    (folder / "say.py").write_text(SAY)
    return started(folder, url, *args, env={"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": f"http://{github.url}"})


def commented(github: GitHub, pull: dict[str, Any], comment: dict[str, Any]) -> dict[str, Any]:
    """What GitHub would send for a comment on a pull request."""
    issue = {
        "number": pull["number"],
        "title": pull["title"],
        "user": pull["user"],
        "labels": [],
        "state": "open",
        "pull_request": {"url": "x"},
    }
    repository = github.event(pull, "opened")["repository"]
    return {"action": "created", "issue": issue, "comment": comment, "repository": repository, "sender": comment["user"]}


class Echo:
    """Sends an event for each new comment, as GitHub does."""

    def __init__(self, hub: Hub, github: GitHub, pull: dict[str, Any]) -> None:
        self.hub, self.github, self.pull = hub, github, pull
        self.seen: set[int] = set()

    def once(self) -> int:
        comments = self.github.repo("GET", f"/issues/{self.pull['number']}/comments?per_page=100")
        fresh = [comment for comment in comments if comment["id"] not in self.seen]
        for comment in fresh:
            self.seen.add(comment["id"])
            assert self.hub.send(commented(self.github, self.pull, comment), event="issue_comment") == 202
        return len(fresh)

    def until_quiet(self, quiet_s: float = 3.0, timeout_s: float = 90.0) -> None:
        last = begun = time.monotonic()
        while time.monotonic() - last < quiet_s and time.monotonic() - begun < timeout_s:
            if self.once():
                last = time.monotonic()
            time.sleep(0.1)


@pytest.mark.slow
def test_two_agents_that_trigger_each_other_are_cut_and_say_so_once(tmp_path: Path, github: GitHub, url: str) -> None:
    """L01: by what their effects left, not by their texts."""
    pull = github.pull_request("Ping", {"a.md": "x"})
    with hub_of(tmp_path, url, github, PING_PONG) as hub:
        github.repo("POST", f"/issues/{pull['number']}/comments", {"body": "ping"})
        echo = Echo(hub, github, pull)
        echo.once()
        assert hub.settled(1)
        echo.until_quiet()
        runs = hub.api("/api/v1/runs?limit=1000")
        states = [run["state"] for run in sorted(runs, key=lambda run: run["depth"])]
        # the notice names both agents, so both rules match it; its chain is as long, and it is not said again
        assert (states[:5], set(states[5:])) == (["succeeded"] * 5, {"blocked"}), states
        cut = next(run for run in runs if run["depth"] == 5)
        assert cut["reason"].startswith("loop: 5 runs caused each other, the cap is 4: ponger -> pinger -> ponger")
        notices = [
            c["body"] for c in github.repo("GET", f"/issues/{pull['number']}/comments?per_page=100") if "Potato** stopped" in c["body"]
        ]
        assert len(notices) == 1
        assert "loop: 5 runs caused each other" in notices[0]
        status = potato("status", "--database", url, "--json", cwd=hub.folder)
        assert cut["id"] in [run["id"] for run in json.loads(status.out)["stopped"]]
        past = ["explain", "--delivery", cut["delivery_id"], "--against", url, "--as-decided"]
        explained = json.loads(potato(*past, "--json", cwd=hub.folder).out)
        told = next(run for run in explained["runs"] if run["id"] == cut["id"])
        assert (told["reason"], len(told["lineage"])) == (cut["reason"], 5)
        assert "caused by" in potato(*past, cwd=hub.folder).out


@pytest.mark.slow
def test_an_agent_that_gets_nowhere_on_one_head_is_stopped(tmp_path: Path, github: GitHub, url: str) -> None:
    config = """
routing:
  - {name: labelled, if: 'event == "pull_request" && action == "labeled"', run: [idle]}
agents:
  idle: {command: [python3, -c, 'import json; print(json.dumps({"proposals": []}))'], permissions: [comment]}
loops: {runs_per_head: 10}
"""
    pull = github.pull_request("Again", {"a.md": "x"})
    with hub_of(tmp_path, url, github, config) as hub:
        for number in range(12):
            event = github.event(pull, "labeled")
            event["pull_request"]["updated_at"] = f"2026-01-01T00:00:{number:02}Z"
            event["label"] = {"name": f"l{number}"}
            assert hub.send(event) == 202
        assert hub.settled(12)
        runs = hub.api("/api/v1/runs?limit=1000")
        assert sorted(run["state"] for run in runs) == ["blocked"] * 2 + ["succeeded"] * 10
        assert all(run["reason"].startswith("no progress: idle ran 10 times on commit") for run in runs if run["state"] == "blocked")

        def said() -> int:
            return sum("no progress" in c["body"] for c in github.repo("GET", f"/issues/{pull['number']}/comments"))

        assert wait_until(lambda: said() == 1, 10)
        time.sleep(1)
        assert said() == 1


BUDGET = """
routing:
  - {name: labelled, if: 'event == "pull_request" && action == "labeled"', run: [payer]}
agents:
  payer: {command: [python3, say.py, paid], permissions: [comment], budget: {cost: 0.50}}
budgets:
  run: {cost: 1}
  pull_request: {cost: 1.50}
"""


def labelled(hub: Hub, github: GitHub, pull: dict[str, Any], number: int) -> None:
    event = github.event(pull, "labeled")
    event["pull_request"]["updated_at"] = f"2026-01-01T00:01:{number:02}Z"
    event["label"] = {"name": f"l{number}"}
    assert hub.send(event) == 202


@pytest.mark.slow
def test_a_pull_requests_runs_stop_at_its_budget_before_it_is_exceeded(tmp_path: Path, github: GitHub, url: str) -> None:
    pull = github.pull_request("Dear", {"a.md": "x"})
    with hub_of(tmp_path, url, github, BUDGET) as hub:
        for number in range(5):
            labelled(hub, github, pull, number)
            assert hub.settled(number + 1)
        runs = hub.api("/api/v1/runs?limit=1000")
        # 0.40 each, 0.50 reserved: 0.40, 0.80 and 1.20 are spent, and 1.20 + 0.50 is too much
        assert sorted(run["state"] for run in runs) == ["blocked"] * 2 + ["succeeded"] * 3
        reasons = {run["reason"] for run in runs if run["state"] == "blocked"}
        where = f"{github.repository}#{pull['number']}"
        assert reasons == {f"budget of {where}: 1.20 USD of 1.50 USD is used or reserved, this run may need 0.50 USD"}
        assert query(url, "SELECT micros FROM budget") == [(1_200_000,)]
        assert wait_until(lambda: query(url, "SELECT count(*) FROM notice WHERE posted = 1") == [(1,)], 10)


@pytest.mark.slow
def test_a_flood_cannot_reserve_more_than_there_is(tmp_path: Path, github: GitHub, url: str) -> None:
    pull = github.pull_request("Flood", {"a.md": "x"})
    with hub_of(tmp_path, url, github, BUDGET, "--concurrency", "8") as hub:
        for number in range(8):
            labelled(hub, github, pull, number)
        assert hub.settled(8)
        spent = query(url, "SELECT micros FROM budget")[0][0]
        assert spent <= 1_500_000
        assert spent == 400_000 * sum(run["state"] == "succeeded" for run in hub.api("/api/v1/runs"))


PAUSED = """
routing:
  - {name: labelled, if: 'event == "pull_request" && action == "labeled"', run: [slow]}
agents:
  slow: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
loops: {runs_per_head: 1000}
"""


@pytest.mark.slow
def test_a_pause_reaches_fifty_running_agents_within_a_second(tmp_path: Path, github: GitHub, url: str) -> None:
    pull = github.pull_request("Pause", {"a.md": "x"})
    with hub_of(tmp_path, url, github, PAUSED, "--concurrency", "50") as hub:
        (hub.folder / "pause").write_text("60")
        for number in range(55):
            labelled(hub, github, pull, number)
        assert wait_until(
            lambda: len((hub.folder / "ran.txt").read_text().splitlines()) >= 50 if (hub.folder / "ran.txt").exists() else False, 60
        )
        command = ["pause", "--database", url, "--cancel", "--note", "CI is on fire", "--json"]
        told = json.loads(potato(*command, cwd=hub.folder).out)
        asked_at = time.time()
        assert len(told["stopped"]) == 50
        assert wait_until(lambda: query(url, "SELECT count(*) FROM run WHERE state = 'cancelled'") == [(50,)], 15)
        last = query(url, "SELECT max(finished_at) FROM run WHERE state = 'cancelled'")[0][0]
        assert last - asked_at < 10
        shown = json.loads(potato("status", "--database", url, "--json", cwd=hub.folder).out)
        assert [pause["state"] for pause in shown["pauses"]] == ["paused"]
        assert shown["runs"] == {"cancelled": 50, "held": 5}
        (hub.folder / "pause").write_text("0")
        assert potato("resume", "--database", url, cwd=hub.folder).code == 0
        assert wait_until(lambda: query(url, "SELECT count(*) FROM run WHERE state = 'succeeded'") == [(5,)], 20)


@pytest.mark.slow
def test_a_pause_keeps_effects_back_at_the_gate_and_resume_lets_them_go(tmp_path: Path, github: GitHub, url: str) -> None:
    pull = github.pull_request("Gate", {"a.md": "x"})
    with hub_of(tmp_path, url, github, PAUSED) as hub:
        (hub.folder / "pause").write_text("2")
        labelled(hub, github, pull, 1)
        assert wait_until((hub.folder / "ran.txt").exists, 15)
        told = potato("pause", "--database", url, "--agent", "slow", "--note", "look at it first", cwd=hub.folder)
        assert told.out == "pausing: agent slow, 1 run(s) still go on\n"
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["held"], 15)
        assert hub.api("/api/v1/runs")[0]["reason"].startswith("paused: by ")
        assert [label["name"] for label in github.repo("GET", f"/issues/{pull['number']}/labels")] == []
        time.sleep(1)
        assert potato("resume", "--database", url, "--agent", "slow", cwd=hub.folder).out == "resumed: agent slow\n"
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["succeeded"], 15)
        assert [label["name"] for label in github.repo("GET", f"/issues/{pull['number']}/labels")] == ["seen"]
        assert len((hub.folder / "ran.txt").read_text().splitlines()) == 1  # the agent did not run again
        kinds = [row[0] for row in query(url, "SELECT kind FROM audit_entry ORDER BY seq")]
        assert [kind for kind in kinds if kind in ("pause", "resume")] == ["pause", "resume"]


INFRA = """
routing:
  - {name: labelled, if: 'event == "pull_request" && action == "labeled"', run: [slow]}
agents:
  slow: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
guards:
  - {name: ci-well, infra_health: {window: 60s, failures: 3}}
"""


def ci_run(github: GitHub, pull: dict[str, Any], number: int, conclusion: str) -> dict[str, Any]:
    run = {"id": 9000 + number, "run_attempt": 1, "name": "tests", "status": "completed", "conclusion": conclusion, "head_branch": "x",
           "head_sha": pull["head"]["sha"], "updated_at": f"2026-01-01T00:00:{number:02}Z", "pull_requests": [], "event": "pull_request"}  # fmt: skip
    base = github.event(pull, "opened")
    return {"action": "completed", "workflow_run": run, "repository": base["repository"], "sender": base["sender"]}


@pytest.mark.slow
def test_a_wave_of_lost_runners_holds_automation_and_lets_it_go_in_order(tmp_path: Path, github: GitHub, url: str) -> None:
    pull = github.pull_request("Ill", {"a.md": "x"})
    with hub_of(tmp_path, url, github, INFRA) as hub:
        for number in range(3):
            assert hub.send(ci_run(github, pull, number, "startup_failure"), event="workflow_run") == 202
        assert wait_until(lambda: query(url, "SELECT count(*) FROM ci_outcome WHERE outcome = 'runner_lost'") == [(3,)], 15)
        assert wait_until(lambda: query(url, "SELECT holds FROM guard_state WHERE guard = 'ci-well'") == [(1,)], 5)
        for number in range(3):
            labelled(hub, github, pull, number)
            time.sleep(0.3)
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["held"] * 3, 15)
        reason = hub.api("/api/v1/runs")[0]["reason"]
        assert "guard ci-well: 3 of 3 CI runs within 1 min failed for reasons of the infrastructure (3 runner lost), until " in reason

        def told() -> list[str]:
            checks = github.repo("GET", f"/commits/{pull['head']['sha']}/check-runs")["check_runs"]
            return [check["output"]["title"] for check in checks if check["name"] == "potato"]

        assert wait_until(lambda: told() == ["1 held"], 10)
        order = [row[0] for row in query(url, "SELECT id FROM run ORDER BY tag")]
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["succeeded"] * 3, 90)
        assert [row[0] for row in query(url, "SELECT id FROM run ORDER BY started_at")] == order
        kinds = [row[0] for row in query(url, "SELECT kind FROM audit_entry ORDER BY seq")]
        assert [kind for kind in kinds if kind.startswith("guard-")] == ["guard-holds", "guard-releases"]


@pytest.mark.slow
def test_an_override_lets_go_what_a_freeze_holds(tmp_path: Path, github: GitHub, url: str) -> None:
    config = INFRA.replace(
        "infra_health: {window: 60s, failures: 3}",
        "note: holidays, freeze: {begin: '2020-01-01T00:00:00Z', end: '2099-01-01T00:00:00Z'}",
    )
    pull = github.pull_request("Frozen", {"a.md": "x"})
    with hub_of(tmp_path, url, github, config) as hub:
        labelled(hub, github, pull, 1)
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["held"], 15)
        assert hub.api("/api/v1/runs")[0]["reason"] == "guard ci-well: frozen (holidays), until 2099-01-01 00:00 UTC at least"
        told = potato("override", "ci-well", "--database", url, "--note", "a fix for customers", "--for", "10m", cwd=hub.folder)
        assert told.code == 0
        assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["succeeded"], 15)
        assert "guard-override" in [row[0] for row in query(url, "SELECT kind FROM audit_entry")]
