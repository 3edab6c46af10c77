"""Load a config: YAML, models, expressions, agent files, cross checks; every problem at once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from potato.config.agents import AgentReader
from potato.config.builtin_names import BUILTINS
from potato.config.controls import Controls, check_controls, controls_of
from potato.config.models import Document
from potato.config.policies import check_policies
from potato.config.rules import read_rules
from potato.config.salvage import bound, salvage
from potato.config.validation import validate
from potato.config.yaml_tree import MAX_BYTES, Tree, read_tree
from potato.core.canonical import digest, digest_bytes
from potato.core.foreign import as_object
from potato.core.routing import RoutingTable
from potato.errors import ConfigError, Problem, UsageError
from potato.ports import AgentSpec

CANDIDATES: Final = ("orchestrator.yml", ".codex/orchestrator/config.yml")


@dataclass(frozen=True, slots=True)
class Config:
    """A usable config.

    `digest` covers the file and every agent file; `unenforced` names declared policies; `files` are those of the config's folder that
    belong to it.
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


@dataclass(slots=True)
class Loaded:
    """`config` is absent when there are errors, `tree` knows where its parts stand; `problems` are errors and warnings in file order."""

    config: Config | None
    tree: Tree
    problems: list[Problem] = field(default_factory=list[Problem])

    def require(self) -> Config:
        """The config. Raises `ConfigError` with all errors."""
        if self.config is None:
            raise ConfigError(tuple(p for p in self.problems if p.severity == "error"))
        return self.config


def find_config(given: str | None) -> str:
    """The path of the config: as given, else the first usual place that exists. Raises `UsageError`."""
    for path in (given,) if given else CANDIDATES:
        if os.path.isfile(path):
            return path
    if given:
        raise UsageError("config-not-found", f"there is no config at '{given}'.", "Run 'potato init', or name it by --config FILE.")
    raise UsageError("config-not-found", f"no {' or '.join(CANDIDATES)} here.", "Run 'potato init', or name it by --config FILE.")


def load_config(path: str) -> Loaded:
    """Read and check the config at `path`. Raises `UsageError` if the file cannot be read at all."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError("config-unreadable", f"'{path}' cannot be read: {error.strerror}.") from None
    with _no_collections():
        return _Loading(path, raw).load()


@contextmanager
def _no_collections() -> Iterator[None]:
    """Reading makes many objects and no garbage: looking for some takes a quarter of the time.

    Afterwards they are put among the old objects unseen, by freezing and unfreezing; not where somebody has frozen others.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


class _Loading:
    def __init__(self, path: str, raw: bytes) -> None:
        self.path = path
        self.raw = raw
        self.folder = os.path.dirname(os.path.realpath(path))
        self.tree: Tree = read_tree(path, raw)
        self.extra: list[Problem] = []

    def load(self) -> Loaded:
        if self.tree.data is None and not self.tree.problems:
            self.tree.problem(0, "empty-file", "there is nothing in it.", "Write at least 'version: 1'.")
        if self.tree.data is None:
            return Loaded(None, self.tree, self._sorted())
        bound(self.tree)
        document = validate(Document, self.tree) or salvage(self.tree.data)
        reader = AgentReader(self.tree, self.folder, document.defaults)
        agents = {name: reader.read(name, model) for name, model in document.agents.items()}
        for name in _named(document):
            if name not in agents and name in BUILTINS:
                agents[name] = reader.undefined(BUILTINS[name])
        self.extra = reader.extra
        rules = read_rules(self.tree, document, {*agents, *_keys_of(self.tree.data, "agents")})
        check_controls(self.tree, document, {*agents, *_keys_of(self.tree.data, "agents")})
        unenforced = check_policies(self.tree, document.policies)
        problems = self._sorted()
        if any(problem.severity == "error" for problem in problems):
            return Loaded(None, self.tree, problems)
        ready = {name: spec for name, spec in agents.items() if spec is not None}
        guards = frozenset(name for name, spec in ready.items() if spec.role == "guard")
        protected = frozenset(map(_in_repository, (self.path, *(os.path.join(self.folder, file) for file in reader.files))))
        config = Config(
            file=self.path,
            folder=self.folder,
            document=document,
            table=RoutingTable(rules, guards),
            agents=ready,
            digest=digest([digest_bytes(self.raw), reader.files]),
            unenforced=unenforced,
            protected=protected,
            controls=controls_of(document, ready, protected),
            files=tuple(reader.files),
        )
        return Loaded(config, self.tree, problems)

    def _sorted(self) -> list[Problem]:
        own = sorted(dict.fromkeys(self.tree.problems), key=lambda p: (p.line, p.column))
        if self.tree.unlisted:
            own.append(
                Problem(self.path, own[-1].line, own[-1].column, "too-many-problems", f"{self.tree.unlisted:,} more are not listed.")
            )
        return own + sorted(self.extra, key=lambda p: (p.file, p.line, p.column))


def _in_repository(path: str) -> str:
    """The path as a pull request would name it, taking the working directory for the repository's root."""
    return os.path.relpath(os.path.realpath(path))


def _named(document: Document) -> list[str]:
    """Every agent that a rule names."""
    return list(
        dict.fromkeys(n for rule in document.routing for item in rule.run for n in ([item] if isinstance(item, str) else item.any_of))
    )


def _keys_of(data: Any, key: str) -> list[str]:  # noqa: ANN401 - unvalidated YAML
    """The keys of a mapping that may have any shape yet."""
    return list(as_object(as_object(data).get(key)))
