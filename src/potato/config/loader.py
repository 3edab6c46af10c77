"""Load a config: YAML, models, expressions, agent files, cross checks; every problem at once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from potato.config.agents import AgentReader
from potato.config.builtin_names import BUILTINS
from potato.config.config import Config, Layer, Loaded
from potato.config.controls import check_controls, controls_of
from potato.config.layers import check_layer, merged_agents, merged_document, named_rules
from potato.config.models import Document
from potato.config.policies import check_policies, unenforced
from potato.config.rules import read_rules
from potato.config.salvage import bound, salvage
from potato.config.validation import validate
from potato.config.yaml_tree import MAX_BYTES, Tree, read_tree
from potato.core.canonical import digest, digest_bytes
from potato.core.foreign import as_object
from potato.core.routing import RoutingTable, Rule
from potato.errors import Problem, UsageError
from potato.ports import AgentSpec

CANDIDATES: Final = ("orchestrator.yml", ".codex/orchestrator/config.yml")


def find_config(given: str | None) -> str:
    """The path of the config: as given, else the first usual place that exists. Raises `UsageError`."""
    for path in (given,) if given else CANDIDATES:
        if os.path.isfile(path):
            return path
    if given:
        raise UsageError("config-not-found", f"there is no config at '{given}'.", "Run 'potato init', or name it by --config FILE.")
    raise UsageError("config-not-found", f"no {' or '.join(CANDIDATES)} here.", "Run 'potato init', or name it by --config FILE.")


def load_config(path: str, above: Config | None = None, layer: Layer | None = None) -> Loaded:
    """Read and check the config at `path`; with `above` it is put below that one, as `layer` says.

    Raises `UsageError` if the file cannot be read at all.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError("config-unreadable", f"'{path}' cannot be read: {error.strerror}.") from None
    with _no_collections():
        return _Loading(path, raw, above, layer).load()


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
    def __init__(self, path: str, raw: bytes, above: Config | None, layer: Layer | None) -> None:
        self.path = path
        self.raw = raw
        self.above = above
        self.layer = layer
        self.folder = os.path.dirname(os.path.realpath(path))
        self.tree: Tree = read_tree(self._shown(path), raw)
        self.extra: list[Problem] = []

    def load(self) -> Loaded:
        if self.tree.data is None and not self.tree.problems:
            self.tree.problem(0, "empty-file", "there is nothing in it.", "Write at least 'version: 1'.")
        if self.tree.data is None:
            return Loaded(None, self.tree, self._sorted())
        bound(self.tree)
        document = validate(Document, self.tree) or salvage(self.tree.data)
        over: Mapping[str, AgentSpec] = self.above.agents if self.above else {}
        reader = AgentReader(self.tree, self.folder, document.defaults, self._shown if self.layer else os.path.relpath)
        agents = {name: reader.read(name, model) for name, model in document.agents.items() if name not in over}
        for name in _named(document):
            if name not in agents and name in BUILTINS and name not in over:
                agents[name] = reader.undefined(BUILTINS[name])
        self.extra = reader.extra
        known = {*agents, *over, *_keys_of(self.tree.data, "agents")}
        rules = read_rules(self.tree, document, known)
        check_controls(self.tree, document, known)
        check_policies(self.tree, document.policies)
        ready = {name: spec for name, spec in agents.items() if spec is not None}
        if self.above and self.layer:
            check_layer(self.tree, document, ready, self.above, self.layer)
        problems = self._sorted()
        if any(problem.severity == "error" for problem in problems):
            return Loaded(None, self.tree, problems)
        config = self._config(document, rules, ready, reader)
        written = None
        if self.above:
            own = {name: model for name, model in document.agents.items() if name in ready}
            table = RoutingTable(config.table.rules[len(self.above.table.rules) :], config.table.guards)
            written = replace(config, document=document.model_copy(update={"agents": own}), table=table)
        return Loaded(config, self.tree, problems, written)

    def _config(self, document: Document, rules: list[Rule], agents: Mapping[str, AgentSpec], reader: AgentReader) -> Config:
        own_digest = digest([digest_bytes(self.raw), reader.files])
        protected = frozenset(map(self._in_repository, (self.path, *(os.path.join(self.folder, file) for file in reader.files))))
        own = frozenset(agents)
        if self.above and self.layer:
            rules = [*self.above.table.rules, *named_rules(rules, document.routing, self.layer)]
            agents = merged_agents(document, agents, self.above)
            document = merged_document(document, own, self.above, self.layer)
            protected |= self.above.protected
            own_digest = digest(["layer", self.above.digest, self.layer.kind, self.layer.repository, own_digest])
        guards = frozenset(name for name, spec in agents.items() if spec.role == "guard")
        return Config(
            file=self.path, folder=self.folder, document=document, table=RoutingTable(rules, guards), agents=agents, digest=own_digest,
            unenforced=unenforced(document.policies), protected=protected, controls=controls_of(document, agents, protected),
            files=tuple(reader.files), above=self.above, layer=self.layer, own=own,
        )  # fmt: skip

    def _sorted(self) -> list[Problem]:
        own = sorted(dict.fromkeys(self.tree.problems), key=lambda p: (p.line, p.column))
        if self.tree.unlisted:
            own.append(
                Problem(self.tree.file, own[-1].line, own[-1].column, "too-many-problems", f"{self.tree.unlisted:,} more are not listed.")
            )
        return own + sorted(self.extra, key=lambda p: (p.file, p.line, p.column))

    def _in_repository(self, path: str) -> str:
        """The path as a pull request would name it, taking the working directory for the repository's root where nothing else is known."""
        return os.path.relpath(os.path.realpath(path), os.path.realpath(self.layer.root) if self.layer else None)

    def _shown(self, path: str) -> str:
        """The path as messages name it."""
        return f"{self.layer.repository}:{self._in_repository(path)}" if self.layer else path


def _named(document: Document) -> list[str]:
    """Every agent that a rule names."""
    return list(
        dict.fromkeys(n for rule in document.routing for item in rule.run for n in ([item] if isinstance(item, str) else item.any_of))
    )


def _keys_of(data: Any, key: str) -> list[str]:  # noqa: ANN401 - unvalidated YAML
    """The keys of a mapping that may have any shape yet."""
    return list(as_object(as_object(data).get(key)))
