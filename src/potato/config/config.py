"""A config that can be used, and what loading one gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from potato.config.controls import Controls
from potato.config.models import DEFAULT_PROVIDERS, Document
from potato.config.yaml_tree import Tree
from potato.core.routing import RoutingTable
from potato.errors import ConfigError, Problem
from potato.ports import AgentSpec, Bounds
from potato.ports.session import Provider

Kind = Literal["organisation", "repository"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A config that stands below another one: the organisation's, or one repository's. `root` is a folder laid out like the repository."""

    kind: Kind
    repository: str
    root: str


@dataclass(frozen=True, slots=True)
class Config:
    """A usable config.

    `digest` covers the file and every agent file, and those of the configs above; `unenforced` names declared policies; `files` are those
    of the config's folder that belong to it. Where `layer` is set it stands below `above`, and `own` are the agents that it defines.
    """

    file: str
    folder: str
    document: Document
    table: RoutingTable
    agents: Mapping[str, AgentSpec]
    digest: str
    unenforced: tuple[str, ...]
    protected: frozenset[str]
    controls: Controls
    files: tuple[str, ...] = ()
    above: Config | None = None
    layer: Layer | None = None
    own: frozenset[str] = frozenset()

    @property
    def bounds(self) -> Bounds:
        """What a caged run may use."""
        return self.document.cage.read_bounds()

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Who answers for models."""
        return {name: model.read(name) for name, model in {**DEFAULT_PROVIDERS, **self.document.providers}.items()}

    def routable(self, agent: str) -> frozenset[str]:
        """Whom this agent may route to: one that a repository defines, to its like and to those that are offered to repositories."""
        if self.layer is None or self.layer.kind != "repository" or agent not in self.own:
            return frozenset(self.agents)
        return (self.own | frozenset(self.document.repositories.agents)) & self.agents.keys()


@dataclass(slots=True)
class Loaded:
    """`config` is absent when there are errors, `tree` knows where its parts stand; `problems` are errors and warnings in file order.

    `written` is the part of a config below another that stands in the file itself: what checks of the text look at.
    """

    config: Config | None
    tree: Tree
    problems: list[Problem] = field(default_factory=list[Problem])
    written: Config | None = None

    def require(self) -> Config:
        """The config. Raises `ConfigError` with all errors."""
        if self.config is None:
            raise ConfigError(tuple(p for p in self.problems if p.severity == "error"))
        return self.config
