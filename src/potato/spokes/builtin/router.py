"""Router: which other agents of this config should look at a labelled change."""

from __future__ import annotations

from typing import Final

from potato.core.expression.pattern import compile_pattern
from potato.ports import Report, Request
from potato.spokes.builtin.proposing import Proposing, paths_of

BY_LABEL: Final = {
    "codex:coverage": "coverage_orchestrator",
    "codex:docs": "documentation_generator",
    "codex:security": "security_scanner",
    "codex:triage": "codex_triage",
}
BY_PATH: Final = {
    "security_scanner": (".github/**", "**/*.lock", "**/package-lock.json", "**/Dockerfile", "**/*.sh"),
    "documentation_generator": ("src/**", "lib/**", "pkg/**", "**/*.py", "**/*.ts", "**/*.go", "**/*.rs"),
}


def work(request: Request) -> Report:
    """Labels `codex:NAME` ask by name; without one, the changed paths decide."""
    out = Proposing(request)
    labels = request.event.fields.get("label")
    names = labels if isinstance(labels, tuple) else ()
    by_label = [BY_LABEL[name] for name in names if name in BY_LABEL]
    asked = [name.removeprefix("codex:") for name in names if name.startswith("codex:")]
    targets = list(dict.fromkeys([*by_label, *(name for name in asked if name in request.routable)]))
    why = "by label"
    if not targets:
        paths = paths_of(request) or []
        targets = [agent for agent, globs in BY_PATH.items() if any(compile_pattern(g, in_path=True)(p) for g in globs for p in paths)]
        why = "by changed paths"
    reachable = [agent for agent in targets if agent in request.routable and agent != request.agent.name]
    if not reachable:
        return out.report("No agent of this config fits; nothing routed.")
    out.propose("route_agents", agents=reachable, reason=why)
    return out.report(f"Routed {why} to {', '.join(reachable)}.")
