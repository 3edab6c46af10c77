"""What a workflow works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from potato.config.config import Config
from potato.core.event import Event
from potato.errors import UsageError
from potato.hub.secrets import Secrets
from potato.ports import AgentSpec, Clock, Delivery, Durable, Forge, Notifier, Runner, Store


def _unread(_delivery: Delivery) -> Event:
    raise UsageError("no-event", "this hub cannot read stored deliveries.")


@dataclass(frozen=True, slots=True)
class Hub:
    """Everything an event needs. `environ` and `vaults` are where agents' secrets come from.

    `reader` turns a stored delivery into its event again.

    `configs` finds the config that an older run was decided by, where runs outlive a process.
    """

    config: Config
    store: Store
    forge: Forge
    runners: Mapping[str, Runner]
    durable: Durable
    clock: Clock
    notifier: Notifier
    environ: Mapping[str, str]
    reader: Callable[[Delivery], Event] = _unread
    vaults: Mapping[str, Callable[[str], str | None]] = field(default_factory=dict[str, Callable[[str], str | None]])
    configs: Mapping[str, Config] = field(default_factory=dict[str, Config])

    @property
    def secrets(self) -> Secrets:
        """Where secrets are."""
        return Secrets(self.environ, [self.vaults[name] for name in self.config.document.hub.secrets if name in self.vaults])

    def config_of(self, digest: str) -> Config:
        """The config that decided. Raises `KeyError` if it is not at hand."""
        return self.config if digest == self.config.digest else self.configs[digest]

    def runner_problem(self, agent: AgentSpec) -> UsageError | None:
        """Why this installation cannot run the agent, if it cannot."""
        available = ", ".join(sorted(self.runners))
        if agent.runner is None:
            return UsageError("no-runner", f"{agent.place}: agent '{agent.name}' has no runner; available: {available}.",
                              "Set runner: in its front matter, or defaults: {runner: ...} in the config.")  # fmt: skip
        if agent.runner not in self.runners:
            return UsageError("runner-unavailable", f"{agent.place}: this version cannot run '{agent.runner}' agents such as "
                              f"'{agent.name}'; available: {available}.")  # fmt: skip
        return None
