"""`potato backtest`: a draft over GitHub's documented deliveries, over a database, over damaged archives."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from pathlib import Path

import pytest
from support.cli import potato

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests/counterparts/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
DELIVERIES = ROOT / "src/potato/cli/demo_data/deliveries"
BEFORE = """routing:
  - {name: all, if: 'event == "pull_request"', run: [codex_triage]}
"""
BROKEN = '{"event": "pull_request"'
WRONG = ("[]", '{"event": 3}', '{"event": "push", "payload": {"ref": 5}}')
DRAFT = """routing:
  - {name: opened, if: 'event in ["pull_request", "issues"] && action == "opened"', run: [codex_triage]}
  - {name: docs, if: 'event == "pull_request" && action == "opened" && path ~ "docs/**"', run: [documentation_generator]}
  - {name: routed, if: 'event == "pull_request" && label ~ "codex:route"', run: [codex_router]}
"""


def configs(folder: Path) -> None:
    (folder / "before.yml").write_text(BEFORE)
    (folder / "draft.yml").write_text(DRAFT)


def payload(name: str) -> dict[str, object]:
    return json.loads((DELIVERIES / f"{name}.json").read_text())


def test_all_documented_deliveries_are_decided_anew(tmp_path: Path) -> None:
    configs(tmp_path)
    past = tmp_path / "past"
    past.mkdir()
    expected = {"gained": 0, "lost": 0, "held": 0}
    count = 0
    for item in json.loads(EXAMPLES.read_text()):
        for number, body in enumerate(item["examples"]):
            (past / f"{item['name']}.{number}.json").write_text(json.dumps(body))
            count += 1
            opened = body.get("action") == "opened"
            expected["lost"] += item["name"] == "pull_request" and not opened
            expected["gained"] += item["name"] == "issues" and opened
            expected["held"] += item["name"] == "pull_request" and opened
    done = potato("backtest", "--config", "draft.yml", "--against", "past", "--baseline", "before.yml", "--json", cwd=tmp_path)
    assert done.code == 0
    told = done.json
    assert (told["events"], told["damaged"]) == (count, []) == (329, [])
    sums = {change: sum(each["count"] for each in told[change]) for change in expected}
    assert sums == expected
    assert expected["lost"] > 0 < expected["gained"]
    assert told["days"] is None
    lost = told["lost"][0]
    assert (lost["rule"], lost["agent"], lost["example"]["trace"]["result"]) == ("all", "codex_triage", True)
    text = potato("backtest", "--config", "draft.yml", "--against", "past", "--baseline", "before.yml", cwd=tmp_path)
    command = next(line for line in text.out.splitlines() if "--delivery pull_request" in line)
    again = potato(*command.split()[1:], cwd=tmp_path)
    assert (again.code, "✗ opened  unmatched" in again.out) == (0, True)


@pytest.mark.slow
def test_a_database_tells_what_was_decided_and_with_which_facts(tmp_path: Path) -> None:
    configs(tmp_path)
    for name, event in (
        ("pull_request.opened", "pull_request"),
        ("pull_request.labeled", "pull_request"),
        ("workflow_run.completed", "workflow_run"),
    ):
        done = potato("run", "--config", "before.yml", "--database", "sqlite:///runs.db", "--event", event, "--payload",
                      DELIVERIES / f"{name}.json", cwd=tmp_path)  # fmt: skip
        assert done.code == 0, done.err
    told = potato("backtest", "--config", "draft.yml", "--against", "runs.db", "--json", cwd=tmp_path).json
    assert (told["baseline"], told["events"], told["changed"]) == (None, 3, 2)
    assert [(each["rule"], each["agent"], each["count"]) for each in told["gained"]] == [("routed", "codex_router", 1)]
    assert [(each["rule"], each["agent"], each["count"]) for each in told["lost"]] == [("all", "codex_triage", 1)]
    assert [(each["rule"], each["agent"], each["count"]) for each in told["held"]] == [("docs", "documentation_generator", 1)]
    assert told["lost"][0]["example"]["trace"]["text"] == 'event == "pull_request"'
    source = told["lost"][0]["example"]["delivery_id"]
    past = potato("explain", "--config", "before.yml", "--against", "runs.db", "--delivery", source, cwd=tmp_path)
    assert "by this config: codex_triage" in past.out
    recorded = potato(
        "explain", "--config", "draft.yml", "--against", "sqlite:///runs.db", "--delivery", source, "--json", cwd=tmp_path
    ).json
    assert recorded["recorded"]["rules"][0]["result"] == "matched"
    assert potato("backtest", "--config", "draft.yml", "--against", "runs.db", "--since", "1h", "--json", cwd=tmp_path).json["events"] == 3
    assert potato("backtest", "--config", "draft.yml", "--against", "runs.db", "--since", "0s", "--json", cwd=tmp_path).json["events"] == 0
    missing = potato("explain", "--config", "draft.yml", "--against", "runs.db", "--delivery", "x", cwd=tmp_path)
    assert (missing.code, "no-delivery" in missing.err) == (2, True)


def test_facts_that_were_needed_then_are_known_again(tmp_path: Path) -> None:
    configs(tmp_path)
    (tmp_path / "facts.json").write_text('{"paths": ["docs/a.md"]}')
    done = potato("run", "--config", "draft.yml", "--database", "sqlite:///runs.db", "--event", "pull_request", "--payload",
                  DELIVERIES / "pull_request.opened.json", "--facts", "facts.json", cwd=tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    told = potato("backtest", "--config", "draft.yml", "--against", "runs.db", "--json", cwd=tmp_path).json
    assert (told["events"], told["changed"], told["held"]) == (1, 0, [])


@pytest.mark.slow
def test_an_archive_of_lines_gives_runs_seconds_and_cost_a_day(tmp_path: Path) -> None:
    configs(tmp_path)
    with gzip.open(tmp_path / "past.jsonl.gz", "wt") as file:
        for day in range(1, 11):
            envelope = {"event": "pull_request", "payload": payload("pull_request.opened"), "facts": {"paths": ["docs/x.md"]},
                        "received_at": f"2026-01-{day:02}T00:00:00Z"}  # fmt: skip
            file.write(json.dumps(envelope) + "\n")
    options = ("--config", "draft.yml", "--against", "past.jsonl.gz", "--baseline", "before.yml")
    told = potato("backtest", *options, "--cost", "documentation_generator=0.5", "--json", cwd=tmp_path).json
    row = next(each for each in told["agents"] if each["agent"] == "documentation_generator")
    assert (told["days"], row["before"], row["after"], row["runs_per_day"], row["more_cost_per_day"]) == (9.0, 0, 10, 1.11, 0.56)
    assert "cost a day" in potato("backtest", *options, "--cost", "documentation_generator=0.5", cwd=tmp_path).out
    assert potato("backtest", *options, "--cost", "nobody=1", cwd=tmp_path).code == 2
    assert potato("backtest", *options, "--since", "soon", cwd=tmp_path).code == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cut.jsonl.gz", "flipped.jsonl.gz", "lines.jsonl", "folder", "pipes"])
def test_what_is_damaged_is_told_skipped_and_counted(tmp_path: Path, name: str) -> None:
    configs(tmp_path)
    good = json.dumps({"event": "pull_request", "payload": payload("pull_request.opened")})
    path, wanted, bad = tmp_path / name, 3, 1
    if name.endswith(".gz"):
        data = gzip.compress(
            "".join(f"{json.dumps({'n': n, **json.loads(good)} if n < 0 else json.loads(good))}\n" for n in range(3)).encode()
            + os.urandom(20_000)
        )
        path.write_bytes(data[:-9_000] if name == "cut.jsonl.gz" else data[:-5_000] + bytes(100) + data[-4_900:])
        wanted, bad = 3, None
    elif name == "lines.jsonl":
        path.write_text("\n".join((*[good, BROKEN] * 3, *WRONG)))
        bad = 6
    else:
        path.mkdir()
        for number in range(3):
            (path / f"pull_request.{number}.json").write_text(json.dumps(payload("pull_request.opened")))
        if name == "folder":
            (path / "push.json").write_bytes(b"\xff\xfe")
        else:
            os.mkfifo(path / "push.json")
            (path / "issues.json").symlink_to("/etc/passwd")
            bad = 2
    done = potato("backtest", "--config", "draft.yml", "--against", name, "--baseline", "before.yml", "--json", cwd=tmp_path)
    assert done.code == 0
    assert done.json["events"] == wanted
    assert done.json["damaged"]
    assert bad is None or len(done.json["damaged"]) == bad
    assert f"{len(done.json['damaged'])} could not be read and" in done.err
    assert "skipped: " in done.err


@pytest.mark.slow
def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    configs(tmp_path)
    done = potato("run", "--config", "before.yml", "--database", "sqlite:///runs.db", "--event", "pull_request", "--payload",
                  DELIVERIES / "pull_request.opened.json", cwd=tmp_path)  # fmt: skip
    assert done.code == 0
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute(
        "INSERT INTO delivery (delivery_id, event, source, received_at, body_digest, body) SELECT 'altered', event, source, received_at, body_digest, X'7b7d' FROM delivery"
    )
    connection.commit()
    connection.close()
    done = potato("backtest", "--config", "draft.yml", "--against", "runs.db", "--json", cwd=tmp_path)
    assert (done.json["events"], done.json["damaged"]) == (
        1,
        [{"source": "delivery altered", "reason": "its body is not what was received"}],
    )
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + bytes(200))
    broken = potato("backtest", "--config", "draft.yml", "--against", "broken.db", cwd=tmp_path)
    assert (broken.code, "database-unusable" in broken.err) == (1, True)
    nothing = potato("backtest", "--config", "draft.yml", "--against", "nowhere", cwd=tmp_path)
    assert (nothing.code, "no-archive" in nothing.err) == (2, True)


def test_hostile_names_are_quoted_in_the_command_to_copy(tmp_path: Path) -> None:
    configs(tmp_path)
    past = tmp_path / "past"
    past.mkdir()
    (past / "pull_request.$(touch x);'\x1b[2J.json").write_text(json.dumps(payload("pull_request.labeled")))
    out = potato("backtest", "--config", "draft.yml", "--against", "past", "--baseline", "before.yml", cwd=tmp_path).out
    assert "\x1b" not in out
    assert """--delivery 'pull_request.$(touch x);'"'"'""" in out
