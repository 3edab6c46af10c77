"""The command line as a user meets it: output, exit codes, errors."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import SPECIFICATION
from support.cli import POTATO, Done, potato
from support.github import wait_until

from potato import __version__

DELIVERIES = Path(__file__).parents[2] / "src/potato/cli/demo_data/deliveries"
AGENT = "import json,sys; json.load(sys.stdin); print(json.dumps({'proposals': PROPOSALS, 'summary': 'done'}))"


def project(
    folder: Path, proposals: Any = (), *, permissions: str = "[apply_labels, comment, push_branch]", extra: str = "", code: str = AGENT
) -> Path:
    (folder / "orchestrator.yml").write_text(
        f'version: 1\nrouting:\n  - name: all\n    if: event == "pull_request"\n    run: [worker]\nagents:\n  worker:\n    runner: command\n'
        f"    command: [python3, worker.py]\n    sandbox: none\n    permissions: {permissions}\n{extra}"
    )
    (folder / "worker.py").write_text(code.replace("PROPOSALS", repr(list(proposals))))
    return folder


def run(folder: Path, *args: str, env: dict[str, str] | None = None) -> Done:
    return potato("run", "--event", "pull_request", "--payload", DELIVERIES / "pull_request.opened.json", *args, cwd=folder, env=env)


LABEL = {"kind": "apply_labels", "labels": ["x"]}


# explain


def test_explain_prints_the_contracts_json(tmp_path: Path) -> None:
    done = potato(
        "explain",
        "--config",
        SPECIFICATION / "orchestrator.yml",
        "--event",
        "pull_request",
        "--payload",
        DELIVERIES / "pull_request.labeled.json",
        "--json",
        cwd=tmp_path,
    )
    shape = done.json
    assert done.code == 0
    assert shape["event"] == {"event": "pull_request", "action": "labeled", "repository": "Codertocat/Hello-World", "number": 2,
                              "labels": ["codex:route"], "trusted": True}  # fmt: skip
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", shape["config_digest"])
    assert [(r["name"], r["line"], r["result"]) for r in shape["rules"]] == [
        ("r3", 3, "matched"),
        ("r5", 5, "unmatched"),
        ("r7", 7, "unmatched"),
    ]
    assert shape["rules"][0]["trace"]["op"] == "and"
    assert shape["rules"][0]["trace"]["children"][1] == {
        "op": "~", "result": True, "text": 'label ~ "codex:route"', "field": "label", "expected": "codex:route", "actual": ["codex:route"], "children": [],
    }  # fmt: skip
    assert shape["assignments"] == [{"agent": "codex_router", "rules": ["r3"], "priority": "normal", "after": []}]
    assert list(tmp_path.iterdir()) == []


def test_explain_text_fits_80_columns_and_tells_each_clause(tmp_path: Path) -> None:
    done = potato(
        "explain",
        "--config",
        SPECIFICATION / "orchestrator.yml",
        "--event",
        "workflow_run",
        "--payload",
        DELIVERIES / "workflow_run.completed.json",
        cwd=tmp_path,
    )
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert '? job == "tests"  job is CI, (rest unknown)' in done.out
    assert "ci_triage_guard is held: rule r7 is unknown" in done.out


def test_facts_by_hand(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('{"jobs": ["tests"]}')
    done = potato("explain", "--config", SPECIFICATION / "orchestrator.yml", "--event", "workflow_run", "--payload", DELIVERIES / "workflow_run.completed.json",
                  "--facts", "facts.json", "--json", cwd=tmp_path)  # fmt: skip
    assert done.json["assignments"] == [
        {"agent": "ci_triage_guard", "rules": ["r7"], "priority": "normal", "after": []},
        {"agent": "coverage_orchestrator", "rules": ["r7"], "priority": "normal", "after": ["ci_triage_guard"]},
    ]


def test_explain_loads_no_database_api_or_http_module(tmp_path: Path) -> None:
    code = "import sys; from potato.cli.main import main; main(sys.argv[1:]); print(*sorted(sys.modules), file=sys.stderr)"
    argv = [
        "explain",
        "--config",
        str(SPECIFICATION / "orchestrator.yml"),
        "--event",
        "pull_request",
        "--payload",
        str(DELIVERIES / "pull_request.opened.json"),
        "--json",
    ]
    done = subprocess.run(
        [POTATO.with_name("python"), "-c", code, *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert (
        loaded & {"sqlalchemy", "sqlite3", "alembic", "dbos", "fastapi", "starlette", "uvicorn", "httpx", "gidgethub", "re2", "rich"}
        == set()
    )


# run


@pytest.mark.parametrize(
    ("proposals", "code", "state", "verdict"),
    [
        ([], 0, "succeeded", []),
        ([LABEL], 0, "succeeded", ["allow"]),
        ([{"kind": "create_issue", "title": "t"}], 5, "blocked", ["deny"]),
        ([LABEL, {"kind": "create_issue", "title": "t"}], 0, "succeeded", ["allow", "deny"]),
        (
            [{"kind": "push_branch", "branch": "potato/x", "message": "m", "files": [{"path": "a", "content": ""}]}],
            6,
            "awaiting_approval",
            ["needs_approval"],
        ),
    ],
)
def test_exit_codes_follow_the_runs(tmp_path: Path, proposals: Any, code: int, state: str, verdict: list[str]) -> None:
    done = run(project(tmp_path, proposals), "--json")
    assert done.code == code
    (record,) = done.json["runs"]
    assert (record["agent"], record["state"]) == ("worker", state)
    assert [p["verdict"] for p in record["proposals"]] == verdict
    for proposal in record["proposals"]:
        assert sorted(proposal) == ["args", "digest", "effect", "id", "kind", "reason", "verdict"]
        assert (proposal["effect"] or {}).get("state") == ("staged" if proposal["verdict"] == "allow" else None)


def test_without_a_token_effects_are_staged_and_that_is_said(tmp_path: Path) -> None:
    done = run(project(tmp_path, [LABEL]))
    assert "no GITHUB_TOKEN: effects are staged, nothing is sent" in done.err
    assert "would apply labels on Codertocat/Hello-World#2: x" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.slow
def test_runs_and_the_log_remain(tmp_path: Path) -> None:
    project(tmp_path, [LABEL])
    for _ in range(2):
        assert run(tmp_path).code == 0
    runs = potato("runs", "--json", cwd=tmp_path).json
    assert len(runs) == 2
    assert {"id", "agent", "state", "reason", "repository", "number", "delivery_id", "rules", "created_at", "attempts"} <= runs[0].keys()
    assert len({r["delivery_id"] for r in runs}) == 2
    assert potato("runs", "--limit", "1", "--json", cwd=tmp_path).json == runs[:1]
    assert "worker" in potato("runs", cwd=tmp_path).out
    verified = potato("audit", "verify", cwd=tmp_path)
    assert verified.code == 0
    checkpoint = verified.out.split("checkpoint: ")[1].strip()
    assert potato("audit", "verify", "--checkpoint", checkpoint, cwd=tmp_path).code == 0
    assert potato("audit", "verify", "--checkpoint", checkpoint.replace(":", "0:"), cwd=tmp_path).code == 1
    assert potato("audit", "verify", "--checkpoint", "x", cwd=tmp_path).code == 2


def test_a_damaged_database_is_told_not_traced(tmp_path: Path) -> None:
    project(tmp_path, [LABEL])
    (tmp_path / ".potato").mkdir()
    (tmp_path / ".potato" / "potato.db").write_bytes(b"not a database at all" * 100)
    for args in (["runs"], ["audit", "verify"]):
        done = potato(*args, cwd=tmp_path)
        assert (done.code, "Traceback" in done.err) == (1, False)
        assert "database-unusable" in done.err
    assert run(tmp_path).code == 1


def test_the_config_option_alone_means_run(tmp_path: Path) -> None:
    project(tmp_path, [LABEL])
    env = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(DELIVERIES / "pull_request.opened.json"), "GITHUB_RUN_ID": "12"}
    done = potato("--config", "orchestrator.yml", "--json", cwd=tmp_path, env=env)
    assert done.code == 0
    assert done.json["runs"][0]["delivery_id"].startswith("actions-12-1-")


def test_github_actions_gets_summary_outputs_and_annotations(tmp_path: Path) -> None:
    bad = [{"kind": "comment", "body": "b", "number": n} for n in range(100, 115)]
    project(tmp_path, [{"kind": "apply_labels", "labels": ["x|y::set-env name=A::b"]}, *bad])
    env = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(DELIVERIES / "pull_request.opened.json"), "GITHUB_ACTIONS": "true",
           "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITHUB_OUTPUT": str(tmp_path / "output")}  # fmt: skip
    done = potato("--config", "orchestrator.yml", cwd=tmp_path, env=env)
    assert done.code == 0
    annotations = [line for line in done.err.splitlines() if line.startswith("::")]
    assert len(annotations) == 11
    assert annotations[-1] == "::notice title=Potato::+5 more"
    assert annotations[0] == "::warning file=orchestrator.yml,title=Potato::worker: comment denied: it aims at #100, the event is about #2"
    summary = (tmp_path / "summary.md").read_text()
    assert "### Potato: pull_request opened on Codertocat/Hello-World#2" in summary
    assert "| worker | ✅ succeeded |" in summary
    output = (tmp_path / "output").read_text()
    values = dict(re.findall(r"^(\w+)<<(?:potato-[0-9a-f]{32})\n(.*)\npotato-[0-9a-f]{32}$", output, re.MULTILINE))
    assert json.loads(values["matrix"]) == {"include": [{"agent": "worker", "rules": ["all"], "priority": "normal", "after": []}]}
    assert json.loads(values["states"]) == {"worker": "succeeded"}
    assert len(set(re.findall(r"potato-[0-9a-f]{32}", output))) == 3


def test_declared_policies_say_that_they_are_not_enforced(tmp_path: Path) -> None:
    project(tmp_path, extra="policies: {forbid: [curl_pipe_sh]}\n")
    done = run(tmp_path, "--json")
    assert done.json["runs"][0]["warnings"] == ["policy forbid curl_pipe_sh declared, not enforced"]


def test_no_runner_is_a_clear_error_and_nothing_ran(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Prompt.")
    (tmp_path / "orchestrator.yml").write_text('routing: [{if: event == "pull_request", run: [mine]}]\nagents: {mine: {ref: a.md}}\n')
    assert potato("validate", cwd=tmp_path).code == 0
    done = run(tmp_path)
    assert done.code == 2
    assert done.err.endswith("error: no-runner: orchestrator.yml:2:10: agent 'mine' has no runner; available: acp, builtin, claude, codex, command, http, python. "
                             "Set runner: in its front matter, or defaults: {runner: ...} in the config.\n")  # fmt: skip


def test_without_credentials_explain_still_answers_and_run_exits_4(tmp_path: Path) -> None:
    project(tmp_path, extra="forge: {kind: github}\n")
    explained = potato("explain", "--event", "pull_request", "--payload", DELIVERIES / "pull_request.opened.json", "--json", cwd=tmp_path)
    assert (explained.code, explained.json["rules"][0]["result"]) == (0, "matched")
    assert "there are no credentials for GitHub." in explained.err
    done = run(tmp_path)
    assert (done.code, "no-credentials" in done.err) == (4, True)


@pytest.mark.parametrize("event", ["schedule", "workflow_dispatch"])
def test_scheduled_and_dispatched_events_of_github_actions(tmp_path: Path, event: str) -> None:
    rule = 'event == "schedule" && cron == "0 */6 * * *" || event == "workflow_dispatch"'
    (tmp_path / "orchestrator.yml").write_text(f'routing:\n  - if: ({rule}) && branch == "main"\n    run: [codex_triage]\n')
    repository = {"id": 1, "full_name": "octo/demo", "owner": {"login": "octo"}}
    (tmp_path / "event.json").write_text(
        json.dumps({"schedule": "0 */6 * * *", "repository": repository, "workflow": ".github/workflows/o.yml"})
    )
    env = {
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": "a" * 40,
    }
    done = potato("--config", "orchestrator.yml", "--json", cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    assert [(run["agent"], run["state"]) for run in done.json["runs"]] == [("codex_triage", "succeeded")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_a_consistent_database_and_no_process(tmp_path: Path, number: signal.Signals) -> None:
    project(
        tmp_path,
        code="import os, time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
    )
    argv = [POTATO, "run", "--event", "pull_request", "--payload", str(DELIVERIES / "pull_request.opened.json")]
    process = subprocess.Popen(
        argv,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
    assert potato("runs", "--json", cwd=tmp_path).json[0]["state"] == "cancelled"
    assert potato("audit", "verify", cwd=tmp_path).code == 0


# bad input


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "malformed-json"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b'{"action": "a", "action": "b"}', "the key 'action' stands twice"),
        (b'{"a":' * 50_000, "nested deeper than 128"),
        (b'{"pull_request": 7}', "wrong-shape"),
        (b"{}", "it has no 'pull_request'"),
        (b'{"x": "' + b"a" * 26 * 1024 * 1024 + b'"}', "payload-too-large"),
        (b'{"x": ' + b"[" * 12_000_000, "malformed-json"),
    ],
    ids=["empty", "utf-16", "duplicate key", "deep", "wrong type", "wrong event", "26 MB", "12 MB of brackets"],
)
def test_a_bad_payload_is_one_line_and_exit_2(tmp_path: Path, body: bytes, said: str) -> None:
    project(tmp_path)
    (tmp_path / "p.json").write_bytes(body)
    for command in ("explain", "run"):
        done = potato(command, "--event", "pull_request", "--payload", "p.json", cwd=tmp_path)
        assert done.code == 2
        assert done.out == ""
        (line,) = done.err.splitlines()
        assert said in line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["explain"], "no-event: no event given."),
        (["explain", "--event", "pull_request"], "no-event: no payload given."),
        (
            ["explain", "--event", "push", "--payload", "missing.json"],
            "file-unreadable: the payload at 'missing.json' cannot be read: No such file or directory.",
        ),
        (["explain", "--event", "push", "--payload", "."], "Is a directory"),
        (["explain", "--config", "missing.yml"], "config-not-found: there is no config at 'missing.yml'."),
        (["run", "--nope"], "No such option '--nope'"),
        (["nope"], "No such command 'nope'"),
        (["runs"], "no-database: there is no database at '.potato/potato.db'."),
        (["runs", "--database", "mysql://x/y"], "bad-database-url"),
        (["runs", "--database", "nonsense"], "bad-database-url"),
        (["validate", "orchestrator.yml", "--format", "xml"], "Invalid value for '--format'"),
    ],
)
def test_wrong_calls_say_what_to_do_and_exit_2(tmp_path: Path, args: list[str], said: str) -> None:
    project(tmp_path)
    done = potato(*args, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("facts", "said"),
    [('{"path": []}', "unknown-fact"), ('{"paths": "x"}', "must be a list"), ('{"paths": [1]}', "must be a list of text"), ("[]", "malformed-json"),
     ('{"files": ["x"]}', "must be a list of objects"), ('{"logs": []}', "must be text")],
)  # fmt: skip
def test_wrong_facts(tmp_path: Path, facts: str, said: str) -> None:
    project(tmp_path)
    (tmp_path / "f.json").write_text(facts)
    done = run(tmp_path, "--facts", "f.json")
    assert (done.code, said in done.err) == (2, True), done.err


# validate


def test_validate_formats(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("routing:\n" + "  - if: nope\n    run: [codex_triage]\n" * 12)
    text = potato("validate", "c.yml", cwd=tmp_path)
    assert text.code == 2
    assert text.out.splitlines()[0] == "c.yml:2:9 unknown-field: 'nope' is no field."
    assert text.err == "c.yml: 12 error(s)\n"
    found = potato("validate", "--config", "c.yml", "--format", "json", cwd=tmp_path).json
    assert found[0] == {
        "file": "c.yml",
        "line": 2,
        "column": 9,
        "severity": "error",
        "code": "unknown-field",
        "message": "'nope' is no field.",
        "hint": "",
    }
    github = potato("validate", "c.yml", "--format", "github", cwd=tmp_path).out.splitlines()
    assert len(github) == 11
    assert github[0] == "::error file=c.yml,line=2,col=9::unknown-field: 'nope' is no field."
    assert github[-1] == "::notice::+2 more"
    sarif = potato("validate", "c.yml", "--format", "sarif", cwd=tmp_path).json
    assert (sarif["version"], len(sarif["runs"][0]["results"])) == ("2.1.0", 12)


def test_large_configs_load(tmp_path: Path) -> None:
    rules = "".join(f'  - if: event == "pull_request" && label ~ "team-{n}:*"\n    run: [codex_triage]\n' for n in range(3000))
    (tmp_path / "c.yml").write_text("routing:\n" + rules)
    assert potato("validate", "c.yml", cwd=tmp_path).code == 0


# the rest


def test_version_help_agents_and_schema(tmp_path: Path) -> None:
    assert potato("--version", cwd=tmp_path).out == f"potato, version {__version__}\n"
    assert "explain" in potato("--help", cwd=tmp_path).out
    assert len(potato("agents", "--builtin", "--json", cwd=tmp_path).json) == 7
    project(tmp_path)
    assert potato("agents", "--json", cwd=tmp_path).json == [
        {
            "name": "worker",
            "role": "orchestrator",
            "runner": "command",
            "permissions": ["apply_labels", "comment", "push_branch"],
            "secrets": [],
        }
    ]
    assert potato("schema", cwd=tmp_path).json["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(f"'{POTATO}' schema | head -1", shell=True, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: S602 - a pipe is what is tested
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_the_demo_shows_every_verdict_and_verifies(tmp_path: Path) -> None:
    started = time.monotonic()
    done = potato("demo", cwd=tmp_path)
    assert done.code == 0, done.err
    for word in ("✓ codex_router  succeeded", "route_agents  applied", "staged", "denied", "needs approval", "blocked", "‖ coverage_orchestrator  held",
                 "intact: ", "was changed to 'allow': found at entry"):  # fmt: skip
        assert word in done.out, word
    assert max(map(len, done.out.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - started < 60


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [False, True])
def test_init_writes_what_validates(tmp_path: Path, launcher: bool) -> None:
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/ci.yml").write_text("name: CI\non: push\njobs:\n  t:\n    steps:\n      - run: pytest\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "src").mkdir()
    done = potato("init", *(["--launcher"] if launcher else []), cwd=tmp_path)
    assert done.code == 0
    assert (tmp_path / "orchestrator.yml").read_text().startswith("# yaml-language-server: $schema=.potato/orchestrator.schema.json\n")
    checked = potato("validate", cwd=tmp_path)
    assert (checked.code, checked.out) == (0, ""), checked.out
    workflow = tmp_path / ".github/workflows/orchestrator.yml"
    tools = POTATO.parent
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for argv in (["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow)], ["zizmor", "--offline", "--no-progress", str(workflow)],
                 ["check-jsonschema", "--schemafile", ".potato/orchestrator.schema.json", "orchestrator.yml"]):  # fmt: skip
        tool = subprocess.run([tools / argv[0], *argv[1:]], cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
        assert tool.returncode == 0, tool.stdout + tool.stderr
    assert (tmp_path / "orchestrator.py").exists() is launcher
    again = potato("init", cwd=tmp_path)
    assert "written" not in again.out
    assert "kept     orchestrator.yml" in again.out


def test_why_not_names_the_nearest_rules_and_what_failed(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yml").write_text("""routing:
  - {name: far, if: 'event == "push" && number > 3 && trusted', run: [codex_triage]}
  - {name: near, if: 'event == "pull_request" && !(number == 2)', run: [codex_triage, ci_triage_guard]}
  - {name: ends, if: 'action == "opened"', run: [codex_router], stop: true}
  - {name: late, if: 'event == "pull_request"', run: [security_scanner]}
""")
    options = ("--event", "pull_request", "--payload", DELIVERIES / "pull_request.opened.json")
    told = potato("explain", *options, "--why-not", "codex_triage", "--json", cwd=tmp_path).json["why_not"]
    assert told["agent"] == "codex_triage"
    assert [(rule["name"], [clause["text"] for clause in rule["failed"]]) for rule in told["rules"]] == [
        ("near", ["!(number == 2)"]),
        ("far", ['event == "push"', "number > 3"]),
    ]
    stopped = potato("explain", *options, "--why-not", "security_scanner", cwd=tmp_path).out
    assert "rule ends (line 4) has stop: true and matched" in stopped
    runs = potato("explain", *options, "--why-not", "codex_router", cwd=tmp_path)
    assert (runs.code, "codex_router runs: asked for by rule ends" in runs.out) == (0, True)
    typo = potato("explain", *options, "--why-not", "codex_tirage", cwd=tmp_path)
    assert (typo.code, "Did you mean 'codex_triage'?" in typo.err) == (2, True)


READER = """
import http.client, json, os, pathlib, sys
json.load(sys.stdin)
body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_file", "arguments": {"path": "src/a.py"}}}
connection = http.client.HTTPConnection("127.0.0.1", 4180)
connection.request("POST", "/mcp", json.dumps(body), {"authorization": "Bearer " + os.environ["POTATO_RUN_TOKEN"],
    "content-type": "application/json", "accept": "application/json, text/event-stream"})
text = json.loads(connection.getresponse().read())["result"]["content"][0]["text"]
work = pathlib.Path(os.environ["POTATO_WORKSPACE"])
(work / "src/b.py").write_text("more = 1\\n")
(work / "src/old.py").unlink()
print(json.dumps({"summary": "read " + ("value = 42" if "value = 42" in text else text)}))
"""


def test_a_workspace_is_of_the_repository_that_one_stands_in_and_what_changed_is_shown(tmp_path: Path) -> None:
    """With a word where the event's own commit is not there, or no repository at all."""
    project(tmp_path, permissions="[read_repository, open_pr]", code=READER)
    config = tmp_path / "orchestrator.yml"
    config.write_text(config.read_text().replace("    sandbox: none\n", ""))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("value = 42\n")
    (tmp_path / "src/old.py").write_text("old = 1\n")
    away = run(tmp_path)
    assert "it got no workspace: there is no repository to take one from" in away.out, away.out
    for command in (("init", "-q"), ("add", "src"), ("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "x")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    done = run(tmp_path)
    assert done.code == 0, done
    assert f"its workspace is of commit {head[:12]}: the event's, " in done.out
    assert "read value = 42" in done.out
    assert "+ src/b.py" in done.out
    assert "- src/old.py" in done.out


def test_lifting_needs_somebody_and_a_hub(tmp_path: Path) -> None:
    project(tmp_path, [LABEL])
    ended = json.loads(run(tmp_path, "--json").out)["runs"][0]["id"]
    told = potato("lift", ended, cwd=tmp_path)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("error: lift-refused: there is nobody to lift it in the name of, and no hub to run it. Set GITHUB_TOKEN."), (
        told.err
    )
