"""What an agent may do while it runs: the tools it may call, the commit it works on, the models it may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Trouble = Literal["rate_limited", "overloaded", "auth", "timeout", "refused"]
"""Why a run failed that says something about its agent: another one may do the work (`refused`: this machine may not run it)."""

EventKind = Literal["message", "reasoning", "tool_call", "tool_result", "model_call", "egress", "error", "system"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as an agent sees it. `schema` is JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]
    reads: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says: text for the agent, and whether it refused."""

    text: str
    refused: bool = False


class Session(Protocol):
    """What the hub does for one agent during one run. The gate stands behind every call."""

    @property
    def tools(self) -> Sequence[Tool]:
        """Exactly what the agent's permissions grant for this event."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        """Call a tool. It never raises: what is wrong is said in the answer."""
        ...

    def tell(self, kind: EventKind, text: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Add to the run's transcript; secrets are masked, and what is too much is left out and told."""
        ...


class NoSession:
    """For agents that call no tools, and for tests of runners."""

    tools: Sequence[Tool] = ()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answer:  # noqa: ARG002 - the port's face
        """There are none."""
        return Answer(f"there is no tool '{name}'", refused=True)

    def tell(self, kind: EventKind, text: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Source:
    """A commit to work on: `pack` is a file with all of its objects, and none of its history."""

    commit: str
    pack: str


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs from the commit. `content` is absent where the file is gone; `mode` is git's, such as 0o100644 or 0o120000."""

    path: str
    mode: int = 0
    content: bytes | None = None


class Checkout(Protocol):
    """A commit that was fetched for one run."""

    source: Source

    async def differing(self, changes: Sequence[Change]) -> list[Change]:
        """Those that really differ from the commit, without what the commit's own `.gitignore` leaves out. Raises `PotatoError`."""
        ...

    async def close(self) -> None:
        """Remove it."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Foreign text: what it is, who wrote it (nothing: nobody can say), and whether that one may write to the repository."""

    what: str
    text: str
    author: str | None = None
    trusted: bool = False
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    markdown: bool = True


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in millionths of the currency."""

    input: int = 0
    cached: int = 0
    output: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0

    @property
    def dearest_input(self) -> int:
        """Whatever becomes of a question's part."""
        return max(self.input, self.cached, self.cache_write, self.cache_write_1h)


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom models are asked of. `key` names the environment variable of the hub that holds the key."""

    name: str
    api: Literal["openai", "anthropic"]
    url: str
    key: str
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
