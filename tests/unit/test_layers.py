"""A config below another: what it may add, and every way to loosen what stands above, refused at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from potato.config.config import Config, Kind, Layer, Loaded
from potato.config.difference import differences
from potato.config.loader import load_config
from potato.config.snapshot import restore, snapshot
from potato.core.lineage import Caps

ABOVE = """
routing:
  - {name: scan, if: 'event == "pull_request"', run: [scanner]}
  - {name: code, if: 'event == "issues"', run: [fixer]}
agents:
  scanner: {ref: builtin:ci_triage_guard}
  fixer: {command: [python3, fix.py], permissions: [comment, open_pr], secrets: [MODEL_KEY], limits: {comment: 2}, budget: {tokens: 100k}}
loops: {depth: 3}
policies: {node_version: "20.x", forbid: [curl_pipe_sh]}
budgets: {run: {tokens: 200k}, pull_request: {runs: 20}}
guards: [{name: night, freeze: {begin: "fri 18:00", end: "mon 06:00"}}]
approvals: [{name: people, kinds: [open_pr]}]
"""


def above(folder: Path, text: str = ABOVE) -> Config:
    path = folder / "above" / "orchestrator.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return load_config(str(path)).require()


def below(folder: Path, text: str, over: Config | None = None, kind: Kind = "repository", agent: str = "") -> Loaded:
    root = folder / "below"
    root.mkdir(exist_ok=True)
    (root / "orchestrator.yml").write_text(text)
    (root / "agents").mkdir(exist_ok=True)
    (root / "agents/own.md").write_text(agent or "Do it.\n")
    return load_config(str(root / "orchestrator.yml"), over or above(folder), Layer(kind, "octo/app", str(root)))


def test_both_hold_and_of_each_number_the_lower_one(tmp_path: Path) -> None:
    config = below(
        tmp_path,
        """
routing:
  - {if: 'event == "push"', run: [mine, documentation_generator]}
agents:
  mine: {ref: builtin:basic_triage, permissions: [comment]}
  fixer: {permissions: [comment], limits: {comment: 1}, budget: {tokens: 50k}}
loops: {depth: 1}
policies: {node_version: "20.11", forbid: [pull_request_target]}
budgets: {pull_request: {runs: 5}}
guards: [{name: christmas, freeze: {begin: "2026-12-20T00:00:00Z", end: "2027-01-03T00:00:00Z"}}]
approvals: [{kinds: [comment], required: 2}]
""",
    ).require()
    assert [rule.name for rule in config.table.rules] == ["scan", "code", "repository-r3"]
    assert config.agents["fixer"].permissions == {"comment"}
    assert config.agents["fixer"].grant().cap("comment") == 1
    assert config.agents["fixer"].secrets == ("MODEL_KEY",)
    assert config.controls.caps == Caps(1, 10)
    assert config.controls.budgets.need("fixer").tokens == 50_000
    assert config.controls.budgets.pull_request is not None
    assert config.controls.budgets.pull_request.runs == 5
    assert config.document.policies.forbid == ["curl_pipe_sh", "pull_request_target"]
    assert config.document.policies.node_version == "20.11"
    night, christmas = config.controls.guards
    assert (night.name, night.reach.repositories) == ("night", ())
    assert (christmas.name, christmas.reach.repositories) == ("octo/app/christmas", ("octo/app",))
    assert "scanner" not in christmas.reach.agents  # a guard of the organisation cannot be frozen
    assert {"mine", "fixer", "documentation_generator"} <= set(christmas.reach.agents)
    assert [rule.name for rule in config.controls.approvals] == ["people", "repository-approvals-1"]
    assert "orchestrator.yml" in config.protected
    assert config.routable("mine") == {"mine", "documentation_generator"}
    assert config.routable("fixer") == {"scanner", "fixer", "mine", "documentation_generator"}


LOOSER = [
    ("loops: {depth: 4}", "2:16 loosens-policy: loops.depth"),
    ("loops: {runs_per_head: 11}", "2:24 loosens-policy: loops.runs_per_head"),
    ("budgets: {run: {tokens: 300k}}", "2:25 loosens-policy: budgets.run.tokens"),
    ("budgets: {pull_request: {runs: 21}}", "2:32 loosens-policy: budgets.pull_request.runs"),
    ("budgets: {currency: EUR}", "2:21 loosens-policy: costs are in USD"),
    ("budgets: {day: {runs: 1}}", "2:11 not-here: a repository has no budget for 'day'"),
    ('policies: {node_version: "18.x"}', "2:26 loosens-policy: node_version is 20.x above"),
    ("agents: {fixer: {permissions: [comment, push_branch]}}", "2:41 loosens-policy: 'fixer' does not hold 'push_branch'"),
    ("agents: {fixer: {limits: {comment: 3}}}", "2:36 loosens-policy: 'fixer' may propose 2 x comment above, here 3"),
    ("agents: {fixer: {budget: {tokens: 150k}}}", "2:35 loosens-policy: agents.fixer.budget.tokens"),
    ("agents: {fixer: {ref: ./agents/own.md}}", "2:18 loosens-policy: 'fixer' is defined above"),
    ("agents: {fixer: {secrets: [OTHER]}}", "2:18 loosens-policy: 'fixer' is defined above"),
    ("agents: {fixer: {timeout: 1s}}", "2:18 loosens-policy: 'fixer' is defined above"),
    ("agents: {scanner: {permissions: []}}", "2:10 loosens-policy: 'scanner' is a guard of the organisation"),
    ("agents: {own: {ref: builtin:basic_triage, permissions: [open_pr], role: orchestrator}}", "loosens-policy: 'own' has 'open_pr'"),
    ("agents: {own: {ref: ./agents/own.md, runner: builtin, secrets: [MODEL_KEY]}}", "asks for the secret MODEL_KEY"),
    ("agents: {own: {command: [python3, x.py]}}", "2:10 loosens-policy: 'own' is run by 'command'"),
    ("agents: {own: {ref: builtin:basic_triage, sandbox: none}}", "2:10 loosens-policy: 'own' asks for no sandbox"),
    ("agents: {own: {ref: builtin:basic_triage, concurrency: 50}}", "not-here: how much 'own' runs at once"),
    ("routing: [{if: 'event == \"push\"', run: [fixer]}]", "loosens-policy: 'fixer' is the organisation's"),
    ("routing: [{if: 'event == \"push\"', run: [{any_of: [basic_triage, fixer]}]}]", "loosens-policy: 'fixer' is the organisation's"),
    ("routing: [{if: 'event == \"push\"', run: [basic_triage], priority: critical}]", "at most the priority 'normal'"),
    ("routing: [{name: scan, if: 'event == \"push\"', run: [basic_triage]}]", "duplicate-name: another one of routing above is 'scan'"),
    ('guards: [{name: night, freeze: {begin: "fri 18:00", end: "fri 18:01"}}]', "duplicate-name: another one of guards above is 'night'"),
    ("guards: [{name: g, infra_health: {status: 'http://169.254.169.254/'}}]", "not-here: a repository cannot have the hub ask"),
    ("approvals: [{name: people, required: 1}]", "duplicate-name: another one of approvals above is 'people'"),
    ("guards: [{name: g, agents: [scanner], freeze: {begin: 'fri 18:00', end: 'mon 06:00'}}]", "'scanner' is a guard of the organisation"),
    ("approvals: [{agents: [fixer, scanner], required: 20}]", "2:30 loosens-policy: 'scanner' is a guard of the organisation"),
    ("hub: {url: 'http://me'}", "2:1 not-here: 'hub' belongs to the config that the hub is started with"),
    ("forge: {kind: local}", "2:1 not-here: 'forge' belongs"),
    ("providers: {openai: {api: openai, url: 'https://evil.example', key: MODEL_KEY}}", "2:1 not-here: 'providers' belongs"),
    ("cage: {memory: 64GB}", "2:1 not-here: 'cage' belongs"),
    ("agents: {own: {ref: ./agents/own.md, runner: codex, egress: [evil.example]}}", "'own' wants to reach evil.example"),
    ("agents: {own: {runner: http, url: 'https://a.example', signing_secret: MODEL_KEY}}", "asks for the secret MODEL_KEY"),
    ("agents: {own: {runner: http, url: 'http://10.0.0.1', signing_secret: X, internal: true}}", "an address of the hub's own network"),
    ("agents: {own: {ref: ./agents/own.md, runner: codex, command: [/bin/true]}}", "'own' names a program of the hub's machine"),
    ("agents: {fixer: {paths: ['**']}}", "2:18 loosens-policy: 'fixer' is defined above"),
    ("repositories: {secrets: [MODEL_KEY]}", "2:1 not-here: 'repositories' belongs to the organisation's config"),
]


@pytest.mark.parametrize(("text", "told"), LOOSER, ids=lambda value: value[:60])
def test_what_would_loosen_is_refused_at_its_place(tmp_path: Path, text: str, told: str) -> None:
    loaded = below(tmp_path, f"version: 1\n{text}\n")
    assert loaded.config is None
    problems = [str(problem) for problem in loaded.problems if problem.severity == "error"]
    assert any(problem.startswith("octo/app:orchestrator.yml:") and told in problem for problem in problems), problems


def test_an_offer_lets_repositories_do_more_and_no_more_than_it_says(tmp_path: Path) -> None:
    offer = "repositories: {permissions: [comment, open_pr], secrets: [MODEL_KEY], runners: [builtin, command], agents: [fixer], priority: high}\n"
    over = above(tmp_path, ABOVE + offer)
    text = """
routing: [{if: 'event == "push"', run: [own, fixer], priority: high}]
agents: {own: {command: [python3, x.py], permissions: [open_pr], secrets: [MODEL_KEY]}}
"""
    config = below(tmp_path, text, over).require()
    assert config.routable("own") == {"own", "fixer"}
    assert not below(tmp_path, text.replace("[open_pr]", "[push_branch]"), over).config
    assert not below(tmp_path, text.replace("high", "critical"), over).config


def test_where_there_are_only_guards_of_the_organisation_nothing_holds_them_back(tmp_path: Path) -> None:
    over = above(tmp_path, "agents: {scanner: {ref: builtin:ci_triage_guard}}\nrouting: [{if: 'event == \"push\"', run: [scanner]}]\n")
    freeze = "guards: [{name: g, freeze: {begin: 'fri 18:00', end: 'fri 17:59'}}]\napprovals: [{required: 20}]\n"
    config = below(tmp_path, freeze, over).require()
    assert (config.controls.guards, config.controls.approvals) == ((), ())


def test_an_organisation_tightens_the_hub_and_is_free_otherwise(tmp_path: Path) -> None:
    over = above(tmp_path, ABOVE + "repositories: {secrets: [MODEL_KEY]}\n")
    free = "agents: {own: {command: [python3, x.py], permissions: [push_branch], secrets: [ANY], concurrency: 3}}\n"
    config = below(tmp_path, free + "repositories: {secrets: [MODEL_KEY]}\n", over, "organisation").require()
    assert config.agents["own"].secrets == ("ANY",)
    assert not below(tmp_path, "loops: {depth: 9}\n", over, "organisation").config
    assert not below(tmp_path, "repositories: {secrets: [OTHER]}\n", over, "organisation").config
    assert not below(tmp_path, "hub: {configuration: {organisation: evil/own}}\n", over, "organisation").config
    third = below(tmp_path / "below", "loops: {depth: 0}\n", config).require()
    assert third.controls.caps.depth == 0


def test_a_config_below_others_is_kept_and_restored_whole(tmp_path: Path) -> None:
    text = "agents: {own: {ref: ./agents/own.md, permissions: [comment]}}\nrouting: [{if: 'event == \"push\"', run: [own]}]\n"
    config = below(tmp_path, text, agent="---\nrunner: builtin\n---\nDo it.\n").config
    assert config is None  # own is no built-in
    organisation = below(tmp_path, text.replace("comment", "comment, open_pr"), kind="organisation").require()
    third = tmp_path / "third"
    third.mkdir()
    config = below(third, "loops: {depth: 1}\nagents: {own: {permissions: [comment]}}\n", organisation).require()
    file, files = snapshot(config)
    again = restore(str(tmp_path / "kept"), config.digest, file, files)
    assert again.digest == config.digest
    assert again.controls == config.controls
    assert again.protected == config.protected
    assert {name: spec.permissions for name, spec in again.agents.items()} == {n: spec.permissions for n, spec in config.agents.items()}
    assert [rule.name for rule in again.table.rules] == [rule.name for rule in config.table.rules]


def test_the_same_file_in_two_repositories_is_two_configs(tmp_path: Path) -> None:
    over = above(tmp_path)
    one = below(tmp_path, "loops: {depth: 1}\n", over).require()
    root = tmp_path / "below"
    other = load_config(str(root / "orchestrator.yml"), over, Layer("repository", "octo/other", str(root))).require()
    assert one.digest != other.digest


def differs(folder: Path, before: str, after: str) -> list[tuple[str, bool]]:
    found: list[Config] = []
    for name, text in (("one", before), ("two", after)):
        (folder / name).mkdir()
        path = folder / name / "orchestrator.yml"
        path.write_text(text)
        found.append(load_config(str(path)).require())
    return [(change.text, change.widens) for change in differences(*found)]


BASE = "agents:\n  own: {ref: builtin:basic_triage, permissions: [comment]}\nrouting:\n  - {name: one, if: 'event == \"pull_request\" && trusted', run: [own]}\n"

CODER = "agents:\n  coder: {runner: claude, permissions: [comment], paths: [tests/a]}\nrouting:\n  - {name: one, if: 'event == \"push\"', run: [coder]}\n"

GUARDED = BASE.replace("run: [own]", "run: [ci_triage_guard, own]")

CHANGES = [
    (BASE, BASE, []),
    (BASE, BASE.replace("[comment]", "[comment, apply_labels]"), [("own may apply_labels, which it did not before", True)]),
    (CODER, CODER.replace("[tests/a]", "[tests/a, src/b]"), [("coder may change the paths tests/a src/b, before tests/a", True)]),
    (CODER.replace("[tests/a]", "[tests/a, src/b]"), CODER, [("coder may change the paths tests/a, before tests/a src/b", False)]),
    (CODER, CODER.replace(", paths: [tests/a]", ""), [("coder may change the paths of every file, before tests/a", True)]),
    (CODER, CODER.replace("paths:", "egress: [pypi.org], paths:"), [("coder may reach pypi.org, which it did not before", True)]),
    (CODER, CODER.replace("paths:", "models: [big], paths:"), [("coder may ask the model big, which it did not before", True)]),
    (CODER, CODER.replace("paths:", "tools: [Bash], paths:"), [("coder has the tool Bash, which it did not before", True)]),
    (CODER, CODER.replace("paths:", "sandbox: none, paths:"), [("coder has sandbox: none", True)]),
    (BASE.replace("[comment]", "[comment, apply_labels]"), BASE, [("own no longer may apply_labels", False)]),
    (BASE, BASE + "loops: {depth: 9}\n", [("loops.depth is 9, before 4", True)]),
    (BASE + "budgets: {day: {runs: 5}}\n", BASE, [("budgets.day.runs is none, before 5", True)]),
    (BASE + "approvals: [{name: a, kinds: [comment]}]\n", BASE, [("approvals: a is gone", True)]),
    (BASE, BASE + "approvals: [{name: a, kinds: [comment]}]\n", [("approvals: a is new", False)]),
    (BASE + "policies: {forbid: [curl_pipe_sh]}\n", BASE, [("policies.forbid has no curl_pipe_sh any more", True)]),
    (BASE, BASE.replace(" && trusted", " && trusted && draft"), []),
    (
        GUARDED,
        GUARDED.replace("[ci_triage_guard, own]", "[own]"),
        [("own no longer waits for ci_triage_guard in rule one", True), ("agent ci_triage_guard is gone", False)],
    ),
    (
        GUARDED,
        GUARDED.replace("[ci_triage_guard, own]", "[own]").replace("&& trusted", "&& trusted && draft"),
        [
            ("own also runs by rule one, for example on draft=True, event=pull_request, trusted=True", True),
            ("agent ci_triage_guard is gone", False),
        ],
    ),
    (BASE.replace("name: one", "name: one, stop: true"), BASE, [("rule one no longer keeps later rules from being asked", True)]),
    (
        BASE.replace("[comment]}", "[comment], rate: {runs: 1, per: 1h}, cooldown: 1h}"),
        BASE,
        [("own has rate none, before 1 3600.0", True), ("own cools down 0 s, before 3600 s", True)],
    ),
    (BASE.replace("[comment]}", "[comment], budget: {tokens: 5}}"), BASE, [("a run of own has a budget of none tokens, before 5", True)]),
    (
        BASE,
        BASE.replace("[comment]}", "[comment], files: [orchestrator.yml]}"),
        [("own sees orchestrator.yml, which it did not before", True)],
    ),
]


@pytest.mark.parametrize(("before", "after", "changes"), CHANGES, ids=range(len(CHANGES)))
def test_what_widens_is_told_from_what_does_not(tmp_path: Path, before: str, after: str, changes: list[tuple[str, bool]]) -> None:
    assert differs(tmp_path, before, after) == changes


def test_a_catch_all_is_found_out_by_an_event_that_it_lets_in(tmp_path: Path) -> None:
    """C09: the agent ran on pull requests before, but not on such ones."""
    found = differs(tmp_path, BASE, BASE + "  - {name: all, if: 'event == \"pull_request\"', run: [own]}\n")
    assert found == [("own also runs by rule all, for example on event=pull_request", True)]


def test_another_order_is_no_difference_but_a_new_stop_is(tmp_path: Path) -> None:
    """C09: shadowing."""
    two = BASE + "  - {name: two, if: 'event == \"push\"', run: [own]}\n"
    head, one, other = two.rpartition("  - {name: one")[0], *two.splitlines()[3:]
    assert differs(tmp_path, two, f"{head}{other}\n{one}\n") == []
    stopping = two.replace("{name: one,", "{name: one, stop: true,")
    (tmp_path / "again").mkdir()
    assert ("rule one now keeps later rules from being asked", True) in differs(tmp_path / "again", two, stopping)
