from __future__ import annotations

from pathlib import Path

import pytest

from potato.config.config import Config
from potato.config.loader import load_config
from potato.errors import ConfigError

SNIPPETS = {
    "routing": """routing:
  - if: event == "pull_request" && label ~ "codex:route"
    run: [codex_router]
  - if: event == "pull_request" && !(label ~ "codex:route")
    run: [codex_triage]
  - if: event == "workflow_run" && job == "tests" && status == "failure"
    run: [ci_triage_guard, coverage_orchestrator]
""",
    "agents": """agents:
  codex_router:
    ref: ./agents/router.md
    secrets: [CODEX_API_KEY]
    permissions: [route_agents, create_issue, apply_labels]

  coverage_orchestrator:
    ref: ./agents/coverage.md
    secrets: [CODEX_API_KEY]
    permissions: [read_ci_logs, open_pr]
""",
    "policies": """policies:
  node_version: "20.x"
  python_version: "3.11"
  forbid: [curl_pipe_sh, remote_code_exec]
  require: [lockfile_integrity, gh_version>=2.0.0]
""",
    "basic": """# orchestrator.yml
version: 1
agents:
  basic_triage:
    ref: ./agents/triage.md
    permissions: [create_issue, apply_labels]
""",
}


def load(folder: Path, text: str | bytes, name: str = "orchestrator.yml") -> tuple[Config | None, list[str]]:
    for agent in ("router", "coverage", "triage"):
        path = folder / "agents" / f"{agent}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text(f"You are the {agent}.\n")
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    loaded = load_config(str(path))
    return loaded.config, [str(p).replace(f"{folder}/", "") for p in loaded.problems]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_snippet_of_the_specification_loads_alone(tmp_path: Path, snippet: str) -> None:
    config, problems = load(tmp_path, SNIPPETS[snippet])
    assert problems == []
    assert config is not None


@pytest.mark.parametrize("version", ["", "version: 1\n"])
def test_all_snippets_load_together(tmp_path: Path, version: str) -> None:
    config, problems = load(tmp_path, version + SNIPPETS["routing"] + SNIPPETS["agents"] + SNIPPETS["policies"])

    assert problems == []
    assert config is not None
    offset = 1 if version else 0
    assert [(rule.name, rule.line) for rule in config.table.rules] == [(f"r{n + offset}", n + offset) for n in (2, 4, 6)]
    assert {a.name: (a.role, a.runner) for a in config.agents.values()} == {
        "codex_router": ("router", "builtin"),
        "coverage_orchestrator": ("orchestrator", "builtin"),
        "codex_triage": ("triage", "builtin"),
        "ci_triage_guard": ("guard", "builtin"),
    }
    assert config.agents["codex_router"].permissions == {"route_agents", "create_issue", "apply_labels"}
    assert config.agents["codex_router"].prompt == "You are the router.\n"
    assert config.agents["ci_triage_guard"].permissions == {"block", "read_ci_logs"}
    assert config.document.policies.python_version == "3.11"
    assert config.unenforced[-1] == "require gh_version>=2.0.0"


def test_all_mistakes_come_at_once_with_their_places(tmp_path: Path) -> None:
    config, problems = load(
        tmp_path,
        """version: 1
routng: []
routing:
  - if: event == "pull_request" && lable ~ "x"
    run: [codex_rooter]
    prioritty: high
  - name: x
    if: >-
      event == "push"
      && titel == "a"
    run: [a, {any_off: [b]}]
    priority: hihg
agents:
  a: {ref: ../x.md, permissions: [open_prr], secrets: [lower]}
  codex_triage: {ref: agents/triage.md, permissions: [open_pr], concurrency: lots, timeout: 5 minutes}
policies: {forbid: [curl_pip_sh], require: ["gh_version>>2"]}
guards: [{x: y}]
""",
    )
    assert config is None
    assert problems == [
        "orchestrator.yml:2:1 unknown-key: 'routng' is no key. Did you mean 'routing'?",
        "orchestrator.yml:4:36 unknown-field: 'lable' is no field of pull_request. Did you mean 'label'?",
        "orchestrator.yml:5:11 unknown-agent: no agent is called 'codex_rooter'. Did you mean 'codex_router'?",
        "orchestrator.yml:6:5 unknown-key: 'prioritty' is no key of routing[0]. Did you mean 'priority'?",
        "orchestrator.yml:10:10 unknown-field: 'titel' is no field of push. Did you mean 'title'?",
        "orchestrator.yml:11:14 missing-key: 'any_of' is missing in routing[1].run[1].",
        "orchestrator.yml:11:15 unknown-key: 'any_off' is no key of routing[1].run[1]. Did you mean 'any_of'?",
        "orchestrator.yml:12:15 unknown-value: 'hihg' is no priority. Did you mean 'high'?",
        "orchestrator.yml:14:35 unknown-permission: 'open_prr' is no permission. Did you mean 'open_pr'?",
        "orchestrator.yml:14:56 bad-name: 'lower' is no valid name here. It must match ^[A-Z_][A-Z0-9_]{0,127}$.",
        "orchestrator.yml:15:78 wrong-type: 'agents.codex_triage.concurrency' must be a whole number, found 'lots'.",
        "orchestrator.yml:15:93 bad-value: '5 minutes' is no duration; write 5s, 10m, 2h or 3d.",
        "orchestrator.yml:16:21 unknown-policy: 'curl_pip_sh' is no policy to forbid. Did you mean 'curl_pipe_sh'?",
        "orchestrator.yml:16:45 unknown-policy: 'gh_version>>2' is no policy to require. Did you mean 'gh_version'?",
        "orchestrator.yml:17:10 missing-key: 'name' is missing in guards[0].",
        "orchestrator.yml:17:11 unknown-key: 'x' is no key of guards[0]. Known: agents, freeze, infra_health, name, note, repositories.",
    ]


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("if: nope", "2:9"),
        ("if: 'nope'", "2:10"),
        ('if: "nope"', "2:10"),
        ("if: !nope", "2:10"),
        ("if: !(nope)", "2:11"),
        ("if: !draft && !nope", "2:20"),
        ("if: |\n      draft\n      && nope", "4:10"),
        ("if: >-\n\n      nope", "4:7"),
        ("if: draft\n      && nope", "3:10"),
        ("if:   nope", "2:11"),
        ("if:\n      nope", "3:7"),
        ("if: 'title == ''x'' && nope'", "2:9"),
    ],
)
def test_an_expressions_mistake_has_its_true_place(tmp_path: Path, expression: str, place: str) -> None:
    _, problems = load(tmp_path, f"routing:\n  - {expression}\n    run: [codex_triage]\n")
    assert [p for p in problems if "unknown-field" in p] == [f"orchestrator.yml:{place} unknown-field: 'nope' is no field."]


def test_scalars_keep_their_text(tmp_path: Path) -> None:
    config, problems = load(tmp_path, "policies: {python_version: 3.10, node_version: 1.20}\n")
    assert problems == []
    assert config is not None
    assert (config.document.policies.python_version, config.document.policies.node_version) == ("3.10", "1.20")


def test_a_comment_that_may_cut_a_rule_is_warned_of(tmp_path: Path) -> None:
    config, problems = load(
        tmp_path, "routing:\n  - if: title ~ /a/ # b/\n    run: [codex_triage]\n  - if: draft\n    # fine\n    run: [codex_triage]\n"
    )
    assert config is not None
    assert [p.split(" ")[1] for p in problems] == ["comment-after-if:"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "1:1 empty-file"),
        (b"# nothing\n", "1:1 empty-file"),
        (b"[1]", "1:1 wrong-type: 'the document' must be a mapping, found a list."),
        (b"just text", "1:1 wrong-type: 'the document' must be a mapping, found 'just text'."),
        (b"a: [b\n", "2:1 invalid-yaml"),
        (b"version: 1\nrouting:\n\t- x\n", "3:1 invalid-yaml: found character that cannot start any token"),
        (b"version: 2\n", "1:10 bad-value"),
        (b"version: one\n", "1:10 bad-value: 'one' is no version of this format; write version: 1."),
        (b"version: 1.0\n", "1:10 bad-value: '1.0' is no version"),
        (b"agents:\n  a: {ref: agents/triage.md, secrets: [GITHUB_TOKEN]}\n", "2:40 bad-value: 'GITHUB_TOKEN' cannot be an agent's:"),
        (b"agents:\n  a: {ref: agents/triage.md, secrets: [LD_PRELOAD]}\n", "2:40 bad-value: 'LD_PRELOAD' cannot be"),
        (b'agents:\n  a: {command: [x, "a\\0b"]}\n', "2:20 bad-value: an argument holds a NUL"),
        (b"\xff\xfe", "1:1 not-utf8: byte 0"),
        (b"version: 1\nrouting: x\xff", "2:11 not-utf8"),
        (b"version: 1\n---\nversion: 1\n", "2:1 several-documents"),
        (b"routing: {}\n", "1:10 wrong-type: 'routing' must be a list, found a mapping."),
        (b"routing:\n  - run: [codex_triage]\n", "2:5 missing-key: 'if' is missing in routing[0]."),
        (b"routing:\n  - if: draft\n    run: []\n", "3:10 bad-value"),
        (b"agents:\n  a: {permissions: []}\n", "2:3 missing-key: agent 'a' has no ref."),
        (
            b"agents:\n  a: {ref: builtin:triage}\n",
            "2:12 unknown-builtin: 'builtin:triage' is no built-in agent. Did you mean 'codex_triage'?",
        ),
        (b"agents:\n  'a b': {ref: builtin:codex_triage}\n", "2:3 unknown-key: 'a b' is no key of agents."),
        (b"agents:\n  a: {runner: command, command: [x], environment: {POTATO_X: y}}\n", "2:52 unknown-key: 'POTATO_X' is no key of"),
        (b"providers:\n  p: {api: openai, url: x.y, key: A_KEY}\n", "2:25 bad-value: 'x.y' is no address."),
        (b"agents:\n  a: {runner: command}\n", "2:3 missing-key: agent 'a' has no command."),
        (b"agents:\n  a: {runner: command, ref: agents/triage.md}\n", "2:3 missing-key: agent 'a' has no command."),
        (b"agents:\n  a: {runner: python, ref: agents/triage.md}\n", "2:3 missing-key: agent 'a' has no function."),
        (b"agents:\n  a: {runner: builtin, ref: agents/triage.md}\n", "2:3 unknown-builtin: no built-in agent is called 'a'."),
        (b"agents:\n  a: {runner: shell, ref: agents/triage.md}\n", "2:15 unknown-value: 'shell' is no runner. Known: builtin, command"),
        (
            b"routing:\n  - {name: x, if: draft, run: [codex_triage]}\n  - {name: x, if: draft, run: [codex_triage]}\n",
            "3:12 duplicate-name",
        ),
    ],
)
def test_unusable_configs(tmp_path: Path, text: bytes, said: str) -> None:
    config, problems = load(tmp_path, text)
    assert config is None
    assert any(p.startswith(f"orchestrator.yml:{said}") for p in problems), problems


@pytest.mark.parametrize("role", ["triage", "router", "guard"])
@pytest.mark.parametrize("permission", ["open_pr", "push_branch", "dispatch_workflow"])
def test_roles_cap_permissions(tmp_path: Path, role: str, permission: str) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "x.md").write_text(f"---\nrole: {role}\n---\n")
    config, problems = load(tmp_path, f"agents:\n  x:\n    ref: agents/x.md\n    permissions: [comment, {permission}]\n")
    assert config is None
    assert problems[0].startswith(
        f"orchestrator.yml:4:28 permission-beyond-role: 'x' has the role '{role}', which can never hold '{permission}'."
    )


def test_front_matter_is_checked_with_its_own_places(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "x.md").write_text("---\nrole: triage\nruner: command\npermissions: [open_pr]\n---\nPrompt.\n")
    config, problems = load(tmp_path, "agents:\n  x: {ref: agents/x.md}\n")
    assert config is None
    assert [p.split("agents/x.md:")[1] for p in problems] == [
        "3:1 unknown-key: 'runer' is no key. Did you mean 'runner'?",
        "4:1 unknown-key: 'permissions' is no key. It is granted in the config only, under 'agents:'.",
    ]


def test_the_config_wins_over_front_matter_and_that_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "x.md").write_text(
        "---\nrunner: command\ncommand: [a]\ntimeout: 5s\nlimits: {comment: 2, open_pr: 3}\n---\nPrompt.\n"
    )
    config, _ = load(
        tmp_path,
        "defaults: {runner: codex, timeout: 2h}\nagents:\n  x: {ref: agents/x.md, command: [b, c], limits: {comment: 4}}\n  y: {ref: agents/triage.md}\n",
    )
    assert config is not None
    x, y = config.agents["x"], config.agents["y"]
    assert (x.runner, x.command, x.timeout_s, x.caps, x.role, x.prompt) == (
        "command",
        ("b", "c"),
        5.0,
        {"comment": 4, "open_pr": 3},
        "orchestrator",
        "Prompt.\n",
    )
    assert (y.runner, y.timeout_s, y.role) == ("codex", 7200.0, "orchestrator")


def test_an_agent_without_runner_is_fine_to_validate(tmp_path: Path) -> None:
    config, problems = load(tmp_path, "agents:\n  mine: {ref: agents/triage.md, permissions: [comment]}\n")
    assert problems == []
    assert config is not None
    assert config.agents["mine"].runner is None


def test_the_digest_covers_config_and_agent_files(tmp_path: Path) -> None:
    first, _ = load(tmp_path, SNIPPETS["agents"])
    (tmp_path / "agents" / "router.md").write_text("Another prompt.\n")
    second, _ = load(tmp_path, SNIPPETS["agents"])
    third, _ = load(tmp_path, SNIPPETS["agents"] + "# more\n")
    assert first is not None
    assert second is not None
    assert third is not None
    assert len({first.digest, second.digest, third.digest}) == 3
    assert load(tmp_path, SNIPPETS["agents"] + "# more\n")[0].digest == third.digest


def test_a_config_error_is_one_error_with_all_problems(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("a: 1\nb: 2\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(tmp_path / "c.yml")).require()
    assert len(caught.value.problems) == 2


def test_a_program_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "plain.sh").write_text("x")
    config, problems = load(tmp_path, "agents:\n  a: {command: [./nope.sh]}\n  b: {command: [./plain.sh]}\n  c: {command: [python3, x]}\n")
    assert config is not None
    assert problems == [
        "orchestrator.yml:2:3 program-missing: './nope.sh' of agent 'a' does not exist here.",
        "orchestrator.yml:3:3 program-missing: './plain.sh' of agent 'b' is not executable.",
    ]


def test_programs_beside_the_config_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "guard.py").write_text("print('{}')")
    text = "agents:\n  g: {role: guard, command: [python3, bin/guard.py], permissions: [block]}\n"
    first, _ = load(tmp_path, text)
    assert first is not None
    assert any(path.endswith("bin/guard.py") for path in first.protected)
    (tmp_path / "bin" / "guard.py").write_text("print('{ }')")
    second, _ = load(tmp_path, text)
    assert second is not None
    assert first.digest != second.digest
