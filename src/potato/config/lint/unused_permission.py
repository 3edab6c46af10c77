"""Permissions that an agent holds and can have no use for."""

from __future__ import annotations

from collections.abc import Iterator

from potato.config.builtin_names import PROPOSES
from potato.config.lint.subject import Subject
from potato.core.consequence import USABLE_ON
from potato.core.fields import ANY
from potato.core.permission import WRITING
from potato.errors import Problem
from potato.ports import AgentSpec

ID = "unused-permission"
DOC = "The agent holds a permission that it can never use."
_FIX = "Remove it: an agent should hold no more than it needs."


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each listed permission without a use. Agents that nothing routes to are another check's."""
    for name, model in subject.config.document.agents.items():
        agent = subject.config.agents[name]
        if model.permissions is None or name not in subject.routed:
            continue
        for index, permission in enumerate(model.permissions):
            place = subject.at("agents", name, "permissions", index)
            if permission in model.permissions[:index]:
                yield subject.problem(place, ID, "warning", f"'{permission}' is listed twice.", "Keep one.")
                continue
            why = _useless(subject, agent, permission)
            if why:
                yield subject.problem(place, ID, "warning", f"{name} can never use '{permission}': {why}.", _FIX)
            elif agent.builtin and permission in WRITING - PROPOSES[agent.builtin]:
                yield subject.problem(place, ID, "note", f"the built-in agent that runs as {name} never proposes '{permission}'.", _FIX)


def _useless(subject: Subject, agent: AgentSpec, permission: str) -> str:
    """Why the permission has no use, if so."""
    if agent.caps.get(permission) == 0:
        return "its limit is 0"
    if permission == "route_agents" and len(subject.config.agents) == 1:
        return "there is no other agent to route to"
    if permission == "block" and not _gates_another(subject, agent):
        return "no rule runs another agent behind it"
    events = _events(subject, agent)
    usable = USABLE_ON.get(permission, ANY)
    if events & usable:
        return ""
    told = sorted(events)
    return f"it runs on {', '.join(told[:3])}{' and others' if len(told) > 3 else ''} only"  # noqa: PLR2004 - enough to see why


def _gates_another(subject: Subject, agent: AgentSpec) -> bool:
    return any(
        agent.role == "guard" and other.role != "guard" for number in subject.routed[agent.name] for other in subject.agents_of(number)
    )


def _events(subject: Subject, agent: AgentSpec) -> frozenset[str]:
    """The events that the agent may run on: by its rules, and by those of routers."""
    numbers = {n for name in (agent.name, *subject.routers) for n in subject.routed[name]}
    return frozenset[str]().union(*(subject.events(number) for number in numbers))
