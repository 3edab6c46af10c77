"""CI's form of approvals: one job seals, another behind an environment applies exactly that, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import Done, potato
from support.github import TOKEN, GitHub
from support.hub import project

CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request" && action == "opened"', run: [pusher]}
agents:
  pusher: {command: [python3, push.py], permissions: [push_branch, comment]}
"""
PUSH = """
import json, sys
request = json.load(sys.stdin)
push = {"kind": "push_branch", "branch": "potato/sealed", "message": "Fix", "files": [{"path": "fix.md", "content": "fixed"}]}
print(json.dumps({"proposals": [push, {"kind": "comment", "body": "may I?"}]}))
"""


class Jobs:
    """Two jobs of one workflow run: each has its own database, as on two machines."""

    def __init__(self, folder: Path, github: GitHub) -> None:
        self.folder = project(folder, CONFIG)
        (folder / "push.py").write_text(PUSH)
        self.github = github
        self.pull = github.pull_request("Seal", {"a.md": "x"})
        (folder / "event.json").write_text(json.dumps(github.event(self.pull, "opened")))
        self.env = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": f"http://{github.url}", "GITHUB_RUN_ID": "77", "GITHUB_ACTOR": "bob"}
        self.event = ("--event", "pull_request", "--payload", "event.json")

    def run(self) -> tuple[Done, str]:
        done = potato("run", *self.event, "--seal", "sealed.json", "--json", cwd=self.folder, env=self.env)
        return done, str(done.json.get("sealed"))

    def apply(self, digest: str, **env: str) -> Done:
        return potato("apply", "sealed.json", "--digest", digest, *self.event, "--database", "sqlite:///apply.db", "--json", cwd=self.folder,
                      env=self.env | env)  # fmt: skip

    def pushed(self) -> bool:
        return any(ref["ref"] == "refs/heads/potato/sealed" for ref in self.github.repo("GET", "/git/matching-refs/heads/"))


@pytest.fixture
def jobs(tmp_path: Path, github: GitHub) -> Jobs:
    return Jobs(tmp_path, github)


@pytest.mark.slow
def test_what_was_sealed_is_applied_and_only_that(jobs: Jobs) -> None:
    done, digest = jobs.run()
    assert (done.code, digest[:7]) == (6, "sha256:"), done
    assert not jobs.pushed()
    applied = jobs.apply(digest)
    assert applied.code == 0, applied
    proposals = applied.json[0]["proposals"]
    assert [(one["kind"], one["verdict"], one["effect"]["state"]) for one in proposals] == [("push_branch", "allow", "applied")]
    assert proposals[0]["reason"].startswith("allowed by bob: ")
    assert jobs.pushed()
    again = jobs.apply(digest)
    assert [one["effect"]["state"] for one in again.json[0]["proposals"]] == ["unchanged"]


def altered(jobs: Jobs, change: Any) -> None:
    body = json.loads((jobs.folder / "sealed.json").read_text())
    change(body)
    (jobs.folder / "sealed.json").write_text(json.dumps(body))


@pytest.mark.slow
def test_every_change_breaks_the_seal(jobs: Jobs) -> None:
    """A01, A07."""
    _, digest = jobs.run()
    sealed = (jobs.folder / "sealed.json").read_text()

    def refused(why: str, **env: str) -> None:
        done = jobs.apply(digest, **env)
        assert (done.code, why in done.err) == (2, True), done
        assert not jobs.pushed()

    refused("its nonce is not that of this job", GITHUB_RUN_ID="78")
    altered(jobs, lambda body: body["runs"][0]["proposals"][0]["args"].update(branch="potato/other"))
    refused("not the one with this digest")
    (jobs.folder / "sealed.json").write_text("{}")
    refused("not the one with this digest")
    (jobs.folder / "sealed.json").write_text("[" * 10_000)
    refused("not usable JSON")
    (jobs.folder / "sealed.json").write_text(sealed)
    (jobs.folder / "orchestrator.yml").write_text(CONFIG.replace("push_branch, comment", "push_branch"))
    refused("its policy is not that of this job")
    (jobs.folder / "orchestrator.yml").write_text(CONFIG)
    (jobs.folder / "event.json").write_text(json.dumps(jobs.github.event(jobs.pull, "opened") | {"action": "reopened"}))
    refused("its body is not that of this job")


def test_an_older_head_is_left_alone(jobs: Jobs) -> None:
    event = json.loads((jobs.folder / "event.json").read_text())
    event["pull_request"]["head"]["sha"] = "0" * 39 + "1"
    done, digest = jobs.run()
    (jobs.folder / "event.json").write_text(json.dumps(event))
    assert jobs.apply(digest).code == 2
    assert done.code == 6
    assert not jobs.pushed()
