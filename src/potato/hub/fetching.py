"""A repository's config with all its files, fetched at one commit."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from potato.config.loader import CANDIDATES
from potato.config.references import is_agent_file, references, references_of_agent, references_of_tests
from potato.config.rule_tests import ENDINGS
from potato.core.canonical import digest, digest_bytes
from potato.errors import PotatoError
from potato.ports.hub import Sources

_MOST: Final = 300
_MOST_BYTES: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Fetched:
    """`file` is the config's own path; all paths are relative to the repository."""

    file: str
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Equal for equal files."""
        return digest(["files", self.file, {path: digest_bytes(data) for path, data in self.files.items()}])


async def fetch_config(sources: Sources, repository: str, sha: str, *, tests: bool = False) -> Fetched | None:
    """The config and whatever it names; nothing if there is none. With `tests`, also the rules' tests beside it.

    What it names and is not there is left out: loading says so at its place. Raises `PotatoError` when the forge cannot answer, and
    `config-unreadable` for what is no plain file, or too much.
    """
    for file in CANDIDATES:
        raw = await sources.file(repository, file, sha)
        if raw is not None:
            return Fetched(file, await _Fetch(sources, repository, sha, file).all(raw, tests=tests))
    return None


class _Fetch:
    def __init__(self, sources: Sources, repository: str, sha: str, file: str) -> None:
        self.sources = sources
        self.repository = repository
        self.sha = sha
        self.folder = posixpath.dirname(file)
        self.files: dict[str, bytes] = {}
        self.file = file

    async def all(self, raw: bytes, *, tests: bool) -> Mapping[str, bytes]:
        self._keep(self.file, raw)
        for reference in references(raw):
            found = await self._get(reference)
            if found is not None and is_agent_file(reference):
                for further in references_of_agent(found):
                    await self._get(further)
        if tests:
            for name in await self.sources.names(self.repository, self.folder, self.sha):
                if name.endswith(ENDINGS):
                    for payload in references_of_tests(await self._get(name) or b""):
                        await self._get(payload)
        return self.files

    async def _get(self, reference: str) -> bytes | None:
        """A file below the config's folder; what would lie elsewhere is not looked for, and loading refuses it."""
        path = posixpath.normpath(posixpath.join(self.folder, reference))
        inside = not self.folder or path.startswith(f"{self.folder}/")
        if not inside or path.startswith(("../", "/")) or path in ("..", ".") or path in self.files:
            return self.files.get(path)
        found = await self.sources.file(self.repository, path, self.sha)
        if found is not None:
            self._keep(path, found)
        return found

    def _keep(self, path: str, data: bytes) -> None:
        self.files[path] = data
        if len(self.files) > _MOST or sum(map(len, self.files.values())) > _MOST_BYTES:
            raise PotatoError("config-unreadable", f"the config of {self.repository} has more than {_MOST} files or 16 MB.")


def path_below(root: str, file: str) -> str:
    """Where a fetched file lies once it is laid out."""
    return os.path.join(root, *file.split("/"))
