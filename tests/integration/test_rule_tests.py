"""`potato test`: what passes, what fails and says why, coverage, `--update` that changes nothing else, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli import potato

ROOT = Path(__file__).parents[2]
CONFIG = """routing:
  - name: docs
    if: event == "pull_request" && all(path ~ "docs/**")
    run: [documentation_generator]
  - name: wip
    if: event == "issues" && (title ~ "*wip*" || label == "wip")
    run: [codex_triage]
"""
TESTS = """# kept
tests:
  - name: docs only   # kept too
    event: pull_request
    paths: [docs/a.md, "docs/b.md"]
    expect:
      run: [documentation_generator]

  - name: wrong
    event: issues
    fields: {title: my wip, label: [], number: 7, draft: false}
    expect: {run: [], unmatched: {docs: 'draft', wip: }}

  - name: fresh
    event: pull_request
    paths: [src/a.py]
"""


def written(folder: Path, tests: str = TESTS) -> Path:
    (folder / "orchestrator.yml").write_text(CONFIG)
    (folder / "orchestrator.test.yml").write_text(tests)
    return folder / "orchestrator.test.yml"


def test_failures_say_what_was_found_and_why(tmp_path: Path) -> None:
    written(tmp_path)
    done = potato("test", cwd=tmp_path)
    assert done.code == 1
    assert "✓ docs only  orchestrator.test.yml:3" in done.out
    assert "expected run [], found [codex_triage]. codex_triage: asked for by rule wip" in done.out
    assert 'rule docs is unmatched because of event == "pull_request"; all(path ~ "docs/**"), expected because of draft' in " ".join(
        done.out.split()
    )
    assert "rule wip is matched, expected unmatched" in done.out
    assert "nothing is expected; --update writes what is found" in done.out
    assert "1 passed, 2 failed" in done.err
    told = json.loads(potato("test", "--format", "json", cwd=tmp_path).out)
    assert [each["passed"] for each in told["tests"]] == [True, False, False]
    assert {"rule": "wip", "line": 5, "clause": 'label == "wip"', "never": True} in told["coverage"]["gaps"]
    assert told["coverage"]["clauses_true"] == 4
    assert (
        "::error file=orchestrator.test.yml,line=9,title=rule test failed::wrong: expected run"
        in potato("test", "--format", "github", cwd=tmp_path).out
    )
    annotated = potato("test", cwd=tmp_path, env={"GITHUB_ACTIONS": "true"})
    assert annotated.out.count("::error ") == 2


def test_a_missing_agent_is_told_by_the_nearest_rule(tmp_path: Path) -> None:
    written(tmp_path, "tests:\n- {name: a, event: issues, fields: {title: x}, expect: {run: [codex_triage]}}\n")
    out = " ".join(potato("test", cwd=tmp_path).out.split())
    assert 'codex_triage: rule wip is unmatched because of title ~ "*wip*"' in out


def test_update_changes_the_expectations_of_failing_tests_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert potato("test", "--update", cwd=tmp_path).code == 0
    assert (
        path.read_text()
        == """# kept
tests:
  - name: docs only   # kept too
    event: pull_request
    paths: [docs/a.md, "docs/b.md"]
    expect:
      run: [documentation_generator]

  - name: wrong
    event: issues
    fields: {title: my wip, label: [], number: 7, draft: false}
    expect:
      run: [codex_triage]
      unmatched:
        docs: "event == \\"pull_request\\""

  - name: fresh
    event: pull_request
    paths: [src/a.py]
    expect:
      run: []
"""
    )
    assert potato("test", cwd=tmp_path).code == 0
    before = path.read_text()
    assert potato("test", "--update", cwd=tmp_path).code == 0
    assert path.read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "expect",
    [
        "expect:\n      run: []\n      held:\n        - x\n\n  # after",
        "expect:\n      run: [a,\n        b]\n",
        "expect: {run: [a, b]} # c",
        "expect: {}",
        "expect:",
    ],
)
def test_update_of_any_way_to_write_it_is_valid_and_passes(tmp_path: Path, expect: str) -> None:
    tests = f"tests:\n  - name: one\n    {expect}\n    event: pull_request\n  - name: two\n    event: issues\n    expect: {{run: []}}\n"
    path = written(tmp_path, tests)
    done = potato("test", "--update", cwd=tmp_path)
    assert done.code == 0, done.err
    again = potato("test", cwd=tmp_path)
    assert again.code == 0, again.out
    assert path.read_text().endswith("  - name: two\n    event: issues\n    expect: {run: []}\n")
    assert ("# after" in path.read_text()) is ("# after" in expect)


def test_coverage_can_be_demanded(tmp_path: Path) -> None:
    written(tmp_path)
    potato("test", "--update", cwd=tmp_path)
    done = potato("test", "--min-coverage", "99", cwd=tmp_path)
    assert done.code == 1
    assert "less than 99 %" in done.err
    assert potato("test", "--min-coverage", "50", cwd=tmp_path).code == 0


def test_the_example_config_is_covered_whole() -> None:
    done = potato("test", "examples/specification/orchestrator.yml", "--format", "json", cwd=ROOT)
    assert done.code == 0
    told = json.loads(done.out)
    assert (len(told["tests"]), told["coverage"]["percent"], told["coverage"]["gaps"]) == (5, 100.0, [])


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("tests:\n- {name: a, event: pull, expect: {}}\n", "2:20 unknown-value: 'pull' is no event."),
        ("tests:\n- {name: a, event: issues, fields: {lable: x}}\n", "2:37 unknown-field: 'lable' is no field. Did you mean 'label'?"),
        ("tests:\n- {name: a, event: issues, fields: {label: x}}\n", "2:44 wrong-type: 'label' is a list of text."),
        ("tests:\n- {name: a, event: issues, fields: {number: x}}\n", "2:45 wrong-type: 'number' is a whole number."),
        ("tests:\n- {name: a, event: issues, expct: {}}\n", "2:28 unknown-key: 'expct' is no key of tests[0]. Did you mean 'expect'?"),
        ("tests:\n- {name: a, event: issues}\n- {name: a, event: push}\n", "3:10 duplicate-name: the test on line 2 has this name too."),
        ("tests: []\n", "1:8 bad-value"),
        (
            "tests:\n- {name: a, event: issues, payload: none.json}\n",
            "file-unreadable: orchestrator.test.yml:2: the payload at 'none.json'",
        ),
        ("", "1:1 empty-file"),
        ("tests: [[[", "invalid-yaml"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, tests: str, said: str) -> None:
    written(tmp_path, tests)
    done = potato("test", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_test_in_braces_is_not_updated_but_told(tmp_path: Path) -> None:
    path = written(tmp_path, "tests:\n- {name: a, event: issues}\n")
    done = potato("test", "--update", cwd=tmp_path)
    assert done.code == 2
    assert "2:3 cannot-update: a test in braces cannot be updated." in done.err
    assert path.read_text() == "tests:\n- {name: a, event: issues}\n"


def test_without_tests_it_says_where_they_would_be(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yml").write_text(CONFIG)
    done = potato("test", cwd=tmp_path)
    assert (done.code, done.err.split(":")[1].strip()) == (2, "no-tests")
    (tmp_path / "other.yml").write_text("tests:\n- name: a\n  event: push\n  expect: {run: []}\n")
    assert potato("test", "orchestrator.yml", "--tests", "other.yml", cwd=tmp_path).code == 0
