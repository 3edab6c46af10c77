"""Another forge's eyes with the local forge's hands: read for real, stage effects, let given facts win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from potato.core.approval import Standing
from potato.core.event import Event, Facts
from potato.core.proposal import Action
from potato.forges.local.forge import LocalForge
from potato.ports import Checkout, Effect, Forge, HeadReport, Piece


class StagingForge:
    """`stage` says whether effects are staged (`--dry-run`) or passed on."""

    def __init__(self, real: Forge, local: LocalForge, *, stage: bool) -> None:
        self._real = real
        self._local = local
        self._stage = stage
        self.kind = real.kind

    async def fetch_facts(self, event: Event, needs: frozenset[str]) -> Facts:
        """What was given; the rest is fetched. Trust is always the real forge's."""
        given = await self._local.fetch_facts(event, frozenset())
        fields = {name: value for name, value in given.fields.items() if name != "trusted"}
        fact_of = {"path": "paths", "job": "jobs"}
        fetched = await self._real.fetch_facts(event, needs - {fact_of[name] for name in fields})
        return Facts({**fetched.fields, **fields}, fetched.problems)

    async def read(self, event: Event, permissions: frozenset[str]) -> Mapping[str, Any]:
        """What was given on top of what the forge shows."""
        return {**await self._real.read(event, permissions), **await self._local.read(event, permissions)}

    async def consult(self, event: Event, tool: str, arguments: Mapping[str, Any]) -> Sequence[Piece]:
        """As the real forge shows."""
        return await self._real.consult(event, tool, arguments)

    async def checkout(self, event: Event) -> Checkout | None:
        """As the real forge has it."""
        return await self._real.checkout(event)

    async def head(self, event: Event) -> str | None:
        """As the real forge says."""
        return await self._real.head(event)

    async def whoami(self) -> str:
        """As the real forge says; when effects are staged, nobody writes."""
        return await (self._local if self._stage else self._real).whoami()

    async def standing(self, repository: str, login: str, teams: frozenset[str]) -> Standing:
        """As the forge says."""
        return await self._real.standing(repository, login, teams)

    async def author(self, repository: str, number: int) -> str:
        """As the forge says."""
        return await self._real.author(repository, number)

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:
        """Stage it, or pass it on."""
        return await (self._local if self._stage else self._real).apply(event, agent, action, key)

    async def stale(self, event: Event) -> str | None:
        """As the real forge sees it."""
        return await self._real.stale(event)

    async def tell(self, told: HeadReport) -> None:
        """Nothing is told when effects are staged."""
        if not self._stage:
            await self._real.tell(told)

    async def close(self) -> None:
        """Close the real forge."""
        await self._real.close()
