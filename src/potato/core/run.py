"""The states of a run and the ways between them."""

from __future__ import annotations

from typing import Final, Literal, get_args

State = Literal[
    "queued", "held", "awaiting_approval", "running", "applying",
    "succeeded", "failed", "blocked", "cancelled", "superseded", "expired",
]  # fmt: skip
STATES: Final[tuple[State, ...]] = get_args(State)
TERMINAL: Final[frozenset[State]] = frozenset({"succeeded", "failed", "blocked", "cancelled", "superseded", "expired"})

_NEXT: Final[dict[State, frozenset[State]]] = {
    "queued": frozenset({"held", "running", "failed", "blocked", "cancelled", "superseded", "expired"}),
    "held": frozenset({"queued", "blocked", "cancelled", "superseded", "expired"}),
    "running": frozenset({"queued", "applying", "succeeded", "failed", "blocked", "cancelled", "superseded", "awaiting_approval"}),
    "applying": frozenset({"queued", "succeeded", "failed", "blocked", "cancelled", "superseded", "awaiting_approval"}),
    "awaiting_approval": frozenset({"queued", "applying", "blocked", "cancelled", "superseded", "expired"}),
}  # fmt: skip


def may_become(state: State, to: State) -> bool:
    """Whether a run in `state` may go to `to`; a terminal state is left by none."""
    return to in _NEXT.get(state, frozenset())
