from __future__ import annotations

import ast
from typing import Any

import pytest

from potato.config.builtin_names import BUILTINS
from potato.core.gate import Setting, judge
from potato.ports import AgentSpec, Report, Request
from potato.spokes.builtin import ci_guard, codeowners, coverage, documentation, proposing, router, security, triage
from potato.testing import make_event


def request(name: str, context: dict[str, Any] | None = None, *, permissions: set[str] | None = None, **event: Any) -> Request:
    builtin = BUILTINS[name]
    granted = builtin.permissions if permissions is None else frozenset(permissions)
    agent = AgentSpec(name=name, role=builtin.role, runner="builtin", prompt="", permissions=granted, secrets=(), caps={}, timeout_s=1, concurrency=1,
                      folder=".", place="", builtin=builtin.code)  # fmt: skip
    return Request(
        "run_1", agent, make_event(**event), context or {}, ("codex_router", "security_scanner", "documentation_generator", "mine"), {}
    )


def proposed(report: Report) -> dict[str, dict[str, Any]]:
    assert report.failure is None
    return {p["kind"]: p for p in report.proposals}


def test_triage_labels_by_path_title_and_size() -> None:
    context = {
        "files": [{"path": "docs/a.md", "additions": 100, "deletions": 50}, {"path": "tests/test_a.py", "additions": 0, "deletions": 0}]
    }
    report = proposed(triage.work(request("codex_triage", context, title="fix: crash on start", body="b", label=("size/XS", "keep"))))
    assert report["apply_labels"]["labels"] == ["bug", "documentation", "size/M", "tests"]
    assert report["remove_labels"]["labels"] == ["size/XS"]
    assert "- [x] It has a description" in report["comment"]["body"]
    assert report["comment"]["key"] == "checklist"


def test_triage_asks_for_what_is_missing() -> None:
    report = proposed(triage.work(request("codex_triage", {"files": [{"path": "src/a.py"}]}, title="x", body=" ")))
    assert report["comment"]["body"].count("- [ ]") == 3
    issue = proposed(triage.work(request("basic_triage", event="issues", kind="issue", body="", title="How do I start?")))
    assert issue["apply_labels"]["labels"] == ["question"]
    assert "no description" in issue["comment"]["body"]


def test_triage_suggests_owners_but_not_the_author() -> None:
    context = {"files": [{"path": "src/a.py"}], "codeowners": "* @alice @bob @octo/core\n"}
    report = proposed(triage.work(request("codex_triage", context, body="b")))
    assert (report["request_review"]["reviewers"], report["request_review"]["teams"]) == (["bob"], ["core"])
    again = proposed(triage.work(request("codex_triage", context, body="b", action="labeled")))
    assert "request_review" not in again


def test_triage_proposes_only_what_is_granted() -> None:
    report = triage.work(request("codex_triage", permissions={"comment"}, title="fix it"))
    assert set(proposed(report)) == {"comment"}
    assert report.summary.endswith("Not granted, so not proposed: apply_labels.")


@pytest.mark.parametrize("event", [{"event": "push", "number": None}, {"action": "closed"}, {"kind": "discussion", "event": "discussion"}])
def test_triage_leaves_alone_what_is_not_its_business(event: dict[str, Any]) -> None:
    assert proposed(triage.work(request("codex_triage", **event))) == {}


@pytest.mark.parametrize(
    ("text", "path", "owners"),
    [
        ("* @a\n/docs/ @b\n", "docs/x/y.md", ["@b"]),
        ("* @a\n/docs/ @b\n", "src/docs/x", ["@a"]),
        ("docs/ @b\n", "src/docs/x", ["@b"]),
        ("*.js @js # comment\n", "a/b.js", ["@js"]),
        ("/build/logs/ @x\n", "build/logs/a", ["@x"]),
        ("docs/* @d\n", "docs/a", ["@d"]),
        ("docs/* @d\n", "docs/a/b", []),
        ("apps/ @o\napps/github\n", "apps/github/x", []),
        ("# c\n\n!x @a\n* mail@example.com @org/t\n", "x", ["@org/t"]),
        ("**/logs @l\n", "deep/er/logs/x", ["@l"]),
    ],
)
def test_codeowners(text: str, path: str, owners: list[str]) -> None:
    assert codeowners.owners_of(text, [path]) == owners


def test_router_goes_by_label_then_by_path() -> None:
    by_label = router.work(request("codex_router", label=("codex:route", "codex:security", "codex:mine")))
    assert proposed(by_label)["route_agents"]["agents"] == ["security_scanner", "mine"]
    by_path = router.work(
        request("codex_router", {"files": [{"path": "src/a.py"}, {"path": ".github/workflows/x.yml"}]}, label=("codex:route",))
    )
    assert proposed(by_path)["route_agents"]["agents"] == ["security_scanner", "documentation_generator"]
    assert proposed(router.work(request("codex_router", label=("codex:coverage",)))) == {}


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("The hosted runner lost communication with the server.", "runner lost"),
        ("write failed: no space left on device", "disk"),
        ("curl: (6) Could not resolve host: example.com", "network"),
        ("read ECONNRESET", "network"),
        ("npm error code E503", "registry"),
        ("HTTP 503 Service Unavailable", "registry"),
        ("API rate limit exceeded for installation", "rate limit"),
        ("AssertionError: assert 1 == 2\nFAILED tests/test_a.py", None),
    ],
)
def test_the_guard_tells_infrastructure_from_code(log: str, found: str | None) -> None:
    report = proposed(ci_guard.work(request("ci_triage_guard", {"logs": log}, event="workflow_run", status="failure")))
    assert report.get("block", {}).get("reason") == (found and f"infrastructure failure in CI: {found}")


def test_the_guard_judges_by_the_outcome_where_there_are_no_logs() -> None:
    assert "block" in proposed(ci_guard.work(request("ci_triage_guard", event="workflow_run", status="startup_failure")))
    passed = ci_guard.work(request("ci_triage_guard", event="workflow_run", status="failure"))
    assert (proposed(passed), "no logs at hand" in passed.summary) == ({}, True)


TABLE = """
Name                 Stmts   Miss Branch BrPart  Cover   Missing
----------------------------------------------------------------
src/pkg/__init__.py      0      0      0      0   100%
src/pkg/none.py         20     20      4      0     0%   1-40
src/pkg/half.py         20     12      4      0    40%   1-40
src/pkg/fine.py         20      0      4      0   100%
----------------------------------------------------------------
TOTAL                   60     32     12      0    46%
"""


def test_coverage_reads_the_table_and_proposes_tests_or_an_issue() -> None:
    assert coverage.coverage_table(TABLE) == {"src/pkg/none.py": 0, "src/pkg/half.py": 40, "src/pkg/fine.py": 100}
    pull = proposed(coverage.work(request("coverage_orchestrator", {"logs": TABLE}, permissions={"open_pr", "read_ci_logs"})))["open_pr"]
    (file,) = pull["files"]
    assert '"pkg.none"' in file["content"]
    ast.parse(file["content"])
    issue = proposed(coverage.work(request("coverage_orchestrator", {"logs": TABLE})))["create_issue"]
    assert "| `src/pkg/half.py` | 40 % |" in issue["body"]
    assert proposed(coverage.work(request("coverage_orchestrator", {"logs": "no table"}))) == {}
    assert proposed(coverage.work(request("coverage_orchestrator"))) == {}


def patch(*lines: str) -> str:
    return "@@ -1,2 +10,9 @@ def x():\n context\n-removed\n" + "\n".join(f"+{line}" for line in lines)


def test_added_lines_have_their_numbers() -> None:
    assert proposing.added_lines({"patch": patch("a", "b")}) == [(11, "a"), (12, "b")]
    assert proposing.added_lines({"patch": None}) == []


def test_security_scans_added_lines_only() -> None:
    token = "gh" + "p_" + "a" * 36
    context = {"files": [
        {"path": "a.py", "patch": patch(f"KEY = '{token}'", "fine") + "\n-AKIAABCDEFGHIJKLMNOP"},
        {"path": ".github/workflows/x.yml", "patch": patch("on: pull_request_target", "- uses: some/action@v1", "run: curl https://x | sudo bash")},
        {"path": "image.png"},
    ]}  # fmt: skip
    check = proposed(security.work(request("security_scanner", context)))["create_check"]
    assert (check["conclusion"], check["title"]) == ("failure", "4 finding(s) in 3 file(s)")
    for line in (
        "`a.py:11` GitHub token",
        "`.github/workflows/x.yml:11` pull_request_target",
        "x.yml:12` action not pinned",
        "x.yml:13` download piped",
    ):
        assert line in check["summary"]
    assert "Not scanned, no diff given: 1 file(s)." in check["summary"]
    assert token not in check["summary"]
    clean = proposed(security.work(request("security_scanner", {"files": [{"path": "a", "patch": patch("ok", f"uses: a/b@{'0' * 40}")}]})))
    assert clean["create_check"]["conclusion"] == "success"
    assert proposed(security.work(request("security_scanner"))) == {}


def test_documentation_lists_new_public_names() -> None:
    context = {
        "files": [
            {"path": "src/a.py", "patch": patch("def run():", "def _hidden():", "class Thing:")},
            {"path": "tests/test_a.py", "patch": patch("def test_x():")},
        ]
    }
    comment = proposed(documentation.work(request("documentation_generator", context)))["comment"]
    assert comment["body"] == "New public names without documentation:\n\n- `run` in `src/a.py`\n- `Thing` in `src/a.py`"
    context["files"].append({"path": "docs/a.md"})
    assert proposed(documentation.work(request("documentation_generator", context))) == {}


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_whatever_a_builtin_proposes_passes_its_own_least_grant(name: str) -> None:
    """No built-in agent is denied by the gate for what it does by itself."""
    context = {
        "files": [{"path": "src/a.py", "additions": 3, "deletions": 0, "patch": patch("def run():")}],
        "logs": TABLE,
        "codeowners": "* @bob",
    }
    asked = request(name, context, title="fix it", label=("codex:security",), status="startup_failure",
                    **({"event": "workflow_run"} if name == "ci_triage_guard" else {}))  # fmt: skip
    module = {
        "router": router,
        "triage": triage,
        "ci_guard": ci_guard,
        "coverage": coverage,
        "security": security,
        "documentation": documentation,
    }
    report = module[BUILTINS[name].code].work(asked)
    verdicts = judge(report.proposals, asked.agent.grant(), Setting(asked.event, True, "c", frozenset(asked.routable)))
    assert report.proposals
    assert {v.answer for v in verdicts} == {"allow"}, verdicts
