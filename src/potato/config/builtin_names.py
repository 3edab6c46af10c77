"""The agents that need no definition: name, role, the least permissions, and which code runs them.

A rule may name one without defining it. A definition of the same name inherits role and runner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potato.core.permission import Role


@dataclass(frozen=True, slots=True)
class Builtin:
    """`code` names the module in `potato.spokes.builtin`; `paths` are all that its patches may touch by default."""

    name: str
    role: Role
    code: str
    permissions: frozenset[str]
    doc: str
    paths: tuple[str, ...] = ()


_TESTS: Final = (
    "tests/**",
    "test/**",
    "**/tests/**",
    "**/test/**",
    "**/__tests__/**",
    "spec/**",
    "**/test_*",
    "**/*_test.*",
    "**/*.test.*",
    "**/*.spec.*",
    "**/conftest.py",
)
_DOCUMENTS: Final = ("docs/**", "doc/**", "**/docs/**", "**/*.md", "**/*.mdx", "**/*.rst", "**/*.adoc", "**/*.txt")


_ALL: Final = (
    Builtin("codex_router", "router", "router", frozenset({"route_agents", "read_pull_request"}),
            "Routes to agents of this config by label and changed paths."),
    Builtin("codex_triage", "triage", "triage",
            frozenset({"apply_labels", "remove_labels", "comment", "request_review", "read_pull_request", "read_issues"}),
            "Labels, size, checklist and reviewers for pull requests and issues."),
    Builtin("basic_triage", "triage", "triage",
            frozenset({"apply_labels", "remove_labels", "comment", "request_review", "read_pull_request", "read_issues"}),
            "The same as codex_triage."),
    Builtin("ci_triage_guard", "guard", "ci_guard", frozenset({"block", "read_ci_logs"}),
            "Blocks automation when CI failed for reasons of infrastructure."),
    Builtin("coverage_orchestrator", "orchestrator", "coverage", frozenset({"read_ci_logs", "create_issue"}),
            "Finds untested modules in CI logs; proposes import tests, or an issue that lists them.", _TESTS),
    Builtin("security_scanner", "orchestrator", "security", frozenset({"read_pull_request", "create_check"}),
            "Looks for secrets, piped downloads and dangerous workflows in a pull request's added lines."),
    Builtin("documentation_generator", "orchestrator", "documentation", frozenset({"read_pull_request", "comment"}),
            "Lists public names a pull request adds without touching documentation.", _DOCUMENTS),
)  # fmt: skip

PROPOSES: Final[dict[str, frozenset[str]]] = {
    "router": frozenset({"route_agents"}),
    "triage": frozenset({"apply_labels", "remove_labels", "comment", "request_review"}),
    "ci_guard": frozenset({"block"}),
    "coverage": frozenset({"open_pr", "create_issue"}),
    "security": frozenset({"create_check"}),
    "documentation": frozenset({"comment"}),
}
"""What the code of each built-in agent may propose, if granted."""

BUILTINS: Final = {builtin.name: builtin for builtin in _ALL}
