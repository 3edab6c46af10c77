"""Load a config: YAML, models, expressions, agent files, cross checks; every problem at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from potato.config.agent_file import AgentFile, confined, front_matter_data, read_agent_file
from potato.config.builtin_names import BUILTINS, Builtin
from potato.config.models import AgentModel, Document, FrontMatter, RuleModel
from potato.config.policies import FORBID, REQUIRE, identifier
from potato.config.salvage import bound, salvage
from potato.config.validation import validate
from potato.config.yaml_tree import MAX_BYTES, Place, Tree, read_tree
from potato.core.canonical import digest, digest_bytes
from potato.core.expression import ExpressionError, Node, check, parse
from potato.core.foreign import as_object
from potato.core.permission import ROLE_MAY_HOLD, Role
from potato.core.routing import Priority, RoutingTable, Rule
from potato.core.text import did_you_mean
from potato.errors import ConfigError, Problem, UsageError
from potato.ports import AgentSpec

DEFAULT_TIMEOUT_S: Final = 600.0
CANDIDATES: Final = ("orchestrator.yml", ".codex/orchestrator/config.yml")
_TRAILING_COMMENT: Final = re.compile(r"[ \t]+#")
_BLOCK_HEADER: Final = re.compile(r"[|>][^\n]*\n")


@dataclass(frozen=True, slots=True)
class Config:
    """A usable config. `digest` covers the file and every agent file; `unenforced` names declared policies."""

    file: str
    folder: str
    document: Document
    table: RoutingTable
    agents: Mapping[str, AgentSpec]
    digest: str
    unenforced: tuple[str, ...]
    protected: frozenset[str]


@dataclass(slots=True)
class Loaded:
    """`config` is absent when there are errors; `problems` are errors and warnings in file order."""

    config: Config | None
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
    return _Loading(path, raw).load()


class _Loading:
    def __init__(self, path: str, raw: bytes) -> None:
        self.path = path
        self.raw = raw
        self.folder = os.path.dirname(os.path.realpath(path))
        self.tree: Tree = read_tree(path, raw)
        self.files: dict[str, str] = {}
        self.extra: list[Problem] = []
        self.defined: set[str] = set()

    def load(self) -> Loaded:
        if self.tree.data is None and not self.tree.problems:
            self.tree.problem(0, "empty-file", "there is nothing in it.", "Write at least 'version: 1'.")
        if self.tree.data is None:
            return Loaded(None, self._sorted())
        bound(self.tree)
        document = validate(Document, self.tree) or salvage(self.tree.data)
        agents = {name: self._agent(name, model, document) for name, model in document.agents.items()}
        for name in self._named(document):
            if name not in agents and name in BUILTINS:
                agents[name] = self._undefined_builtin(BUILTINS[name])
        self.defined = {*agents, *_keys_of(self.tree.data, "agents")}
        rules = self._rules(document)
        unenforced = self._policies(document)
        problems = self._sorted()
        if any(problem.severity == "error" for problem in problems):
            return Loaded(None, problems)
        ready = {name: spec for name, spec in agents.items() if spec is not None}
        guards = frozenset(name for name, spec in ready.items() if spec.role == "guard")
        config = Config(
            file=self.path,
            folder=self.folder,
            document=document,
            table=RoutingTable(tuple(rules), guards),
            agents=ready,
            digest=digest([digest_bytes(self.raw), self.files]),
            unenforced=unenforced,
            protected=frozenset({self._in_repository(self.path), *map(self._in_repository, self.files)}),
        )
        return Loaded(config, problems)

    def _in_repository(self, path: str) -> str:
        """The path as a pull request would name it, taking the working directory for the repository's root."""
        full = os.path.realpath(os.path.join(self.folder, path) if path in self.files else path)
        return os.path.relpath(full).removeprefix("./")

    def _sorted(self) -> list[Problem]:
        own = sorted(dict.fromkeys(self.tree.problems), key=lambda p: (p.line, p.column))
        if self.tree.unlisted:
            own.append(
                Problem(self.path, own[-1].line, own[-1].column, "too-many-problems", f"{self.tree.unlisted:,} more are not listed.")
            )
        return own + sorted(self.extra, key=lambda p: (p.file, p.line, p.column))

    @staticmethod
    def _named(document: Document) -> list[str]:
        names = [n for rule in document.routing for item in rule.run for n in ([item] if isinstance(item, str) else item.any_of)]
        return list(dict.fromkeys(names))

    # agents

    def _undefined_builtin(self, builtin: Builtin) -> AgentSpec:
        return AgentSpec(
            name=builtin.name, role=builtin.role, runner="builtin", prompt="", permissions=builtin.permissions, secrets=(),
            caps={}, timeout_s=DEFAULT_TIMEOUT_S, concurrency=1, folder=self.folder, place=self.path, builtin=builtin.code,
        )  # fmt: skip

    def _agent(self, name: str, model: AgentModel, document: Document) -> AgentSpec | None:
        path = ("agents", name)
        builtin = BUILTINS.get(name)
        prompt, front = "", FrontMatter()
        if model.ref is not None and model.ref.startswith("builtin:"):
            builtin = BUILTINS.get(model.ref.removeprefix("builtin:"))
            if builtin is None:
                hint = did_you_mean(model.ref.removeprefix("builtin:"), BUILTINS) or f"Known: {', '.join(BUILTINS)}."
                self.tree.problem(self.tree.at((*path, "ref")), "unknown-builtin", f"'{model.ref}' is no built-in agent.", hint)
                return None
        elif model.ref is not None:
            read = self._agent_file(model.ref, (*path, "ref"))
            if read is None:
                return None
            prompt, front = read
        elif builtin is None and not (model.command or model.function or model.runner):
            self.tree.problem(self.tree.at(path, key=True), "missing-key", f"agent '{name}' has no ref.",
                              "Give the markdown file with its prompt: ref: ./agents/NAME.md, or ref: builtin:NAME.")  # fmt: skip
            return None
        return self._spec(name, model, front, prompt, builtin, document)

    def _agent_file(self, ref: str, path: tuple[str, ...]) -> tuple[str, FrontMatter] | None:
        try:
            file: AgentFile = read_agent_file(confined(self.folder, ref), ref)
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.tree.problem(self.tree.at(path), "bad-ref", f"{reason}.", "Refs are plain files in the config's folder.")
            return None
        self.files[os.path.normpath(ref)] = digest_bytes(file.raw)
        if file.tree is None:
            return file.prompt, FrontMatter()
        file.tree.file = os.path.relpath(os.path.join(self.folder, ref))
        front = None
        if file.tree.data is None and not file.tree.problems:
            file.tree.data = front_matter_data(file)
        if not file.tree.problems:
            front = validate(FrontMatter, file.tree)
        self.extra += file.tree.problems
        return None if front is None else (file.prompt, front)

    def _spec(self, name: str, model: AgentModel, front: FrontMatter, prompt: str, builtin: Builtin | None,
              document: Document) -> AgentSpec:  # fmt: skip
        role: Role = model.role or front.role or (builtin.role if builtin else "orchestrator")
        if model.permissions is not None:
            permissions = frozenset(model.permissions)
        else:
            permissions = builtin.permissions if builtin else frozenset[str]()
        self._cap_permissions(name, model, role)
        command = model.command or front.command or ()
        function = model.function or front.function
        runner = model.runner or front.runner or self._implied(builtin, has_command=bool(command), function=function)
        runner = runner or document.defaults.runner
        if runner == "command" and not command:
            self.tree.problem(self.tree.at(("agents", name), key=True), "missing-key", f"agent '{name}' has no command.",
                              "The runner 'command' needs command: [argv, ...].")  # fmt: skip
        if runner == "python" and not function:
            self.tree.problem(self.tree.at(("agents", name), key=True), "missing-key", f"agent '{name}' has no function.",
                              "The runner 'python' needs function: module:name or an entry point's name.")  # fmt: skip
        if runner == "builtin" and builtin is None:
            self.tree.problem(self.tree.at(("agents", name), key=True), "unknown-builtin", f"no built-in agent is called '{name}'.",
                              f"Write ref: builtin:NAME with one of {', '.join(BUILTINS)}.")  # fmt: skip
        files = self._files((*(model.files or ()), *(front.files or ())), name)
        line, column = self.tree.position(self.tree.at(("agents", name), key=True))
        limits = {str(kind): count for part in (front.limits, model.limits) if part for kind, count in part.items()}
        return AgentSpec(
            name=name, role=role, runner=runner, prompt=prompt, permissions=permissions, secrets=tuple(model.secrets), caps=limits,
            timeout_s=model.timeout or front.timeout or document.defaults.timeout or DEFAULT_TIMEOUT_S,
            concurrency=model.concurrency, folder=self.folder, place=f"{self.path}:{line}:{column}",
            builtin=builtin.code if builtin else None, command=tuple(command), function=function,
            sandbox=model.sandbox or front.sandbox or document.defaults.sandbox or "auto", model=model.model or front.model, files=files,
        )  # fmt: skip

    @staticmethod
    def _implied(builtin: Builtin | None, *, has_command: bool, function: str | None) -> str | None:
        if has_command:
            return "command"
        if function:
            return "python"
        return "builtin" if builtin else None

    def _cap_permissions(self, name: str, model: AgentModel, role: Role) -> None:
        for index, permission in enumerate(model.permissions or ()):
            if permission not in ROLE_MAY_HOLD[role]:
                self.tree.problem(self.tree.at(("agents", name, "permissions", index)), "permission-beyond-role",
                                  f"'{name}' has the role '{role}', which can never hold '{permission}'.",
                                  "Remove it, or give the work to an agent of another role.")  # fmt: skip

    def _files(self, refs: tuple[str, ...], name: str) -> tuple[str, ...]:
        paths: list[str] = []
        for ref in refs:
            try:
                paths.append(confined(self.folder, ref))
            except ValueError as error:
                self.tree.problem(
                    self.tree.at(("agents", name, "files")), "bad-ref", f"{error}.", "Files are plain files in the config's folder."
                )
        return tuple(paths)

    # rules

    def _rules(self, document: Document) -> list[Rule]:
        names: dict[str, int] = {}
        rules: list[Rule] = []
        for index, model in enumerate(document.routing):
            line, _ = self.tree.position(self.tree.at(("routing", index)))
            name = model.name or f"r{line}"
            if model.name and name in names:
                self.tree.problem(
                    self.tree.at(("routing", index, "name")), "duplicate-name", f"the rule on line {names[name]} is '{name}' too."
                )
            names[name] = line
            self._check_run(index, model)
            parsed = self._expression(index, model)
            if parsed is not None:
                groups = tuple((item,) if isinstance(item, str) else tuple(item.any_of) for item in model.run)
                rules.append(Rule.compiled(name, line, *parsed, groups, Priority[model.priority.upper()], stop=model.stop))
        return rules

    def _check_run(self, index: int, model: RuleModel) -> None:
        for at, item in enumerate(model.run):
            for name in [item] if isinstance(item, str) else item.any_of:
                if name not in self.defined:
                    hint = (
                        did_you_mean(name, [*self.defined, *BUILTINS])
                        or f"Define it under 'agents:', or use a built-in: {', '.join(BUILTINS)}."
                    )
                    self.tree.problem(self.tree.at(("routing", index, "run", at)), "unknown-agent", f"no agent is called '{name}'.", hint)

    def _expression(self, index: int, model: RuleModel) -> tuple[str, Node] | None:
        place = self.tree.places.get(("routing", index, "if"))
        if place is None or not isinstance(model.if_, str):  # type: ignore[reportUnnecessaryIsInstance] # a salvaged rule may lack it
            return None
        text, offset = self._expression_text(place, model.if_)
        try:
            node = parse(text)
        except ExpressionError as error:
            self.tree.problem(offset(error.span[0]), error.code, f"{error.message}.", error.hint)
            return None
        for finding in check(node):
            self.tree.problem(offset(finding.span[0]), finding.code, finding.message, finding.hint, finding.severity)
        self._warn_of_comment(place)
        return text, node

    def _expression_text(self, place: Place, value: str) -> tuple[str, Callable[[int], int]]:
        """The expression as written, and a function from its offsets to the file's."""
        source, start = self.tree.source[place.start : place.end], place.start
        if place.style in ("|", ">"):
            header = _BLOCK_HEADER.match(source)
            skip = header.end() if header else 0
            return source[skip:], lambda at: start + skip + at
        if place.style:
            inner = source[1:-1]
            if inner == value:
                return inner, lambda at: start + 1 + at
            return value, lambda _at: start
        return source, lambda at: start + at

    def _warn_of_comment(self, place: Place) -> None:
        end = place.start + len(self.tree.source[place.start : place.end].rstrip())
        if not place.style and _TRAILING_COMMENT.match(self.tree.source, end):
            self.tree.problem(end, "comment-after-if", "' #' starts a comment here; the rule ends before it.",
                              "If it belongs to the rule, quote the whole expression.", "warning")  # fmt: skip

    # policies

    def _policies(self, document: Document) -> tuple[str, ...]:
        policies = document.policies
        for key, known in (("forbid", FORBID), ("require", REQUIRE)):
            for index, text in enumerate(getattr(policies, key)):
                name = identifier(text)
                if name not in known:
                    hint = did_you_mean(name or text, known) or f"Known: {', '.join(known)}."
                    self.tree.problem(
                        self.tree.at(("policies", key, index)), "unknown-policy", f"'{text[:60]}' is no policy to {key}.", hint
                    )
        versions = [f"{name}: {value}" for name in ("node_version", "python_version") if (value := getattr(policies, name))]
        return (*versions, *(f"forbid {name}" for name in policies.forbid), *(f"require {name}" for name in policies.require))


def _keys_of(data: Any, key: str) -> list[str]:  # noqa: ANN401 - unvalidated YAML
    """The keys of a mapping that may have any shape yet."""
    return list(as_object(as_object(data).get(key)))
