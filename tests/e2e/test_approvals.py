"""Approvals on the emulated GitHub: who may answer, to what exactly, and every way to cheat."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.cli import potato
from support.github import BOBS_TOKEN, TOKEN, Fault, GitHub, Proxy, wait_until
from support.hub import API_TOKEN, Hub, project, query, started

CONFIG = """
routing:
  - {name: opened, if: 'event == "pull_request" && action in ["opened", "labeled"]', run: [pusher]}
agents:
  pusher: {command: [python3, push.py], permissions: [push_branch, comment]}
approvals:
  - {name: two, kinds: [push_branch], required: REQUIRED, expires: 60s}
"""
PUSH = """
import json, sys
request = json.load(sys.stdin)
push = {"kind": "push_branch", "branch": "potato/fix", "message": "Fix", "files": [{"path": "fix.md", "content": "fixed"}]}
print(json.dumps({"proposals": [push, {"kind": "comment", "body": "may I?"}]}))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'potato.db'}"


def hub_of(tmp_path: Path, url: str, proxy: Proxy, required: int = 1, config: str = CONFIG) -> Any:
    folder = project(tmp_path, config.replace("REQUIRED", str(required)))
    (folder / "push.py").write_text(PUSH)
    return started(folder, url, env={"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": proxy.url})


def ask(hub: Hub, github: GitHub, title: str = "Ask") -> tuple[dict[str, Any], str]:
    """A pull request of alice's, which mallory's event asks to push to; gives it and the short digest."""
    pull = github.pull_request(title, {"a.md": "x"})
    for name in ("bob", "carol"):
        github.repo("PUT", f"/collaborators/{name}", {"permission": "push"})
    event = github.event(pull, "opened")
    assert hub.send(event) == 202
    assert wait_until(lambda: [run["state"] for run in hub.api("/api/v1/runs")] == ["awaiting_approval"], 20), hub.api("/api/v1/runs")
    waiting = json.loads(potato("approvals", "--database", f"sqlite:///{hub.folder / 'potato.db'}", "--json", cwd=hub.folder).out)
    assert [(one["kind"], one["approvers"]) for one in waiting] == [("push_branch", [])]
    return pull, waiting[0]["short"]


def say(hub: Hub, github: GitHub, pull: dict[str, Any], login: str, text: str, *, sender: str | None = None, action: str = "created",
        number: int | None = None, kind: str = "User") -> None:  # fmt: skip
    """A comment's event."""
    issue = {
        "number": number or pull["number"],
        "title": "t",
        "user": pull["user"],
        "labels": [],
        "state": "open",
        "pull_request": {"url": "x"},
    }
    comment = {"id": time.time_ns() % 10**12, "body": text, "user": {"login": login, "type": kind}, "updated_at": f"t{time.time_ns()}"}
    event = {"action": action, "issue": issue, "comment": comment, "repository": github.event(pull, "opened")["repository"],
             "sender": {"login": sender or login, "type": kind}}  # fmt: skip
    assert hub.send(event, event="issue_comment") == 202


def replies(github: GitHub, pull: dict[str, Any]) -> list[str]:
    return [
        c["body"]
        for c in github.repo("GET", f"/issues/{pull['number']}/comments?per_page=100")
        if "potato:comment potato/answer" in c["body"]
    ]


def state(hub: Hub) -> str:
    return str(hub.api("/api/v1/runs")[0]["state"])


def pushed(github: GitHub) -> bool:
    return any(ref["ref"] == "refs/heads/potato/fix" for ref in github.repo("GET", "/git/matching-refs/heads/"))


@pytest.mark.slow
def test_a_comment_of_somebody_else_approves_and_the_effect_lands_once(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    with hub_of(tmp_path, url, proxy) as hub:
        pull, short = ask(hub, github)
        check = github.repo("GET", f"/commits/{pull['head']['sha']}/check-runs")["check_runs"]
        assert wait_until(
            lambda: f"/potato approve {short}" in json.dumps(github.repo("GET", f"/commits/{pull['head']['sha']}/check-runs")), 10
        ), check
        assert not pushed(github)
        say(hub, github, pull, "bob", f"Looks good.\n\n/potato approve {short}")
        assert wait_until(lambda: state(hub) == "succeeded", 20), hub.api("/api/v1/runs")
        assert pushed(github)
        assert wait_until(lambda: len(replies(github, pull)) == 1, 10)
        assert replies(github, pull)[0].startswith(f"**approve** `{short}`: approved by bob")
        say(hub, github, pull, "carol", f"/potato approve {short}")  # replayed: single use
        assert wait_until(lambda: "nothing waits for an answer" in replies(github, pull)[0], 15)
        pushes = [call for call in proxy.writes() if call.path.endswith("/git/refs")]
        assert len(pushes) == 1
        kinds = [row[0] for row in query(url, "SELECT kind FROM audit_entry ORDER BY seq")]
        assert kinds.index("approval") < kinds.index("effect-intent", kinds.index("approval"))


CHEATS = [
    ("the author", "alice", "wrote this or asked for it", {}),
    ("a stranger", "mallory", "may not write to this repository", {}),
    ("a program", "helper[bot]", "is no person", {"kind": "Bot"}),
    ("another's comment", "bob", "not its sender's", {"sender": "carol"}),
    ("another subject", "bob", "waits on another pull request", {"number": 1}),
]


@pytest.mark.slow
def test_every_way_to_cheat_is_refused_and_says_why(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    """A06, A07."""
    with hub_of(tmp_path, url, proxy) as hub:
        first = github.pull_request("First", {"b.md": "x"})
        pull, short = ask(hub, github)
        for _, login, why, how in CHEATS:
            say(hub, github, pull, login, f"/potato approve {short}", **how)
            there = first if "number" in how else pull
            assert wait_until(lambda there=there, why=why: any(why in reply for reply in replies(github, there)), 15), (
                why,
                replies(github, there),
            )
            assert state(hub) == "awaiting_approval"
        silent = [
            {"login": "bob", "text": f"> /potato approve {short}"},
            {"login": "bob", "text": f"```\n/potato approve {short}\n```"},
            {"login": "bob", "text": f"<!--\n/potato approve {short}\n-->"},
            {"login": "bob", "text": f"/potato approve {short}", "action": "edited"},
            {"login": "bob", "text": f"see /potato approve {short}"},
        ]
        for how in silent:
            say(hub, github, pull, **how)
        for text, why in ((f"/potato approve {short[:6]}", "at least eight"), ("/potato approve 00000000", "nothing waits")):
            say(hub, github, pull, "bob", text)
            assert wait_until(lambda why=why: any(why in reply for reply in replies(github, pull)), 15), replies(github, pull)
        assert state(hub) == "awaiting_approval"
        assert not pushed(github)
        assert query(url, "SELECT count(*) FROM approval") == [(0,)]


@pytest.mark.slow
def test_two_of_two_over_two_restarts_by_comment_and_command_line(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    with hub_of(tmp_path, url, proxy, 2) as hub:
        pull, short = ask(hub, github)
    with hub_of(tmp_path, url, proxy, 2) as hub:
        say(hub, github, pull, "carol", f"/potato approve {short}")
        assert wait_until(lambda: any("1 more must say yes" in reply for reply in replies(github, pull)), 15)
        say(hub, github, pull, "carol", f"/potato approve {short}")
        assert wait_until(lambda: any("has answered this before" in reply for reply in replies(github, pull)), 15)
        assert state(hub) == "awaiting_approval"
    with hub_of(tmp_path, url, proxy, 2) as hub:
        env = {"GITHUB_API_URL": proxy.url}
        alone = potato("approve", short, "--database", url, cwd=hub.folder, env=env | {"GITHUB_TOKEN": TOKEN})
        assert (alone.code, "wrote this or asked for it" in alone.err) == (1, True), alone
        told = potato("approve", short, "--database", url, cwd=hub.folder, env=env | {"GITHUB_TOKEN": BOBS_TOKEN})
        assert (told.code, told.out) == (0, f"push_branch {short} of pusher: approved by bob\n"), told
        assert wait_until(lambda: state(hub) == "succeeded", 20)
        assert pushed(github)


@pytest.mark.slow
def test_a_denial_ends_it(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    with hub_of(tmp_path, url, proxy) as hub:
        pull, short = ask(hub, github)
        say(hub, github, pull, "bob", f"/potato deny {short}")
        assert wait_until(lambda: state(hub) == "succeeded", 20)
        assert hub.api("/api/v1/runs")[0]["reason"].endswith("1 denied: denied by bob")
        assert not pushed(github)


@pytest.mark.slow
def test_what_changes_after_it_was_asked_voids_it(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    """A07: the proposal, the head, the policy; and an unreachable permission API holds."""
    with hub_of(tmp_path, url, proxy) as hub:
        pull, short = ask(hub, github)
        proxy.faults.append(Fault("GET", r"/collaborators/bob/permission", 503, times=6))
        say(hub, github, pull, "bob", f"/potato approve {short}")
        time.sleep(2)
        assert state(hub) == "awaiting_approval"
        proxy.faults.clear()
        assert wait_until(lambda: state(hub) == "succeeded", 60)  # it was held, and counted when GitHub answered

        altered = github.pull_request("Altered", {"c.md": "x"})
        hub.send(github.event(altered, "opened"))
        assert wait_until(lambda: state(hub) == "awaiting_approval", 20)
        query(url, "UPDATE proposal SET args = replace(args, 'fixed', 'evil') WHERE verdict = 'needs_approval'")
        digest = query(url, "SELECT digest FROM proposal WHERE verdict = 'needs_approval'")[0][0][7:19]
        say(hub, github, altered, "bob", f"/potato approve {digest}")
        assert wait_until(lambda: state(hub) == "expired", 20)
        assert hub.api("/api/v1/runs")[0]["reason"] == "the policy or the proposal has changed since it was asked for"

        late = github.pull_request("Late", {"d.md": "x"})
        hub.send(github.event(late, "opened"))
        assert wait_until(lambda: state(hub) == "awaiting_approval", 20)
    with hub_of(tmp_path, url, proxy, 2) as hub:  # another policy
        assert wait_until(lambda: state(hub) == "expired", 20)
        assert hub.api("/api/v1/runs")[0]["reason"] == "the policy has changed since it was asked for"


@pytest.mark.slow
def test_nobody_answers_in_time(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    with hub_of(tmp_path, url, proxy) as hub:
        pull, short = ask(hub, github)
        query(url, f"UPDATE run SET expires_at = {time.time() + 1}")
        assert wait_until(lambda: state(hub) == "expired", 15)
        assert hub.api("/api/v1/runs")[0]["reason"] == "nobody answered in time"
        say(hub, github, pull, "bob", f"/potato approve {short}")
        assert wait_until(lambda: any("nothing waits" in reply for reply in replies(github, pull)), 15)
        assert not pushed(github)


@pytest.mark.slow
def test_the_api_answers_as_the_owner_of_a_token_and_pauses(tmp_path: Path, github: GitHub, proxy: Proxy, url: str) -> None:
    with hub_of(tmp_path, url, proxy) as hub:
        _, short = ask(hub, github)

        def post(path: str, body: Any, token: str = "", method: str = "POST") -> tuple[int, Any]:
            headers = {"authorization": f"Bearer {API_TOKEN}", "content-type": "application/json", "x-github-token": token}
            status, _, answer = hub.request(method, path, json.dumps(body).encode(), headers)
            return status, json.loads(answer)

        assert [one["short"] for one in hub.api("/api/v1/approvals")] == [short]
        path, yes = f"/api/v1/approvals/{short}", {"answer": "approve"}
        proxy.faults.append(Fault("GET", r"^/user", 401))  # the emulator takes any token
        assert post(path, yes, "nobody's")[0] == 403
        assert post(path, {"answer": "maybe"}, BOBS_TOKEN)[0] == 422
        status, told = post(path, yes, TOKEN)
        assert (status, "wrote this" in told["detail"]) == (409, True)
        status, told = post("/api/v1/pauses", {"note": "wait", "repository": github.repository, "seconds": 3600})
        assert (status, told["state"], told["mode"]) == (201, "paused", "hold")
        status, answered = post(path, yes, BOBS_TOKEN)
        assert (status, answered["told"]) == (200, "approved by bob")
        assert wait_until(lambda: state(hub) == "held", 10)  # approved, and still paused
        assert not pushed(github)
        assert post("/api/v1/pauses", {"note": "", "mode": "explode"})[0] == 422
        assert post(f"/api/v1/pauses/{told['id']}", None, method="DELETE")[0] == 200
        assert post(f"/api/v1/pauses/{told['id']}", None, method="DELETE")[0] == 404
        assert wait_until(lambda: state(hub) == "succeeded", 15)
        assert pushed(github)
        assert hub.request("POST", path, b"{}", {"x-github-token": BOBS_TOKEN})[0] == 401
