"""Rows C01-C06 and I03 of the threats: the config, its agents and their references."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from potato.config.loader import Loaded, load_config


def load(folder: Path, text: str | bytes) -> Loaded:
    path = folder / "c.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(str(path))


def codes(loaded: Loaded) -> list[str]:
    assert loaded.config is None
    return [problem.code for problem in loaded.problems]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (LAUGHS, "no-aliases"),
        ("a: &a\n  b: *a\n", "no-aliases"),
        ("a: " + "[" * 5000, "too-deep"),
        ("a: " + "{b: " * 5000, "too-deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(3000)), "too-deep"),
    ],
)
def test_c01_bombs_are_refused_at_once(tmp_path: Path, text: str, code: str) -> None:
    started = time.process_time()
    assert code in codes(load(tmp_path, text))
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [id]", "!!python/name:os.system ''", "!include /etc/passwd", "!custom x", "!!binary aGk="]
)
def test_c02_tags_are_errors(tmp_path: Path, tag: str) -> None:
    assert "no-tags" in codes(load(tmp_path, f"routing: {tag}\n"))


def test_c03_duplicate_keys_are_errors(tmp_path: Path) -> None:
    text = "agents:\n  codex_triage: {ref: 'builtin:codex_triage', permissions: [comment], permissions: [apply_labels]}\nagents: {}\n"
    assert codes(load(tmp_path, text))[:2] == ["duplicate-key", "duplicate-key"]


@pytest.mark.parametrize(
    "key", ["version", "routing", "agents", "policies", "if", "run", "name", "priority", "stop", "ref", "secrets", "permissions", "timeout"]
)
def test_c05_every_misspelt_key_is_an_error(tmp_path: Path, key: str) -> None:
    text = (
        "version: 1\nrouting:\n  - if: draft\n    run: [codex_triage]\n    name: n\n    priority: low\n    stop: true\nagents:\n  codex_triage:\n"
        "    ref: builtin:codex_triage\n    secrets: [A]\n    permissions: [comment]\n    timeout: 5s\npolicies: {}\n"
    )
    assert load(tmp_path, text).config is not None
    assert "unknown-key" in codes(load(tmp_path, text.replace(f"{key}:", f"{key}x:")))


@pytest.mark.parametrize(
    "ref",
    [
        "/etc/passwd",
        "../secret.md",
        "agents/../../secret.md",
        "agents/link.md",
        "linked/a.md",
        "agents",
        "agents/none.md",
        "agents/fifo",
        "a\\b.md",
        "./agents/../../x",
    ],
)
def test_i03_references_cannot_leave_be_links_or_be_absent(tmp_path: Path, ref: str) -> None:
    home = tmp_path / "home"
    (home / "agents").mkdir(parents=True)
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.md").write_text("x")
    (home / "agents" / "link.md").symlink_to(tmp_path / "secret.md")
    (home / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(home / "agents" / "fifo")
    loaded = load(home, f"agents:\n  x:\n    ref: '{ref}'\n    permissions: [comment]\n")
    assert codes(loaded) == ["bad-ref"]
    assert loaded.problems[0].line == 3
    again = load(home, f"agents:\n  x: {{runner: command, command: [x], files: ['{ref}']}}\n")
    assert codes(again) == ["bad-ref"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"---\nrole: triage\n", "is never closed"),
        (b"---\r\nrole: triage\r\n", "is never closed"),
        (b"\n---\nrole: guard\n---\n", "does not start on the first line"),
        (b"---  \nrole: guard\n", "is never closed"),
        (b"---\n- a\n---\n", "must be a mapping"),
        (b"---\nrole: &x triage\n---\n", "anchors"),
        (b"---\nrole: king\n---\n", "'king' is no role"),
        (b"x" * 2_000_000, "larger than"),
    ],
)
def test_agent_files_are_read_as_strictly(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.md").write_bytes(content)
    loaded = load(tmp_path, "agents:\n  x: {ref: a.md, permissions: [comment]}\n")
    assert loaded.config is None
    assert any(said in str(problem) for problem in loaded.problems), loaded.problems


def test_front_matter_cannot_grant_permissions_or_secrets(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\npermissions: [open_pr]\nsecrets: [KEY]\n---\n")
    assert codes(load(tmp_path, "agents:\n  x: {ref: a.md}\n")) == ["unknown-key", "unknown-key"]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("budgets: {day: {cost: -1}, run: {cost: 1}}", "no amount of money"),
        ("budgets: {day: {cost: 1e99}, run: {cost: 1}}", "no amount of money"),
        ("budgets: {day: {cost: 0.0000001}, run: {cost: 1}}", "no amount of money"),
        ("budgets: {day: {cost: NaN}, run: {cost: 1}}", "no amount of money"),
        ("budgets: {day: {runs: -3}}", "must be at least 0"),
        ("budgets: {day: {tokens: 99999999999999M}, run: {tokens: 1}}", "must be at most"),
        ("budgets: {day: {cost: 5}}", "must say what is reserved for a run"),
        ("budgets: {currency: bitcoin}", "no valid name"),
        ("guards: [{name: x}]", "either infra_health or freeze"),
        ("guards: [{name: x, freeze: {begin: fri 18:00, end: '2027-01-01T00:00:00Z'}}]", "both be times, or both weekdays"),
        ("guards: [{name: x, freeze: {begin: '2027-01-02T00:00:00Z', end: '2027-01-01T00:00:00Z'}}]", "ends before it begins"),
        ("guards: [{name: x, freeze: {begin: '2027-01-02T00:00:00', end: '2027-01-03T00:00:00Z'}}]", "time with a zone"),
        ("guards: [{name: x, freeze: {begin: fri 18:00, end: mon 06:00, timezone: ../../etc/passwd}}]", "no time zone"),
        ("guards: [{name: x, infra_health: {classes: [cosmic_rays]}}]", "no class of failure"),
        ("guards: [{name: x, infra_health: {}, agents: [nobody]}]", "no agent is called 'nobody'"),
        ("loops: {depth: -1}", "must be at least 0"),
        ("loops: {runs_per_head: 0}", "must be at least 1"),
    ],
)
def test_absurd_controls_are_refused_with_their_place(tmp_path: Path, section: str, said: str) -> None:
    loaded = load(tmp_path, f"{section}\n")
    assert loaded.config is None
    assert any(said in str(problem) and ":1:" in str(problem) for problem in loaded.problems), loaded.problems
