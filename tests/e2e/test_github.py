"""The whole way against an emulated, stateful GitHub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.cli import Done, potato
from support.github import APP_ID, TOKEN, Fault, GitHub, Proxy, prism, proxied

CONFIG = """
version: 1
routing:
  - name: labelled
    if: event == "pull_request" && label ~ "codex:route" && path ~ "src/**"
    run: [worker]
agents:
  worker:
    runner: command
    command: [python3, worker.py]
    sandbox: none
    permissions: [apply_labels, comment, create_check, create_issue, request_review, open_pr, read_pull_request, remove_labels]
"""
PROPOSALS = [
    {"kind": "apply_labels", "labels": ["reviewed"]},
    {"kind": "comment", "body": "Looked at by a potato. cc @bob"},
    {"kind": "create_check", "name": "style", "conclusion": "success", "title": "All fine", "summary": "Nothing found."},
    {"kind": "create_issue", "title": "Follow up", "body": "Later."},
    {"kind": "open_pr", "title": "Tidy up", "files": [{"path": "src/tidy.py", "content": "x = 1\n"}], "body": "Tidies."},
    {"kind": "update_issue", "state": "closed"},
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "orchestrator.yml").write_text(CONFIG)
    write_agent(tmp_path, PROPOSALS)
    return tmp_path


def write_agent(folder: Path, proposals: list[dict[str, Any]]) -> None:
    (folder / "worker.py").write_text(f"import json, sys\njson.dump({{'proposals': {proposals!r}, 'summary': 'done'}}, sys.stdout)\n")


def run(project: Path, url: str, event: dict[str, Any], *args: str, name: str = "pull_request") -> Done:
    (project / "event.json").write_text(json.dumps(event))
    env = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": url, "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(project / "event.json")}
    return potato("--config", "orchestrator.yml", "--json", *args, cwd=project, env=env)


def labelled(github: GitHub) -> dict[str, Any]:
    pull = github.pull_request("Change it", {"src/a.py": "a = 1\n"}, labels=("codex:route",))
    return github.event(pull, "labeled")


def verdicts(done: Done) -> dict[str, tuple[str, str | None]]:
    assert done.out, done.err
    return {p["kind"]: (p["verdict"], p["effect"] and p["effect"]["state"]) for p in done.json["runs"][0]["proposals"]}


def state_of(github: GitHub, number: int) -> dict[str, Any]:
    sha = github.repo("GET", f"/pulls/{number}")["head"]["sha"]
    return {
        "labels": sorted(label["name"] for label in github.repo("GET", f"/issues/{number}/labels")),
        "comments": [comment["body"] for comment in github.repo("GET", f"/issues/{number}/comments")],
        "checks": [(c["name"], c["conclusion"]) for c in github.repo("GET", f"/commits/{sha}/check-runs")["check_runs"]],
        "state": github.repo("GET", f"/pulls/{number}")["state"],
        "issues": sorted(issue["title"] for issue in github.repo("GET", "/issues") if "pull_request" not in issue),
        "pulls": sorted(pull["title"] for pull in github.repo("GET", "/pulls")),
    }


@pytest.mark.slow
def test_allowed_effects_land_denied_ones_do_not_and_a_second_run_changes_nothing(project: Path, github: GitHub, proxy: Proxy) -> None:
    event = labelled(github)

    first = run(project, proxy.url, event)

    assert first.code == 0, first.err
    assert verdicts(first) == {
        "apply_labels": ("allow", "applied"),
        "comment": ("allow", "applied"),
        "create_check": ("allow", "applied"),
        "create_issue": ("allow", "applied"),
        "open_pr": ("allow", "applied"),
        "update_issue": ("deny", None),
    }
    after = state_of(github, event["number"])
    assert after["labels"] == ["codex:route", "reviewed"]
    assert len(after["comments"]) == 1
    assert "@&#8203;bob" in after["comments"][0]
    assert after["checks"] == [("potato / style", "success")]
    assert after["state"] == "open"
    assert after["issues"] == ["Follow up"]
    assert after["pulls"] == ["Change it", "Tidy up"]

    proxy.calls.clear()
    second = run(project, proxy.url, event)

    assert {state for verdict, state in verdicts(second).values() if verdict == "allow"} == {"unchanged"}
    assert state_of(github, event["number"]) == after
    assert [call.path for call in proxy.writes() if not call.path.endswith("/git/trees")] == []
    audit = potato("audit", "verify", "--json", cwd=project)
    assert audit.json["ok"] is True


def test_the_pull_requests_files_are_fetched_for_path_rules(project: Path, github: GitHub, proxy: Proxy) -> None:
    pull = github.pull_request("Only docs", {"docs/a.md": "hello"}, labels=("codex:route",))

    done = run(project, proxy.url, github.event(pull, "labeled"))

    assert done.json["rules"][0]["result"] == "unmatched"
    assert done.json["runs"] == []
    path = done.json["rules"][0]["trace"]["children"][2]
    assert (path["actual"], path["result"]) == (["docs/a.md"], False)


def test_dry_run_reads_and_writes_nothing(project: Path, github: GitHub, proxy: Proxy) -> None:
    event = labelled(github)

    done = run(project, proxy.url, event, "--dry-run")

    assert {state for verdict, state in verdicts(done).values() if verdict == "allow"} == {"staged"}
    assert proxy.writes() == []


@pytest.mark.slow
def test_a_changed_comment_is_edited_not_doubled(project: Path, github: GitHub, proxy: Proxy) -> None:
    event = labelled(github)
    write_agent(project, [{"kind": "comment", "body": "First."}])
    run(project, proxy.url, event)
    write_agent(project, [{"kind": "comment", "body": "Second."}])

    run(project, proxy.url, event)

    (comment,) = state_of(github, event["number"])["comments"]
    assert comment.startswith("Second.")


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/comments$", status=502, after=True),
        Fault("POST", "/comments$", status=502),
        Fault("POST", "/comments$", drop=True, after=True),
        Fault("GET", "/comments", status=503, times=2),
    ],
    ids=["502 after it was done", "502 before", "connection lost after it was done", "503 while looking"],
)
def test_an_unclear_answer_never_makes_two(project: Path, github: GitHub, proxy: Proxy, fault: Fault) -> None:
    """R02: the answer is lost although GitHub did it."""
    event = labelled(github)
    write_agent(project, [{"kind": "comment", "body": "Once."}])
    proxy.faults.append(fault)

    done = run(project, proxy.url, event)

    assert done.code == 0, done.out
    assert len(state_of(github, event["number"])["comments"]) == 1
    assert fault.times == 0


@pytest.mark.slow
def test_rate_limits_are_waited_for(project: Path, github: GitHub, proxy: Proxy) -> None:
    event = labelled(github)
    write_agent(project, [{"kind": "apply_labels", "labels": ["x"]}])
    proxy.faults += [
        Fault("POST", "/labels$", status=429, headers={"retry-after": "1"}),
        Fault("GET", "/labels", status=403, headers={"retry-after": "1"}, body=b'{"message": "You have exceeded a secondary rate limit"}'),
    ]

    done = run(project, proxy.url, event)

    assert verdicts(done) == {"apply_labels": ("allow", "applied")}
    assert len([call for call in proxy.calls if call.method == "POST"]) == 2


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "said"),
    [
        (401, {}, b'{"message": "Bad credentials"}', 4, "github-unauthorized"),
        (403, {"x-accepted-github-permissions": "issues=write"}, b'{"message": "Resource not accessible"}', 1, "It needs: issues=write."),
        (404, {}, b'{"message": "Not Found"}', 1, "does not exist or the token cannot see it"),
        (422, {}, b'{"message": "Validation Failed", "errors": [{"message": "label is too long"}]}', 1, "github-invalid"),
        (429, {"retry-after": "4000"}, b"{}", 1, "GitHub's rate limit lasts 4000 s more."),
        (200, {}, b"<html>not json", 1, "github-garbage"),
    ],
)
def test_refusals_say_why_and_do_nothing(project: Path, github: GitHub, proxy: Proxy, status: int, headers: dict[str, str], body: bytes,
                                         code: int, said: str) -> None:  # fmt: skip
    event = labelled(github)
    write_agent(project, [{"kind": "apply_labels", "labels": ["x"]}])
    proxy.faults.append(Fault("GET", "/issues/.*/labels", status=status, headers=headers, body=body, times=9))

    done = run(project, proxy.url, event)

    assert done.code == code
    assert said in done.out + done.err
    assert "Traceback" not in done.err
    assert proxy.writes() == []


def test_a_fact_that_cannot_be_fetched_holds_the_agents(project: Path, github: GitHub, proxy: Proxy) -> None:
    event = labelled(github)
    proxy.faults.append(Fault("GET", r"/pulls/\d+(/files.*)?$", status=404, times=9))

    done = run(project, proxy.url, event)

    assert done.code == 1
    assert done.json["rules"][0]["result"] == "unknown"
    assert done.json["runs"][0]["state"] == "held"
    assert "paths could not be fetched" in done.json["runs"][0]["reason"]
    assert proxy.writes() == []


@pytest.mark.slow
def test_a_workflow_runs_jobs_and_logs_reach_guard_and_coverage(tmp_path: Path, github: GitHub, proxy: Proxy, deliveries: Any) -> None:
    (tmp_path / "orchestrator.yml").write_text(
        'routing:\n  - if: event == "workflow_run" && job == "tests" && status == "failure"\n    run: [ci_triage_guard, coverage_orchestrator]\n'
    )
    event = next(p for p in deliveries["workflow_run"] if p["action"] == "completed")
    event["workflow_run"]["conclusion"] = "failure"
    event["repository"]["full_name"] = github.repository
    event["sender"]["login"] = "alice"
    jobs = [
        {"id": 5, "name": "tests", "conclusion": "failure", "steps": []},
        {"id": 6, "name": "lint", "conclusion": "success", "steps": []},
    ]
    proxy.extra = {r"/actions/runs/\d+/jobs": {"total_count": 2, "jobs": jobs}, r"/actions/jobs/5/logs": "src/a.py   10   9   10%\n"}

    done = run(tmp_path, proxy.url, event, name="workflow_run")

    assert [(r["agent"], r["state"]) for r in done.json["runs"]] == [
        ("ci_triage_guard", "succeeded"),
        ("coverage_orchestrator", "succeeded"),
    ]
    assert [issue["title"] for issue in github.repo("GET", "/issues")] == ["Low test coverage"]

    proxy.extra[r"/actions/jobs/5/logs"] = "The hosted runner lost communication with the server."
    done = run(tmp_path, proxy.url, event, name="workflow_run")

    assert done.code == 5
    assert [(r["agent"], r["state"]) for r in done.json["runs"]] == [("ci_triage_guard", "succeeded"), ("coverage_orchestrator", "blocked")]


@pytest.mark.slow
def test_a_guard_that_cannot_read_the_logs_holds(tmp_path: Path, github: GitHub, proxy: Proxy, deliveries: Any) -> None:
    (tmp_path / "orchestrator.yml").write_text(
        'routing:\n  - if: event == "workflow_run"\n    run: [ci_triage_guard, coverage_orchestrator]\n'
    )
    event = next(p for p in deliveries["workflow_run"] if p["action"] == "completed")
    event["repository"]["full_name"] = github.repository
    proxy.faults.append(Fault("GET", r"/jobs\b", status=500, times=99))
    proxy.faults.append(Fault("GET", r"/permission$", status=404, times=99))

    done = run(tmp_path, proxy.url, event, name="workflow_run")

    states = {r["agent"]: (r["state"], r["reason"]) for r in done.json["runs"]}
    assert done.code == 1
    assert states["ci_triage_guard"][0] == "failed"
    assert states["coverage_orchestrator"][0] == "held"
    assert "guard ci_triage_guard did not pass" in states["coverage_orchestrator"][1]


@pytest.mark.slow
def test_a_github_app_works_instead_of_a_token(project: Path, github: GitHub, proxy: Proxy, github_folder: Path) -> None:
    """JWT -> installation of the repository -> token; comments bear the App's name and are found again."""
    event = labelled(github)
    write_agent(project, [{"kind": "apply_labels", "labels": ["by-app"]}, {"kind": "comment", "body": "From an App."}])
    (project / "event.json").write_text(json.dumps(event))
    env = {
        "POTATO_GITHUB_APP_ID": str(APP_ID),
        "POTATO_GITHUB_PRIVATE_KEY_FILE": str(github_folder / "app.pem"),
        "GITHUB_API_URL": proxy.url,
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(project / "event.json"),
    }
    first = potato("--config", "orchestrator.yml", "--json", cwd=project, env=env)
    second = potato("--config", "orchestrator.yml", "--json", cwd=project, env=env)

    assert verdicts(first) == {"apply_labels": ("allow", "applied"), "comment": ("allow", "applied")}
    assert verdicts(second) == {"apply_labels": ("allow", "unchanged"), "comment": ("allow", "unchanged")}
    (comment,) = github.repo("GET", f"/issues/{event['number']}/comments")
    assert comment["user"]["login"] == "potato-app[bot]"


@pytest.mark.slow
def test_our_requests_fit_githubs_official_openapi(project: Path, github: GitHub, tmp_path_factory: pytest.TempPathFactory) -> None:
    event = labelled(github)
    with prism(f"http://{github.url}", tmp_path_factory.mktemp("prism")) as checked, proxied(checked) as recorder:
        first, second = run(project, recorder.url, event), run(project, recorder.url, event)

    assert (first.code, second.code) == (0, 0), first.out + first.err
    wrong = [(c.method, c.path, v["message"]) for c in recorder.calls for v in c.violations if v["location"][0] == "request"]
    # prism cannot match a path parameter that spans slashes, as GitHub's {path} of contents and {ref} of git refs do
    spanning = re.compile(r"/(contents/.+/.+|git/refs?/heads/.+)")
    assert [w for w in wrong if not (w[2] == "Selected route not found" and spanning.search(w[1]))] == []
    assert len(recorder.writes()) >= 8
