"""Agents that nothing runs."""

from __future__ import annotations

from collections.abc import Iterator

from potato.config.lint.subject import Subject
from potato.errors import Problem

ID = "unrouted-agent"
DOC = "No rule runs the agent."


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each defined agent that no rule names; less severe where a router could still reach it."""
    for name in subject.config.document.agents:
        if name in subject.routed:
            continue
        place = subject.at("agents", name, key=True)
        routers = [router for router in subject.routers if router != name]
        if routers:
            yield subject.problem(place, ID, "note", f"no rule runs '{name}'; only {', '.join(routers)} could route to it.",
                                  "Name it in a rule's run:, or leave it to the router.")  # fmt: skip
        else:
            yield subject.problem(place, ID, "warning", f"no rule runs '{name}'.", "Name it in a rule's run:, or remove it.")
