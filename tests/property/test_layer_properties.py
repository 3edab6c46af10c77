"""Whatever a repository's config says: what loads allows no more than the config above it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from potato.config.config import Config, Layer
from potato.config.loader import load_config
from potato.core.approval import missing, rules_for
from potato.core.gate import Setting, judge
from potato.core.permission import CODE_WRITING, PERMISSIONS
from potato.testing import make_event

_ORDER = {"deny": 0, "needs_approval": 1, "allow": 2}
_GRANTED = ["apply_labels", "comment", "open_pr", "push_branch", "create_issue"]
_NAMES = ["coder", "labeller", "watch", "mine", "basic_triage"]
PERMITTED = st.lists(st.sampled_from(_GRANTED), unique=True, max_size=5)
LIMITS = st.dictionaries(st.sampled_from(["comment", "apply_labels"]), st.integers(0, 12), max_size=2)
APPROVALS = st.lists(
    st.fixed_dictionaries(
        {"required": st.integers(1, 3)},
        optional={
            "kinds": st.lists(st.sampled_from(["comment", "open_pr", "push_branch"]), unique=True, max_size=2),
            "agents": st.lists(st.sampled_from(["coder", "labeller"]), unique=True, max_size=1),
        },
    ),
    max_size=2,
)
NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "loops": st.fixed_dictionaries({}, optional={"depth": st.integers(0, 9), "runs_per_head": st.integers(1, 20)}),
        "budgets": st.fixed_dictionaries({}, optional={"pull_request": st.fixed_dictionaries({"runs": st.integers(0, 30)})}),
        "policies": st.fixed_dictionaries(
            {}, optional={"forbid": st.lists(st.sampled_from(["curl_pipe_sh", "binary_files"]), unique=True)}
        ),
    },
)
OFFER = st.fixed_dictionaries(
    {}, optional={"permissions": PERMITTED, "agents": st.lists(st.sampled_from(["coder", "labeller"]), unique=True, max_size=2)}
)


def above_of(
    numbers: Mapping[str, Any], coder: list[str], limits: dict[str, int], approvals: list[Any], offer: dict[str, Any]
) -> dict[str, Any]:
    agents = {
        "coder": {"ref": "builtin:coverage_orchestrator", "role": "orchestrator", "permissions": coder, "limits": limits},
        "labeller": {"ref": "builtin:basic_triage", "permissions": ["apply_labels"]},
        "watch": {"ref": "builtin:ci_triage_guard"},
    }
    rules = [{"name": "top", "if": 'event == "pull_request"', "run": ["watch", "coder", "labeller"]}]
    return {**numbers, "agents": agents, "routing": rules, "approvals": approvals, "repositories": offer}


OWN = st.builds(
    lambda numbers, agents, approvals, runs: {
        **numbers, "agents": agents, "approvals": approvals,
        "routing": [{"if": 'event == "push"', "run": [name]} for name in runs],
    },
    NUMBERS,
    st.dictionaries(
        st.sampled_from(_NAMES),
        st.fixed_dictionaries(
            {},
            optional={
                "permissions": PERMITTED, "limits": LIMITS, "ref": st.just("builtin:coverage_orchestrator"),
                "secrets": st.lists(st.sampled_from(["MODEL_KEY"]), max_size=1), "sandbox": st.sampled_from(["auto", "none"]),
                "command": st.just(["python3", "x.py"]), "timeout": st.just("5s"),
            },
        ),
        max_size=2,
    ),
    APPROVALS,
    st.lists(st.sampled_from(_NAMES), max_size=2),
)  # fmt: skip
ABOVE = st.builds(above_of, NUMBERS, PERMITTED, LIMITS, APPROVALS, OFFER)

PROPOSALS = [
    [{"kind": "apply_labels", "labels": ["a"] * n}] for n in (1, 4, 11)
] + [
    [{"kind": "comment", "body": "x"}] * 2,
    [{"kind": "comment", "body": "x"}],
    [{"kind": "create_issue", "title": "t", "body": "b"}],
    [{"kind": "open_pr", "title": "t", "files": [{"path": "a.md", "content": "x"}]}],
    [{"kind": "push_branch", "branch": "potato/x", "message": "m", "files": [{"path": "a.md", "content": "x"}]}],
]  # fmt: skip


def loaded(folder: Path, name: str, document: Mapping[str, Any], above: Config | None = None) -> Config | None:
    root = folder / name
    root.mkdir()
    path = root / "orchestrator.yml"
    path.write_text(json.dumps({"version": 1, **document}))
    return load_config(str(path), above, Layer("repository", "o/r", str(root)) if above else None).config


def answers(config: Config, agent: str) -> list[int]:
    """The verdict on each proposal, batch by batch; the approvals that are missing count against it."""
    setting = Setting(
        make_event(repository="o/r"), trusted=True, policy=config.controls.policy, routable=config.routable(agent),
        protected=config.protected, approvals=config.controls.approvals,
    )  # fmt: skip
    return [_ORDER[verdict.answer] for batch in PROPOSALS for verdict in judge(batch, config.agents[agent].grant(), setting)]


@settings(max_examples=250)
@given(ABOVE, OWN)
def test_a_config_below_never_allows_more(over: dict[str, Any], own: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        above = loaded(Path(name), "above", over)
        assert above is not None
        config = loaded(Path(name), "below", own, above)
        if config is None:
            event("refused whole")
            return
    assert config.agents["watch"] == above.agents["watch"]
    for agent in above.agents:
        assert all(mine <= theirs for mine, theirs in zip(answers(config, agent), answers(above, agent), strict=True))
        for kind in ("comment", "open_pr", "push_branch"):
            people = [missing([], rules_for(kind, agent, one.controls.approvals)) for one in (config, above)]
            assert people[0] >= people[1]
    offered = over["repositories"].get("permissions", sorted(PERMISSIONS - CODE_WRITING))
    for agent in config.own:
        spec = config.agents[agent]
        assert spec.permissions <= set(offered)
        assert (spec.secrets, spec.runner, spec.sandbox) == ((), "builtin", "auto")
        assert config.routable(agent) <= config.own | set(over["repositories"].get("agents", []))
    for mine, theirs in (
        (config.controls.caps.depth, above.controls.caps.depth),
        (config.controls.caps.runs_per_head, above.controls.caps.runs_per_head),
    ):
        assert mine <= theirs
    most = above.controls.budgets.pull_request
    if most is not None:
        assert config.controls.budgets.pull_request is not None
        assert (config.controls.budgets.pull_request.runs or 0) <= (most.runs or 0)
    assert set(above.document.policies.forbid) <= set(config.document.policies.forbid)
    assert config.table.rules[: len(above.table.rules)] == above.table.rules
    assert above.protected <= config.protected
