"""`potato lint` finds one of each defect at its place, says nothing of a sound config, and can be cut and silenced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli import potato

from potato.config.lint import CHECKS, CUT, lint
from potato.config.lint.subject import Subject
from potato.config.loader import load_config
from potato.core.analysis import Budget
from potato.core.expression import Reading

ROOT = Path(__file__).parents[2]

SEEDED = """version: 1
routing:
  - name: impossible
    if: event == "push" && branch == "a" && branch == "b" || event == "issues" && title ~ "a*" && title ~ "b*"
    run: [worker]
  - name: all-pulls
    if: event == "pull_request" && action in ["opened", "synchronize"]
    run: [worker]
    stop: true
  - name: never-reached
    if: event == "pull_request" && action == "opened" && label ~ "area/*"
    run: [helper]
  - name: broad
    if: event == "issues" && action == "opened"
    run: [worker, helper]
  - name: adds-nothing
    if: event == "issues" && action == "opened" && label ~ "bug"
    run: [helper]
  - name: exact-title
    if: event == "issues" && action == "closed" && title ~ "fix"
    run: [worker]
  - name: costly
    if: event == "pull_request_review" && path ~ "src/**"
    run: [worker]
  - name: loop
    if: event == "issue_comment" && body ~ "*please*"
    run: [talker]
  - name: adder
    if: event == "discussion" && !(label ~ "wip")
    run: [adder]
  - name: remover
    if: event == "discussion" && label ~ "wip"
    run: [remover]
agents:
  worker: {command: [./a], permissions: [create_check, read_repository]}
  helper: {command: [./a], permissions: [update_issue]}
  talker: {command: [./a], permissions: [comment]}
  adder: {command: [./a], permissions: [apply_labels]}
  remover: {command: [./a], permissions: [remove_labels, read_ci_logs]}
  idle: {command: [./a], permissions: [comment]}
"""


def seeded(folder: Path, text: str = SEEDED) -> str:
    (folder / "a").write_text("#!/bin/sh\n")
    (folder / "a").chmod(0o755)
    (folder / "orchestrator.yml").write_text(text)
    return str(folder / "orchestrator.yml")


def found(path: str) -> set[tuple[str, str, int, int]]:
    return {(p.code, p.severity, p.line, p.column) for p in lint(load_config(path), lambda: False).findings}


def test_one_of_each_defect_is_found_at_its_place(tmp_path: Path) -> None:
    assert found(seeded(tmp_path)) == {
        ("unsatisfiable-rule", "error", 4, 9),
        ("shadowed-rule", "error", 11, 9),
        ("shadowed-rule", "warning", 17, 9),
        ("literal-glob", "warning", 20, 52),
        ("costly-facts", "note", 23, 43),
        ("self-trigger", "warning", 26, 9),
        ("self-trigger", "note", 29, 9),
        ("self-trigger", "note", 32, 9),
        ("flapping-labels", "warning", 32, 34),
        ("unused-permission", "warning", 39, 58),
        ("unrouted-agent", "warning", 40, 3),
    }


@pytest.mark.slow
def test_the_command_prints_them_in_every_format_and_exits_by_severity(tmp_path: Path) -> None:
    path = seeded(tmp_path)
    text = potato("lint", path, cwd=tmp_path)
    assert text.code == 1
    assert f"{path}:20:52 literal-glob: a glob matches the whole title" in text.out
    assert "2 errors, 6 warnings, 3 notes" in text.err
    told = json.loads(potato("lint", "--config", path, "--format", "json", cwd=tmp_path).out)
    assert set(told[0]) == {"id", "severity", "file", "line", "column", "message", "fix"}
    assert {each["id"] for each in told} == set(CHECKS) - {CUT}
    assert all(each["fix"] and each["message"].endswith(".") for each in told)
    assert "::error file=" in potato("lint", path, "--format", "github", cwd=tmp_path).out
    sarif = json.loads(potato("lint", path, "--format", "sarif", cwd=tmp_path).out)["runs"][0]
    assert {rule["shortDescription"]["text"] for rule in sarif["tool"]["driver"]["rules"]} == {v for k, v in CHECKS.items() if k != CUT}
    notes = potato("lint", str(ROOT / "examples/specification/orchestrator.yml"), cwd=tmp_path)
    assert (notes.code, notes.err.strip().endswith("0 errors, 0 warnings, 4 notes")) == (0, True)
    (tmp_path / "bad.yml").write_text("routing: 1\n")
    unusable = potato("lint", "bad.yml", "--format", "json", cwd=tmp_path)
    assert (unusable.code, json.loads(unusable.out)[0]["id"]) == (2, "wrong-type")
    assert potato("lint", path, "--budget", "soon", cwd=tmp_path).code == 2


def test_what_init_writes_is_clean(tmp_path: Path) -> None:
    assert potato("init", cwd=tmp_path).code == 0
    assert potato("lint", cwd=tmp_path).code == 0


def test_a_comment_silences_a_finding_and_is_counted(tmp_path: Path) -> None:
    silent = SEEDED.replace(
        "  - name: exact-title\n", "  - name: exact-title\n    # the bot titles them so  potato: ignore[literal-glob]\n"
    )
    path = seeded(tmp_path, silent.replace("  idle:", "  # potato: ignore[unrouted-agent, unused-permission]\n  # kept for later\n  idle:"))
    linted = lint(load_config(path), lambda: False)
    assert linted.ignored == 2
    assert {"literal-glob", "unrouted-agent"}.isdisjoint(p.code for p in linted.findings)


def test_when_the_time_is_used_up_it_says_what_was_not_checked(tmp_path: Path) -> None:
    rules = "".join(f'  - if: event == "push" && branch == "b{n}"\n    run: [codex_triage]\n' for n in range(200))
    (tmp_path / "orchestrator.yml").write_text(f"routing:\n{rules}")
    cut = [p for p in lint(load_config(str(tmp_path / "orchestrator.yml")), lambda: True).findings if p.code == CUT]
    assert len(cut) == 1
    assert "unsatisfiable-rule, shadowed-rule" in cut[0].message
    assert potato("lint", "--budget", "0s", cwd=tmp_path).code == 1


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["draft|stop", '!draft && event == "pull_request"|stop', 'event == "pull_request"'], True),
        (["draft|stop", 'event == "pull_request"'], False),
        (['path ~ "src/**"|stop', 'event == "push" && path ~ "src/**/*.py"'], True),
        (['path ~ "src/*"|stop', 'event == "push" && path ~ "src/**/*.py"'], False),
        (['all(path ~ "**/*.md")|stop', 'event == "push" && all(path ~ "docs/*.md")'], True),
        (["title ~ /fix/|stop", 'event == "issues" && title ~ "*fix*"'], False),
    ],
)
def test_a_rule_is_shadowed_exactly_by_what_covers_it_alone_or_together(tmp_path: Path, rules: list[str], expected: bool) -> None:
    written = "".join(
        f"  - if: '{text.removesuffix('|stop')}'\n    run: [codex_triage]\n" + ("    stop: true\n" if text.endswith("|stop") else "")
        for text in rules
    )
    (tmp_path / "orchestrator.yml").write_text(f"routing:\n{written}")
    findings = lint(load_config(str(tmp_path / "orchestrator.yml")), lambda: False).findings
    assert any(p.code == "shadowed-rule" and "never considered" in p.message for p in findings) is expected


def test_rules_that_trigger_each_other_in_a_circle_are_told_once(tmp_path: Path) -> None:
    config = """routing:
  - {name: ask, if: 'event == "issues" && action == "opened"', run: [asker]}
  - {name: open, if: 'event == "issue_comment" && action == "created"', run: [opener]}
  - {name: quiet, if: 'event == "issue_comment" && action == "created" && actor !~ "*[bot]"', run: [opener]}
agents:
  asker: {command: [./a], permissions: [comment]}
  opener: {command: [./a], permissions: [create_issue]}
"""
    loops = [p for p in lint(load_config(seeded(tmp_path, config)), lambda: False).findings if p.code == "self-trigger"]
    assert [p.message for p in loops] == ["rule 'ask' triggers itself by others: 'ask' -> 'open' -> 'ask'."]


def test_each_witness_is_one(tmp_path: Path) -> None:
    subject = Subject(load_config(seeded(tmp_path)), Budget())
    for number, rule in enumerate(subject.rules):
        fields = subject.witness(number)
        assert fields is None if rule.name == "impossible" else rule.evaluate(Reading(fields or {})) is True


def test_a_rule_behind_a_stop_covers_none_before_it(tmp_path: Path) -> None:
    config = """routing:
  - {name: narrow, if: 'event == "issues"', run: [codex_triage]}
  - {name: ends, if: 'event == "issues" && label == "bug"', run: [codex_router], stop: true}
  - {name: wide, if: 'event in ["issues", "push"]', run: [codex_triage]}
"""
    shadowed = [p.message for p in lint(load_config(seeded(tmp_path, config)), lambda: False).findings if p.code == "shadowed-rule"]
    assert shadowed == []
    without = config.replace(", stop: true", "")
    shadowed = [p.message for p in lint(load_config(seeded(tmp_path, without)), lambda: False).findings if p.code == "shadowed-rule"]
    assert [message.split(" adds")[0] for message in shadowed] == ["rule 'narrow'"]
