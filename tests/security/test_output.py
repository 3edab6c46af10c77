"""I05, I07: what strangers write cannot act on a terminal, on CI, or in a summary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.cli import Done, potato

NASTY = "\x1b[31m::stop-commands::x ##[set-env name=A]b \u202e\u200b\r\n::error::pwned `x` | <b> @bob https://evil.example $x$ "
WORD = "x" * 70 + "::warning::w"


def hostile_event() -> dict[str, Any]:
    return {
        "action": "opened",
        "number": 7,
        "repository": {"id": 1, "full_name": "octo/demo", "owner": {"login": NASTY}},
        "sender": {"login": NASTY},
        "pull_request": {
            "number": 7, "title": NASTY + WORD, "body": NASTY, "user": {"login": NASTY}, "labels": [{"name": NASTY}, {"name": WORD}],
            "head": {"ref": NASTY, "repo": {"id": 1}}, "base": {"ref": "main", "repo": {"id": 1}},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Done, Path]:
    tmp_path = tmp_path_factory.mktemp("hostile")
    proposals = [
        {"kind": NASTY},
        {"kind": "apply_labels", "labels": [WORD[:50]]},
        {"kind": "comment", "body": NASTY},
        {"kind": "nope", NASTY: NASTY},
    ]
    (tmp_path / "orchestrator.yml").write_text(
        'routing:\n  - if: title ~ "*" && label ~ "*" && branch != "x" && author != "x"\n    run: [worker]\n'
        "agents:\n  worker: {command: [python3, worker.py], sandbox: none, permissions: [comment, apply_labels]}\n"
    )
    (tmp_path / "worker.py").write_text(f"import json\nprint(json.dumps({{'proposals': {proposals!r}, 'summary': {NASTY + WORD!r}}}))\n")
    (tmp_path / "event.json").write_text(json.dumps(hostile_event()))
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    args = ("run", "--event", "pull_request", "--payload", "event.json")
    return potato(*args, cwd=tmp_path, env=env), potato(*args, "--json", cwd=tmp_path, env=env), tmp_path


def commands_in(text: str) -> list[str]:
    """Lines that the runner of GitHub Actions would act on."""
    return [line for line in re.split(r"[\n\r\u2028\u2029\x85\x0b\x0c]", text) if line.lstrip().startswith("::") or "##[" in line]


def test_no_line_is_a_workflow_command_but_our_own_annotations(ran: tuple[Done, Done, Path]) -> None:
    for done in ran[:2]:
        assert done.code == 0, done.err
        assert commands_in(done.out) == []
        ours = commands_in(done.err)
        assert len(ours) == 2
        for line in ours:
            assert re.match(r"::(?:error|warning|notice) file=orchestrator.yml,title=Potato::worker: ", line), line


def test_no_control_or_bidi_character_reaches_the_terminal(ran: tuple[Done, Done, Path]) -> None:
    for done in ran[:2]:
        assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", done.out + done.err) == []


def test_json_keeps_its_meaning(ran: tuple[Done, Done, Path]) -> None:
    assert ran[1].json["event"]["labels"] == [NASTY, WORD]


def test_the_summary_has_no_markup_mentions_or_links_of_theirs(ran: tuple[Done, Done, Path]) -> None:
    text = (ran[2] / "summary.md").read_text()
    for part in ("<b>", "@bob", "https://evil", "`x`", "$x$", "\x1b", "\n::error"):
        assert part not in text, part
    rows = [line for line in text.splitlines() if line.startswith("| worker")]
    assert [line.count("|") for line in rows] == [5, 5]


def test_outputs_cannot_be_closed_early(ran: tuple[Done, Done, Path]) -> None:
    text = (ran[2] / "output").read_text()
    names = re.findall(r"^(\w+)<<(potato-[0-9a-f]{32})\n[^\n]*\n\2$", text, re.MULTILINE)
    assert [name for name, _ in names] == ["agents", "states", "matrix"] * 2


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_a_hostile_config_is_told_safely(tmp_path: Path, form: str) -> None:
    key = json.dumps("x\n::error::pwned\x1b]0;t\x07 ##[debug]y")
    (tmp_path / "c.yml").write_text(f"{key}: 1\nrouting:\n  - if: draft\n    run: [{key}]\npolicies: {{forbid: [{key}]}}\n")
    done = potato("validate", "c.yml", "--format", form, cwd=tmp_path)
    assert done.code == 2
    assert [line for line in commands_in(done.out + done.err) if not re.match(r"::(?:error|notice) file=c.yml,", line)] == []
    assert "\x1b" not in done.out + done.err
    again = potato("explain", "--config", "c.yml", cwd=tmp_path)
    assert commands_in(again.err) == []


def test_an_unwritable_summary_is_a_warning_after_the_effects(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yml").write_text("version: 1\n")
    (tmp_path / "event.json").write_text(json.dumps(hostile_event()))
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "/nonexistent/x"}
    done = potato("run", "--event", "pull_request", "--payload", "event.json", cwd=tmp_path, env=env)
    assert (done.code, "warning: GITHUB_STEP_SUMMARY cannot be written" in done.err) == (0, True)
