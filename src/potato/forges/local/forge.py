"""The local forge: no network. Facts come from the caller, effects are staged and shown.

Whoever runs it vouches for the event: it is trusted unless the payload shows a fork.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from potato.core.approval import Standing
from potato.core.event import Event, Facts
from potato.core.fields import FIELDS
from potato.core.paths import unsafe_path
from potato.core.proposal import Action, arguments, kind_of
from potato.core.strict_json import parse_object
from potato.core.text import did_you_mean, printable
from potato.core.value import Partial, Value
from potato.errors import PotatoError, UsageError
from potato.forges.git import git, taken
from potato.ports import Checkout, Effect, HeadReport, Piece

_LARGEST: Final = 1 << 20
_LISTS: Final = frozenset({"paths", "jobs", "files"})
_TEXTS: Final = frozenset({"logs", "codeowners"})
_KNOWN: Final = _LISTS | _TEXTS


def read_facts(data: bytes, what: str) -> dict[str, Any]:
    """The facts of a file: `paths`, `jobs` (names), `files` (as agents see them), `logs`, `codeowners`. Raises `UsageError`."""
    facts = parse_object(data, what)
    for name, value in facts.items():
        if name not in _KNOWN:
            hint = did_you_mean(name, _KNOWN) or f"Known: {', '.join(sorted(_KNOWN))}."
            raise UsageError("unknown-fact", f"{what}: '{printable(name, 60)}' is no fact.", hint)
        if name in _TEXTS and not isinstance(value, str):
            raise UsageError("wrong-shape", f"{what}: '{name}' must be text.")
        if name in _LISTS and not _is_list(value, of=dict if name == "files" else str):
            raise UsageError("wrong-shape", f"{what}: '{name}' must be a list of {'objects' if name == 'files' else 'text'}.")
    for file in facts.get("files", []):
        if not isinstance(file.get("path"), str) or not all(type(file.get(name, 0)) is int for name in ("additions", "deletions")):
            raise UsageError("wrong-shape", f"{what}: each of 'files' needs a 'path', and whole numbers as 'additions' and 'deletions'.")
        if not isinstance(file.get("patch"), (str, type(None))):
            raise UsageError("wrong-shape", f"{what}: a 'patch' must be text.")
    return facts


def _is_list(value: Any, of: type) -> bool:  # noqa: ANN401 - foreign JSON
    return isinstance(value, list) and all(isinstance(item, of) for item in cast("list[Any]", value))


class LocalForge:
    """Answers from the payload and the given facts; applies nothing."""

    kind = "local"

    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        self._facts = dict(facts or {})

    async def fetch_facts(self, event: Event, needs: frozenset[str]) -> Facts:
        """What was given, where the event can have it; the rest stays unknown."""
        fields: dict[str, Value] = {"trusted": event.fields.get("fork") is not True}
        paths = self._paths()
        if paths is not None and event.event in FIELDS["path"].events:
            fields["path"] = paths
        if "jobs" in self._facts and event.event == "workflow_run":
            known = event.fields.get("job")
            own = known.values if isinstance(known, Partial) else ()
            fields["job"] = tuple(dict.fromkeys((*own, *self._facts["jobs"])))
        missing = [
            f'{need} were not given: pass --facts FILE with {{"{need}": [...]}}'
            for need in sorted(needs & {"paths", "jobs"})
            if need not in self._facts
        ]
        return Facts(fields, tuple(missing))

    def _paths(self) -> tuple[str, ...] | None:
        if "paths" in self._facts:
            return tuple(self._facts["paths"])
        if "files" in self._facts:
            return tuple(str(file.get("path", "")) for file in self._facts["files"])
        return None

    async def read(self, event: Event, permissions: frozenset[str]) -> Mapping[str, Any]:
        """The given facts that the permissions cover."""
        shown: dict[str, Any] = {}
        if "read_pull_request" in permissions:
            paths = self._paths()
            known = event.fields.get("path")
            if paths is None and isinstance(known, tuple):
                paths = known
            if "files" in self._facts:
                shown["files"] = self._facts["files"]
            elif paths is not None:
                shown["files"] = [{"path": path} for path in paths]
            if "codeowners" in self._facts:
                shown["codeowners"] = self._facts["codeowners"]
        if "read_ci_logs" in permissions:
            shown |= {name: self._facts[name] for name in ("jobs", "logs") if name in self._facts}
        return shown

    async def consult(self, event: Event, tool: str, arguments: Mapping[str, Any]) -> Sequence[Piece]:
        """What the payload, the given facts and the repository here say. Whoever vouches for the event vouches for its author."""
        fields = event.fields
        trusted = fields.get("trusted") is True
        author = fields.get("author")
        who = author if isinstance(author, str) else None
        pieces: list[Piece] = []
        if tool in ("read_pull_request", "read_issues"):
            texts = [what for what in ("title", "body") if isinstance(fields.get(what), str)]
            pieces = [Piece(what, str(fields[what]), who, trusted=trusted) for what in texts]
        if tool == "read_pull_request":
            pieces += [Piece("file", str(file.get("patch") or ""), who, more={"path": str(file.get("path"))}, markdown=False)
                       for file in self._facts.get("files", [])]  # fmt: skip
        if tool == "read_ci_logs" and "logs" in self._facts:
            pieces.append(Piece("log", self._facts["logs"], None, markdown=False))
        if tool == "read_file":
            return [await _file(event, str(arguments.get("path", "")))]
        if not pieces:
            raise PotatoError("nothing-to-read", "the local forge has no such thing; pass --facts FILE.")
        return pieces

    async def checkout(self, event: Event) -> Checkout | None:
        """The event's commit from the repository that this process stands in; where it is not there, what is checked out."""
        found = await _here(event)
        return await taken(*found) if found else None

    async def head(self, event: Event) -> str | None:
        """As the payload says."""
        return event.head_sha

    async def whoami(self) -> str:
        """Nothing is written, so nobody writes it."""
        return "potato[local]"

    async def standing(self, repository: str, login: str, teams: frozenset[str]) -> Standing:  # noqa: ARG002 - the port's face
        """Whoever runs it vouches for those who answer."""
        return Standing(login, "write", teams)

    async def author(self, repository: str, number: int) -> str:  # noqa: ARG002 - the port's face
        """Nobody can be asked."""
        return ""

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:  # noqa: ARG002 - the port's face
        """Stage it: say what would be done."""
        return Effect("staged", f"would {kind_of(action).replace('_', ' ')}{_target(event)}: {_short(action)}")

    async def stale(self, event: Event) -> str | None:  # noqa: ARG002 - the port's face
        """The payload is all there is, so it is current."""
        return None

    async def tell(self, told: HeadReport) -> None:
        """Nobody looks at commits here."""

    async def close(self) -> None:
        """Nothing to give back."""


async def _here(event: Event) -> tuple[str, str] | None:
    """(git folder, commit) of the repository that this process stands in, if it does."""
    folder = os.getcwd()
    try:
        git_dir = (await git(None, "rev-parse", "--absolute-git-dir", folder=folder)).decode().rstrip("\n")
    except PotatoError:
        return None
    for wanted in (event.head_sha, "HEAD"):
        with contextlib.suppress(PotatoError):
            if wanted is not None:
                name = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}")
                return git_dir, (await git(git_dir, *name)).decode().strip()
    return None


async def _file(event: Event, path: str) -> Piece:
    """A file of that commit. Raises `PotatoError` (`nothing-to-read`)."""
    problem = unsafe_path(path)
    if problem:
        raise PotatoError("nothing-to-read", f"the path is refused: {problem}.")
    found = await _here(event)
    if found is None:
        raise PotatoError("nothing-to-read", "there is no git repository here to read files of.")
    git_dir, commit = found
    try:
        told = await git(git_dir, "cat-file", "--batch-check=%(objecttype) %(objectsize)", data=os.fsencode(f"{commit}:{path}\n"))
        kind, _, size = told.decode().strip().partition(" ")
        if kind != "blob" or int(size) > _LARGEST:
            raise PotatoError("nothing-to-read", f"there is no such file in commit {commit[:12]}, or it is over {_LARGEST:,} bytes.")
        text = (await git(git_dir, "cat-file", "blob", f"{commit}:{path}")).decode("utf-8")
    except UnicodeDecodeError:
        raise PotatoError("nothing-to-read", "the file is no text.") from None
    return Piece("file", text, None, more={"path": path, "commit": commit}, markdown=False)


def _target(event: Event) -> str:
    return f" on {event.repository or '?'}{f'#{event.number}' if event.number else ''}"


def _short(action: Action) -> str:
    args = arguments(action)
    for name in ("labels", "title", "body", "name", "reviewers", "workflow", "branch", "reason"):
        if args.get(name):
            value = args[name]
            text = ", ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)
            return printable(" ".join(text.split()), 80)
    return printable(str(args), 80)
