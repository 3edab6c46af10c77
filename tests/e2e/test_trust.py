"""What an agent may do on an event that nobody vouches for, and how a maintainer lifts that for one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import potato
from support.github import BOBS_TOKEN, TOKEN, GitHub, Proxy, wait_until
from support.hub import Hub, project, query, started

CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request"', run: [helper]}
agents:
  helper: {command: [python3, help.py], secrets: [HELPERS_TOKEN], permissions: [comment, read_pull_request]}
"""
HELP = """
import json, os, sys
request = json.load(sys.stdin)
print(json.dumps({"proposals": [{"kind": "comment", "body": "I help"}], "summary": "had a secret: " + str("HELPERS_TOKEN" in os.environ)}))
"""
SECRET = "made-up-secret-of-the-helper"


def runs(hub: Hub) -> list[dict[str, Any]]:
    return sorted(hub.api("/api/v1/runs"), key=lambda run: run["created_at"])


def lift(tmp_path: Path, proxy: Proxy, token: str, run: str, *options: str) -> Any:
    env = {"GITHUB_TOKEN": token, "GITHUB_API_URL": proxy.url}
    return potato("lift", run, "--database", f"sqlite:///{tmp_path / 'potato.db'}", *options, cwd=tmp_path, env=env)


@pytest.mark.slow
def test_an_untrusted_event_is_only_read_until_a_maintainer_lifts_that(tmp_path: Path, github: GitHub, proxy: Proxy) -> None:
    url = f"sqlite:///{tmp_path / 'potato.db'}"
    folder = project(tmp_path, CONFIG)
    (folder / "help.py").write_text(HELP)
    env = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": proxy.url, "HELPERS_TOKEN": SECRET}
    with started(folder, url, env=env) as hub:
        pull = github.pull_request("From outside", {"a.md": "x"})
        github.repo("PUT", "/collaborators/bob", {"permission": "push"})
        event = github.event(pull, "opened")
        event["sender"] = {"login": "mallory", "type": "User", "id": 666}
        assert hub.send(event) == 202
        assert hub.settled(1)
        (first,) = runs(hub)
        assert (first["state"], first["summary"]) == ("blocked", "had a secret: False")
        assert "untrusted event: it got no secrets" in first["warnings"]
        told = potato("runs", "show", first["id"], "--database", url, "--json", cwd=tmp_path).json["proposals"]
        assert [(one["kind"], one["verdict"]) for one in told] == [("comment", "deny")]
        assert "the event is untrusted, so the agent may only read" in told[0]["reason"]

        refused = lift(tmp_path, proxy, TOKEN, first["id"])
        assert (refused.code, "wrote this or asked for it" in refused.err) == (1, True), refused.err
        unknown = lift(tmp_path, proxy, BOBS_TOKEN, "run_nowhere")
        assert (unknown.code, "there is no run 'run_nowhere'" in unknown.err) == (1, True), unknown.err

        lifted = lift(tmp_path, proxy, BOBS_TOKEN, first["id"], "--json")
        assert lifted.code == 0, lifted.err
        assert (lifted.json["state"], lifted.json["lifted_by"], lifted.json["reason"]) == ("queued", "bob", "lifted by bob")
        assert wait_until(lambda: len(runs(hub)) == 2 and runs(hub)[1]["state"] == "succeeded", 20), runs(hub)
        second = runs(hub)[1]
        assert (second["summary"], second["lifted_by"]) == ("had a secret: True", "bob")
        assert "I help" in json.dumps(github.repo("GET", f"/issues/{pull['number']}/comments"))

        again = lift(tmp_path, proxy, BOBS_TOKEN, first["id"])
        assert (again.code, "was lifted before" in again.err) == (1, True), again.err
        nothing = lift(tmp_path, proxy, BOBS_TOKEN, second["id"])
        assert (nothing.code, "there is nothing to lift" in nothing.err) == (1, True), nothing.err
        assert query(url, "SELECT count(*) FROM audit_entry WHERE kind = 'lift'") == [(1,)]
    assert potato("audit", "verify", "--database", url, cwd=tmp_path).code == 0
