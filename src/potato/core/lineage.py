"""Which run caused an event, through which effects; loops are cut by it. Pure.

A chain is followed by what effects left on the forge (a comment's id, a commit, a label set by us), never by what texts say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DEPTH: Final = 4
RUNS_PER_HEAD: Final = 10
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Link:
    """One run of a chain."""

    run_id: str
    agent: str


@dataclass(frozen=True, slots=True)
class Caps:
    """`depth`: how many runs may stand before a run in its chain. `runs_per_head`: how often an agent may run on one commit."""

    depth: int = DEPTH
    runs_per_head: int = RUNS_PER_HEAD


@dataclass(frozen=True, slots=True)
class Track:
    """One thing that an event is about, and whether it counts only if we caused the event ourselves.

    A person who edits our comment is no loop; a workflow on our commit is one, whoever GitHub names as its sender.
    """

    key: str
    ours_only: bool = True


def too_deep(lineage: Sequence[Link], agent: str, caps: Caps) -> str | None:
    """Why a run with this chain before it may not start."""
    if len(lineage) <= caps.depth:
        return None
    links = [link.agent for link in lineage[-_SHOWN:]]
    shown = " -> ".join([*(["..."] if len(lineage) > _SHOWN else []), *links, agent])
    return f"loop: {len(lineage)} runs caused each other, the cap is {caps.depth}: {shown}"


def no_progress(runs: int, agent: str, head_sha: str | None, caps: Caps) -> str | None:
    """Why an agent that ran so often on one commit (or, without one, on one subject within a day) may not run again."""
    if runs < caps.runs_per_head:
        return None
    where = f"commit {head_sha[:12]}" if head_sha else "this subject within a day"
    return f"no progress: {agent} ran {runs} times on {where}, the cap is {caps.runs_per_head} (loops: runs_per_head)"
