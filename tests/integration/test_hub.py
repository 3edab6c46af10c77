"""The hub as a process, on each database: deliveries in, runs out."""

from __future__ import annotations

import json
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.cli import potato
from support.github import wait_until
from support.hub import API_TOKEN, payload, project, query, ran, started


@pytest.fixture
def opened(deliveries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(example for example in deliveries["pull_request"] if example["action"] == "opened")


def test_a_delivery_goes_the_whole_way(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    with started(project(tmp_path), database) as hub:
        assert hub.send(payload(opened, 1), delivery_id="one") == 202
        assert hub.settled(1)
        told = hub.api("/api/v1/deliveries/one")
        assert [p["effect"]["state"] for p in told["runs"][0]["proposals"]] == ["staged", "staged"]
        status = hub.api("/api/v1/status")
        assert [(agent["agent"], agent["running"], agent["waiting"], agent["error_rate"]) for agent in status["agents"]] == [
            ("seer", 0, 0, 0.0)
        ]
        assert [process["kind"] for process in status["processes"]] == ["hub"]
        assert hub.request("GET", "/readyz")[0] == 200
    assert potato("audit", "verify", "--database", database, cwd=tmp_path).code == 0
    assert potato("status", "--database", database, cwd=tmp_path).out.splitlines()[1:3] == [
        "Processes",
        "  ! no hub and no worker is running",
    ]


@pytest.mark.slow
def test_what_matches_no_rule_is_one_row_and_no_workflow(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    with started(project(tmp_path), database) as hub:
        assert hub.send(payload(opened, 1) | {"action": "closed"}, delivery_id="shut") == 202
        assert query(database, "SELECT state, attempts FROM delivery") == [("ignored", 0)]
        assert query(database, "SELECT count(*) FROM decision") == [(0,)]
        schema = "" if database.startswith("sqlite") else "dbos."
        assert query(database, f"SELECT count(*) FROM {schema}workflow_status") == [(0,)]
        done = potato("explain", "--delivery", "shut", "--against", database, "--json", cwd=tmp_path)
        assert done.json["rules"][0]["result"] == "unmatched"


def test_one_event_is_decided_once_however_often_it_comes(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    """W04, W05, W07: the same id, the same body under a new id, and the same event from the App's hook."""
    body = payload(opened, 1)
    with started(project(tmp_path), database) as hub:
        assert [hub.send(body, delivery_id="first") for _ in range(3)] == [202] * 3
        assert hub.send(body, delivery_id="second") == 202
        assert hub.send(body | {"installation": {"id": 5}}, delivery_id="third") == 202
        assert hub.send(payload(opened, 2), delivery_id="first") == 409
        assert hub.settled(1)
        assert hub.send(body | {"installation": {"id": 5}}, delivery_id="fourth") == 202
        later = payload(opened, 1, updated_at="2030-01-01T00:00:00Z")
        assert hub.send(later, delivery_id="fifth") == 202
        assert hub.settled(2)
        assert query(database, "SELECT delivery_id FROM delivery ORDER BY received_at") == [("first",), ("fifth",)]


@pytest.mark.slow
def test_a_worker_elsewhere_runs_what_the_hub_decides(tmp_path: Path, postgres: Any, opened: dict[str, Any]) -> None:
    """It has neither config nor agent files of its own."""
    database = postgres.database()
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    with started(project(tmp_path / "hub"), database, "--concurrency", "0") as hub, started(empty, database, worker=True):
        for number in range(1, 6):
            hub.send(payload(opened, number))
        assert hub.settled(5)
        assert set(hub.runs().values()) == {"succeeded"}
    assert len(ran(tmp_path / "hub")) == 5
    assert {row[0].split("-")[0] for row in query(database, "SELECT file FROM config")} == {"orchestrator.yml"}


@pytest.mark.slow
def test_a_worker_takes_only_its_agents(tmp_path: Path, postgres: Any, opened: dict[str, Any]) -> None:
    config = """
routing:
  - {if: event == "pull_request", run: [seer, other]}
agents:
  seer: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
  other: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
"""
    database = postgres.database()
    with (
        started(project(tmp_path, config), database, "--concurrency", "0") as hub,
        started(tmp_path, database, "--agents", "seer", worker=True),
    ):
        hub.send(payload(opened, 1))
        assert wait_until(lambda: hub.runs().get(("seer", 1)) == "succeeded", 20)
        waiting = [run for run in hub.api("/api/v1/runs") if run["agent"] == "other"]
        assert [(run["state"], run["reason"]) for run in waiting] == [("queued", "waits: no worker runs agent other")]


@pytest.mark.slow
def test_a_killed_hub_loses_nothing_and_repeats_nothing(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    project(tmp_path, pause_s=30)
    with started(tmp_path, database) as hub:
        for number in (1, 2, 3):
            assert hub.send(payload(opened, number)) == 202
        assert wait_until(lambda: len(ran(tmp_path)) == 3, 20)
        hub.kill()
    (tmp_path / "pause").write_text("0")
    with started(tmp_path, database) as hub:
        assert hub.settled(3)
        runs = hub.api("/api/v1/runs")
        assert {(run["state"], run["attempts"]) for run in runs} == {("succeeded", 2)}
    assert query(database, "SELECT count(*) FROM effect") == [(6,)]
    assert potato("audit", "verify", "--database", database, cwd=tmp_path).code == 0


@pytest.mark.slow
def test_a_dead_workers_runs_are_taken_over(tmp_path: Path, postgres: Any, opened: dict[str, Any]) -> None:
    database = postgres.database()
    project(tmp_path, pause_s=60)
    with started(tmp_path, database, "--concurrency", "0") as hub, started(tmp_path, database, worker=True) as first:
        hub.send(payload(opened, 1))
        assert wait_until(lambda: ran(tmp_path), 20)
        (tmp_path / "pause").write_text("0")
        with started(tmp_path, database, worker=True):
            first.kill()
            died = time.monotonic()
            assert hub.settled(1)
            assert time.monotonic() - died < 12
    assert query(database, "SELECT state, attempts FROM run") == [("succeeded", 2)]
    kinds = [row[0] for row in query(database, "SELECT kind FROM audit_entry ORDER BY seq")]
    assert kinds.count("process-left") == 3


@pytest.mark.slow
def test_a_run_that_is_fatal_to_its_process_is_not_tried_for_ever(tmp_path: Path, opened: dict[str, Any]) -> None:
    """Its agent ends whoever runs it; the next run is none the worse."""
    database = f"sqlite:///{tmp_path / 'potato.db'}"
    fatal = (
        "import os, signal, subprocess, sys\nif 'calm' not in sys.stdin.read():\n"
        "    parent = int(open(f'/proc/{os.getppid()}/stat').read().split()[3])\n    os.kill(parent, signal.SIGKILL)\n"
        "print('{\"proposals\": []}')\n"
    )
    folder = project(tmp_path, agent=fatal)
    for number in range(1, 6):
        with started(folder, database) as hub:
            if number == 1:
                hub.send(payload(opened, 1))
            hub.process.wait(30)
    with started(folder, database) as hub:
        assert hub.settled(1), hub.api("/api/v1/runs")
        (run,) = hub.api("/api/v1/runs")
        assert run["state"] == "failed"
        assert run["reason"].startswith("5 processes died while it ran, the last one ")
        assert hub.send(payload(opened, 2, title="calm")) == 202
        assert hub.settled(2)
        assert hub.runs()["seer", 2] == "succeeded"


@pytest.mark.slow
def test_a_frozen_worker_changes_nothing_when_it_wakes(tmp_path: Path, postgres: Any, opened: dict[str, Any]) -> None:
    """R03: it is taken over meanwhile; then it starts again under another name."""
    database = postgres.database()
    project(tmp_path, pause_s=2)
    with started(tmp_path, database, "--concurrency", "0") as hub, started(tmp_path, database, worker=True) as frozen:
        hub.send(payload(opened, 1))
        assert wait_until(lambda: ran(tmp_path), 20)
        frozen.process.send_signal(signal.SIGSTOP)
        with started(tmp_path, database, worker=True):
            assert hub.settled(1)
            before = query(database, "SELECT key, state, at FROM effect ORDER BY key")
            frozen.process.send_signal(signal.SIGCONT)
            assert wait_until(lambda: frozen.text().count("working as ") == 2, 20), frozen.text()
            assert query(database, "SELECT key, state, at FROM effect ORDER BY key") == before
            assert query(database, "SELECT state, attempts FROM run") == [("succeeded", 2)]
    assert "taken for dead" in frozen.text()


@pytest.mark.slow
def test_a_run_is_cancelled_within_a_second_while_it_waits_or_runs(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    with started(project(tmp_path, pause_s=60), database, "--concurrency", "1") as hub:
        hub.send(payload(opened, 1))
        assert wait_until(lambda: hub.runs().get(("seer", 1)) == "running", 20)
        hub.send(payload(opened, 2))
        assert wait_until(lambda: hub.runs().get(("seer", 2)) == "queued", 20)
        for run in hub.api("/api/v1/runs"):
            done = potato("cancel", run["id"], "--database", database, cwd=tmp_path)
            assert done.code == 0, done.err
        asked = time.monotonic()
        assert hub.settled(2)
        assert time.monotonic() - asked < 3
        assert set(hub.runs().values()) == {"cancelled"}
        assert potato("cancel", "run_nope", "--database", database, cwd=tmp_path).code == 2


@pytest.mark.slow
def test_a_newer_head_supersedes_and_a_late_event_is_superseded(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    head = opened["pull_request"]["head"]
    with started(project(tmp_path, pause_s=3), database) as hub:
        hub.send(payload(opened, 1, updated_at="2026-01-01T00:00:01Z"), delivery_id="old")
        assert wait_until(lambda: ran(tmp_path), 20)
        new = payload(opened, 1, updated_at="2026-01-01T00:00:05Z", head={**head, "sha": "b" * 40}) | {"action": "synchronize"}
        hub.send(new, delivery_id="new")
        late = payload(opened, 1, updated_at="2026-01-01T00:00:03Z", head={**head, "sha": "c" * 40}) | {"action": "synchronize"}
        hub.send(late, delivery_id="late")
        assert hub.settled(3)
        states = {run["delivery_id"]: (run["state"], run["reason"]) for run in hub.api("/api/v1/runs")}
        assert states["old"][0] == "superseded"
        assert states["old"][1] in ("commit bbbbbbbbbbbb came", "commit cccccccccccc came")
        assert states["new"][0] == "succeeded"
        assert states["late"][0] == "superseded"


@pytest.mark.slow
def test_limits_cooldowns_delays_and_priorities(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    config = """
routing:
  - {name: slow, if: event == "pull_request" && number < 10, run: [one], priority: low}
  - {name: urgent, if: event == "pull_request" && number >= 10 && number < 20, run: [one], priority: critical}
  - {name: later, if: event == "pull_request" && number == 20, run: [late], delay: 2s}
  - {name: cool, if: event == "pull_request" && number == 30, run: [cooled]}
agents:
  one: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment], concurrency: 1}
  late: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
  cooled: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment], cooldown: 3s}
"""
    with started(project(tmp_path, config, pause_s=0.2), database) as hub:
        sent = time.monotonic()
        for number in (1, 2, 3, 4, 11, 20, 30):
            hub.send(payload(opened, number))
        hub.send(payload(opened, 30, updated_at="2030-01-01T00:00:00Z"))
        assert wait_until(lambda: hub.runs().get(("late", 20)) == "succeeded", 20)
        assert time.monotonic() - sent > 2
        assert hub.settled(8)
        starts = {(run["agent"], run["number"], n): row[0] for n, run in enumerate(hub.api("/api/v1/runs"))
                  for row in query(database, f"SELECT started_at FROM run WHERE id = '{run['id']}'")}  # fmt: skip
        cooled = sorted(at for (agent, _, _), at in starts.items() if agent == "cooled")
        assert cooled[1] - cooled[0] >= 2.9
        order = [number for (agent, number, _), _ in sorted(starts.items(), key=lambda item: item[1]) if agent == "one"]
        assert order.index(11) < 3
        ones = sorted(at for (agent, _, _), at in starts.items() if agent == "one")
        assert all(later - earlier >= 0.2 for earlier, later in pairwise(ones))


@pytest.mark.slow
def test_guards_routers_and_equals_work_over_the_queue(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    config = """
routing:
  - {name: guarded, if: event == "pull_request" && number == 1, run: [gate, seer]}
  - {name: routed, if: event == "pull_request" && number == 2, run: [way]}
  - {name: any, if: event == "pull_request" && number >= 3, run: [{any_of: [seer, other]}]}
agents:
  gate: {command: [python3, gate.py], sandbox: none, role: guard, permissions: [block]}
  way: {command: [python3, way.py], sandbox: none, role: router, permissions: [route_agents]}
  seer: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
  other: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
"""
    project(tmp_path, config, pause_s=1)
    (tmp_path / "gate.py").write_text('import json; print(json.dumps({"proposals": [{"kind": "block", "reason": "CI is on fire"}]}))')
    (tmp_path / "way.py").write_text('import json; print(json.dumps({"proposals": [{"kind": "route_agents", "agents": ["seer"]}]}))')
    with started(tmp_path, database) as hub:
        for number in (1, 2, 3, 4, 5, 6):
            hub.send(payload(opened, number))
        assert hub.settled(8)
        runs = hub.runs()
        assert (runs["gate", 1], runs["seer", 1]) == ("succeeded", "blocked")
        assert (runs["way", 2], runs["seer", 2]) == ("succeeded", "succeeded")
        chosen = [agent for agent, number in runs if number >= 3]
        assert sorted(chosen) == ["other", "other", "seer", "seer"]


@pytest.mark.slow
def test_who_waits_for_a_cancelled_guard_is_held_and_says_so(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    config = """
routing:
  - {name: guarded, if: event == "pull_request", run: [gate, seer]}
agents:
  gate: {command: [python3, agent.py], sandbox: none, role: guard, permissions: [comment]}
  seer: {command: [python3, agent.py], sandbox: none, permissions: [apply_labels, comment]}
"""
    with started(project(tmp_path, config, pause_s=60), database, "--concurrency", "1") as hub:
        for number in (1, 2):
            hub.send(payload(opened, number))
        assert wait_until(lambda: len(hub.runs()) == 4 and "running" in hub.runs().values(), 20)
        for run in hub.api("/api/v1/runs"):
            if run["agent"] == "gate":
                hub.api(f"/api/v1/runs/{run['id']}/cancel", "POST")
        assert hub.settled(4)
        assert {agent: state for (agent, _), state in hub.runs().items()} == {"gate": "cancelled", "seer": "held"}
        reasons = {run["reason"] for run in hub.api("/api/v1/runs") if run["agent"] == "seer"}
        assert reasons == {"guard gate did not pass: cancelled, cancelled through the API"}


@pytest.mark.slow
def test_a_sqlite_file_has_one_hub(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'potato.db'}"
    with started(project(tmp_path), database):
        done = potato("serve", "--port", "0", "--database", database, cwd=tmp_path, env={"POTATO_WEBHOOK_SECRET": "x"})
        assert (done.code, "database-busy" in done.err) == (1, True)
    done = potato("serve", "--port", "0", cwd=tmp_path)
    assert (done.code, done.err) == (
        2, "error: no-webhook-secret: POTATO_WEBHOOK_SECRET is not set. Set it to the secret of the webhook in GitHub.\n"
    )  # fmt: skip


@pytest.mark.slow
def test_sigterm_lets_runs_end(tmp_path: Path, database: str, opened: dict[str, Any]) -> None:
    with started(project(tmp_path, pause_s=2), database) as hub:
        hub.send(payload(opened, 1))
        assert wait_until(lambda: ran(tmp_path), 20)
        hub.kill(signal.SIGTERM)
        assert hub.process.returncode == 0
    assert query(database, "SELECT state, attempts FROM run") == [("succeeded", 1)]
    assert query(database, "SELECT count(*) FROM worker") == [(0,)]


def test_the_api_needs_its_token_and_says_what_is_wrong(tmp_path: Path) -> None:
    with started(project(tmp_path), f"sqlite:///{tmp_path / 'potato.db'}") as hub:
        status, headers, body = hub.request("GET", "/api/v1/runs")
        assert (status, headers["content-type"], headers["www-authenticate"]) == (401, "application/problem+json", "Bearer")
        assert json.loads(body)["detail"] == "send the token of POTATO_API_TOKEN as 'Authorization: Bearer ...'."
        assert hub.request("GET", "/api/v1/runs", headers={"authorization": f"Bearer {API_TOKEN}x"})[0] == 401
        assert hub.request("GET", "/healthz")[0] == 200
        status, headers, body = hub.request("GET", "/")
        assert (status, "frame-ancestors 'none'" in headers["content-security-policy"]) == (200, True)
        for path in ("/api/v1/deliveries/nope", "/nope"):
            assert hub.request("GET", path, headers={"authorization": f"Bearer {API_TOKEN}"})[0] == 404
        metrics = hub.request("GET", "/metrics", headers={"authorization": f"Bearer {API_TOKEN}"})[2].decode()
        assert "potato_undecided_deliveries 0.0" in metrics
