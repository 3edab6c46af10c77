"""Kinds of proposals, the permissions they need, and what each role may hold at most."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["router", "triage", "guard", "orchestrator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Kind = Literal[
    "apply_labels", "remove_labels", "create_issue", "update_issue", "comment", "request_review", "review", "open_pr", "push_branch",
    "create_check", "dispatch_workflow", "route_agents", "block",
]  # fmt: skip
WRITING: Final = frozenset[str](get_args(Kind))
"""Kinds of proposals. The permission has the kind's name."""

READING: Final = frozenset("read_repository read_pull_request read_ci_logs read_issues".split())

PERMISSIONS: Final = WRITING | READING

CODE_WRITING: Final = frozenset({"open_pr", "push_branch", "dispatch_workflow"})
"""What changes code or makes it run."""

_TALKING: Final = frozenset("apply_labels remove_labels create_issue update_issue comment request_review create_check".split())

ROLE_MAY_HOLD: Final[dict[Role, frozenset[str]]] = {
    "router": READING | _TALKING | {"route_agents"},
    "triage": READING | _TALKING,
    "guard": READING | _TALKING | {"block"},
    "orchestrator": PERMISSIONS,
}

DEFAULT_CAPS: Final = {
    "apply_labels": 10,
    "remove_labels": 10,
    "create_issue": 1,
    "update_issue": 1,
    "comment": 1,
    "request_review": 5,
    "review": 1,
    "open_pr": 1,
    "push_branch": 1,
    "create_check": 3,
    "dispatch_workflow": 1,
    "route_agents": 10,
    "block": 1,
}
"""How much of a kind one run may propose: labels, reviewers and agents are counted one by one."""

NEEDS_APPROVAL: Final = frozenset({"push_branch", "dispatch_workflow"})
"""Kinds that always wait for a human."""
