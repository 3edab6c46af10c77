"""How a config keeps automation in hand, as the core takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from potato.config.calendar import Freeze
from potato.config.models import Document
from potato.config.yaml_tree import Tree
from potato.core.approval import ApprovalRule
from potato.core.budget import Budgets
from potato.core.canonical import digest
from potato.core.hold import Reach
from potato.core.infrastructure import Health
from potato.core.lineage import Caps
from potato.core.text import did_you_mean
from potato.ports import AgentSpec


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard of the hub itself, as configured: a freeze, or CI's health. `status` is a status page that is asked too."""

    name: str
    reach: Reach
    note: str = ""
    freeze: Freeze | None = None
    health: Health | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Controls:
    """See the types of each. `policy` is the digest of all that a person's approval rests on: grants, policies, approvals, own files."""

    caps: Caps
    budgets: Budgets
    guards: tuple[Guard, ...]
    approvals: tuple[ApprovalRule, ...]
    policy: str


def controls_of(document: Document, agents: Mapping[str, AgentSpec], protected: Iterable[str]) -> Controls:
    """Read them."""
    guards = tuple(
        Guard(
            model.name, model.reach(), model.note, model.freeze.read() if model.freeze else None,
            model.infra_health.read() if model.infra_health else None, model.infra_health.status if model.infra_health else None,
        )
        for model in document.guards
    )  # fmt: skip
    grants: dict[str, Any] = {name: spec.grant().as_json() for name, spec in agents.items()}
    policy = digest([
        grants, document.policies.model_dump(mode="json"), [rule.model_dump(mode="json") for rule in document.approvals], sorted(protected),
    ])  # fmt: skip
    budgets = document.budgets.read({name: model.budget.read() for name, model in document.agents.items() if model.budget})
    approvals = tuple(model.read(number) for number, model in enumerate(document.approvals, 1))
    return Controls(document.loops.read(), budgets, guards, approvals, policy)


def check_controls(tree: Tree, document: Document, agents: Iterable[str]) -> None:
    """Names that stand twice or for nothing are problems in the tree."""
    known = sorted(agents)
    for section in ("guards", "approvals"):
        names: set[str] = set()
        for index, model in enumerate(getattr(document, section)):
            name = model.name
            if name is not None and name in names:
                tree.problem(tree.at((section, index, "name")), "duplicate-name", f"another one of {section} is '{name}' too.")
            names.add(name)
            for number, agent in enumerate(model.agents):
                if agent not in known:
                    hint = did_you_mean(agent, known) or f"Known: {', '.join(known)}."
                    tree.problem(tree.at((section, index, "agents", number)), "unknown-agent", f"no agent is called '{agent}'.", hint)
