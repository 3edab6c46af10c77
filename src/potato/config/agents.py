"""An agent's definition, its markdown file and the built-in of its name -> what the hub needs to run it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Final

from potato.config.agent_file import AgentFile, confined, read_agent_file
from potato.config.builtin_names import BUILTINS, Builtin
from potato.config.models import AgentModel, Defaults, FrontMatter
from potato.config.validation import validate
from potato.config.yaml_tree import Tree
from potato.core.canonical import digest_bytes
from potato.core.permission import ROLE_MAY_HOLD, Role
from potato.core.text import did_you_mean
from potato.errors import Problem
from potato.ports import AgentSpec

DEFAULT_TIMEOUT_S: Final = 600.0


class AgentReader:
    """Reads the agents of one config. `files` maps each file that belongs to the config to its digest; `shown` names a file in messages."""

    def __init__(self, tree: Tree, folder: str, defaults: Defaults, shown: Callable[[str], str] = os.path.relpath) -> None:
        self.tree = tree
        self.folder = folder
        self.defaults = defaults
        self.shown = shown
        self.files: dict[str, str] = {}
        self.extra: list[Problem] = []

    def undefined(self, builtin: Builtin) -> AgentSpec:
        """A built-in agent that a rule names and nothing defines: its least permissions."""
        return AgentSpec(
            name=builtin.name, role=builtin.role, runner="builtin", prompt="", permissions=builtin.permissions, secrets=(),
            caps={}, timeout_s=DEFAULT_TIMEOUT_S, concurrency=None, folder=self.folder, place=self.tree.file, builtin=builtin.code,
        )  # fmt: skip

    def read(self, name: str, model: AgentModel) -> AgentSpec | None:
        """The agent as defined; nothing, and a problem in the tree, if it cannot be used."""
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
                              "Give ref: ./agents/NAME.md, ref: builtin:NAME, command: [argv] or function: module:name.")  # fmt: skip
            return None
        return self._spec(name, model, front, prompt, builtin)

    def _agent_file(self, ref: str, path: tuple[str, ...]) -> tuple[str, FrontMatter] | None:
        try:
            file: AgentFile = read_agent_file(confined(self.folder, ref), ref)
        except (ValueError, OSError) as error:
            self.tree.problem(self.tree.at(path), "bad-ref", f"{_reason(error)}.", "Refs are plain files in the config's folder.")
            return None
        self.files[os.path.normpath(ref)] = digest_bytes(file.raw)
        if file.tree is None:
            return file.prompt, FrontMatter()
        file.tree.file = self.shown(os.path.join(self.folder, ref))
        front = None
        if file.tree.data is None and not file.tree.problems:
            file.tree.data = {}
        if not file.tree.problems:
            front = validate(FrontMatter, file.tree)
        self.extra += file.tree.problems
        return None if front is None else (file.prompt, front)

    def _spec(self, name: str, model: AgentModel, front: FrontMatter, prompt: str, builtin: Builtin | None) -> AgentSpec:
        role: Role = model.role or front.role or (builtin.role if builtin else "orchestrator")
        if model.permissions is not None:
            permissions = frozenset(model.permissions)
        else:
            permissions = builtin.permissions if builtin else frozenset[str]()
        self._cap_permissions(name, model, role)
        command = model.command or front.command or ()
        function = model.function or front.function
        runner = model.runner or front.runner or self._implied(builtin, has_command=bool(command), function=function)
        runner = runner or self.defaults.runner
        if runner == "command" and not command:
            self.tree.problem(self.tree.at(("agents", name), key=True), "missing-key", f"agent '{name}' has no command.",
                              "The runner 'command' needs command: [argv, ...].")  # fmt: skip
        if runner == "python" and not function:
            self.tree.problem(self.tree.at(("agents", name), key=True), "missing-key", f"agent '{name}' has no function.",
                              "The runner 'python' needs function: module:name or an entry point's name.")  # fmt: skip
        if runner == "acp" and not command:
            self.tree.problem(self.tree.at(("agents", name), key=True), "missing-key", f"agent '{name}' has no command.",
                              "The runner 'acp' needs command: [argv, ...] of an agent that speaks ACP.")  # fmt: skip
        if runner == "http" and not (model.url and model.signing_secret):
            missing = "signing_secret" if model.url else "url"
            self.tree.problem(self.tree.at(("agents", name), key=True), "missing-key", f"agent '{name}' has no {missing}.",
                              "The runner 'http' needs url: https://... and signing_secret: NAME.")  # fmt: skip
        if runner == "builtin" and builtin is None:
            self.tree.problem(self.tree.at(("agents", name), key=True), "unknown-builtin", f"no built-in agent is called '{name}'.",
                              f"Write ref: builtin:NAME with one of {', '.join(BUILTINS)}.")  # fmt: skip
        files = self._files((*(model.files or ()), *(front.files or ())), name)
        self._own_programs(command)
        self._warn_of_command(name, command)
        line, column = self.tree.position(self.tree.at(("agents", name), key=True))
        limits = {str(kind): count for part in (front.limits, model.limits) if part for kind, count in part.items()}
        return AgentSpec(
            name=name, role=role, runner=runner, prompt=prompt, permissions=permissions, secrets=tuple(model.secrets), caps=limits,
            timeout_s=model.timeout or front.timeout or self.defaults.timeout or DEFAULT_TIMEOUT_S,
            concurrency=model.concurrency, rate=(model.rate.runs, model.rate.per) if model.rate else None,
            cooldown_s=model.cooldown or 0.0, folder=self.folder, place=f"{self.tree.file}:{line}:{column}",
            builtin=builtin.code if builtin else None, command=tuple(command), function=function,
            sandbox=model.sandbox or front.sandbox or self.defaults.sandbox or "auto", model=model.model or front.model, files=files,
            models=tuple(model.models or front.models or ()), tools=tuple(model.tools or front.tools or ()),
            paths=tuple(model.paths or (builtin.paths if builtin else ())), egress=tuple(model.egress), url=model.url,
            signing_secret=model.signing_secret, internal=model.internal, environment=dict(model.environment),
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
                paths.append(self._covered(confined(self.folder, ref)))
            except (ValueError, OSError) as error:
                self.tree.problem(
                    self.tree.at(("agents", name, "files")),
                    "bad-ref",
                    f"{_reason(error)}.",
                    "Files are plain files in the config's folder.",
                )
        return tuple(paths)

    def _own_programs(self, command: Sequence[str]) -> None:
        """Programs that lie beside the config belong to it: they are in its digest, and agents cannot change them unseen."""
        for part in command:
            try:
                self._covered(confined(self.folder, part))
            except (ValueError, OSError):
                continue

    def _warn_of_command(self, name: str, command: Sequence[str]) -> None:
        """A program that is not there now may be later, so this is no error."""
        program = os.path.join(self.folder, command[0]) if command and "/" in command[0] else ""
        if program and shutil.which(program) is None:
            why = "is not executable" if os.path.isfile(program) else "does not exist here"
            self.tree.problem(self.tree.at(("agents", name), key=True), "program-missing", f"'{command[0]}' of agent '{name}' {why}.",
                              "", "warning")  # fmt: skip

    def _covered(self, path: str) -> str:
        """Put a file into the config's digest. Raises `OSError`."""
        with open(path, "rb") as file:
            self.files[os.path.relpath(path, self.folder)] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        return path


def _reason(error: ValueError | OSError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)
