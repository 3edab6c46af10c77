"""Which config holds where: the hub's own file, below it the organisation's, below that each repository's.

Each is read from the default branch at a commit that is kept; what cannot be used is told, and the last good one stays. A hub that has no
config of its organisation decides nothing: its rules could be the ones that forbid.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from potato.config.config import Config, Kind, Layer, Loaded
from potato.config.controls import Guard
from potato.config.loader import load_config
from potato.config.snapshot import lay_out, snapshot
from potato.core import neutralise
from potato.core.admission import Limits
from potato.core.budget import Budgets
from potato.core.event import Event
from potato.core.text import printable
from potato.errors import TRANSIENT, AuthError, ConfigError, PotatoError
from potato.hub.fetching import Fetched, fetch_config, path_below
from potato.ports import Entry, Forge, HeadReport
from potato.ports.hub import Adoption, Adoptions, Configs, Sources

CHECK: Final = "potato config"
"""The name of the check run about configs."""

PROPOSING: Final = frozenset({"opened", "synchronize", "reopened"})
"""What happens to pull requests when their commits change."""

HUB: Final = ""
"""Where the hub's own file stands among the adoptions."""

UNAVAILABLE: Final = "configuration-unavailable"
_BEAT_S: Final = 1.0
_ASK_S: Final = 15.0
_TEXT: Final = 2000
_LOG = logging.getLogger("potato")


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where configs come from and are kept. Without `sources` there is only the hub's own file. Files are laid out below `folder`."""

    sources: Sources | None
    adoptions: Adoptions
    configs: Configs
    forge: Forge
    folder: str


class Book:
    """It lives in one loop. `generation` counts how often another config came to hold somewhere."""

    def __init__(self, config: Config, keeping: Keeping) -> None:
        self._hub = config
        self._keeping = keeping
        self._setting = config.document.hub.configuration
        self._organisation: Config | None = None
        self._known: dict[str, Config] = {}
        self._rows: dict[str, Adoption] = {}
        self._version = 0
        self._looked: set[str] = set()
        self._looking: dict[str, asyncio.Lock] = {}
        self._stamp = _stamp(config)
        self.generation = 0

    # what holds

    @property
    def base(self) -> Config:
        """What holds where no repository's config does. Before the organisation's is known it is the hub's own."""
        return self._organisation or self._hub

    def known(self, repository: str | None) -> Config | None:
        """What holds there, if that is known without asking anybody."""
        if self._setting.organisation and self._organisation is None:
            return None
        return self._known.get(_key(repository)) if self.covers(repository) else self.base

    def current(self, repository: str | None) -> Config:
        """What holds there as far as is known."""
        return self.known(repository) or self.base

    def covers(self, repository: str | None) -> bool:
        """Whether the repository's own config is read. The organisation's is not put below itself."""
        name = _key(repository)
        if not name or name == _key(self._setting.organisation):
            return False
        return any(fnmatchcase(name, pattern.casefold()) for pattern in self._setting.repositories)

    def concerned(self, event: Event) -> bool:
        """Whether it may bring another config, or proposes one."""
        if event.event == "push" or (event.event == "pull_request" and event.action in PROPOSING):
            return self.covers(event.repository) or self.is_organisation(event.repository)
        return False

    def is_organisation(self, repository: str | None) -> bool:
        """Whether the organisation's config stands there."""
        return bool(repository) and _key(repository) == _key(self._setting.organisation)

    def guards(self) -> list[Guard]:
        """Every guard of every config."""
        return [*self.base.controls.guards, *(guard for config in self._known.values() for guard in _own_guards(config))]

    def limits(self) -> Limits:
        """How much goes on at once: the hub's and the organisation's to say."""
        over = self._hub.document.hub.concurrency
        agents = self.base.agents.items()
        return Limits(
            everywhere=over.everywhere, organisation=over.organisation, repository=over.repository,
            agents={name: spec.concurrency for name, spec in agents if spec.concurrency is not None}, rates=self.rates(),
        )  # fmt: skip

    def rates(self) -> Mapping[str, tuple[int, float]]:
        """See `potato.ports.hub.Terms`."""
        return {name: spec.rate for name, spec in self.base.agents.items() if spec.rate is not None}

    def cooldown_s(self, repository: str | None, agent: str) -> float:
        """See `potato.ports.hub.Terms`."""
        spec = self.current(repository).agents.get(agent)
        return spec.cooldown_s if spec else 0.0

    def budgets(self, repository: str | None) -> Budgets:
        """See `potato.ports.hub.Terms`."""
        return self.current(repository).controls.budgets

    async def get(self, repository: str | None) -> Config:
        """What holds there, asked for if need be. Raises `PotatoError`: without an answer nothing may be decided there."""
        await self._first_look(self._setting.organisation, "organisation")
        if self._setting.organisation and self._organisation is None:
            row = self._rows.get(_key(self._setting.organisation))
            why = row.problem if row else "it has not been read yet"
            raise PotatoError(UNAVAILABLE, f"the organisation's config in {self._setting.organisation} cannot be used: {why}")
        if self.covers(repository):
            await self._first_look(repository, "repository")
        return self.current(repository)

    async def _first_look(self, repository: str | None, kind: Kind) -> None:
        """The first time, what is kept holds if the forge does not tell; without anything kept, nothing can be decided there."""
        if repository is None or _key(repository) in self._looked:
            return
        if self._keeping.sources is None:
            if not self._rows:
                await self._recall()
            self._looked.add(_key(repository))
            await self._build(repository, kind)
            return
        try:
            await self.look(repository)
        except PotatoError as error:
            if _key(repository) not in self._rows:
                raise PotatoError(UNAVAILABLE, f"the config of {repository} cannot be read: {error.message}") from None
            _LOG.warning("the config of %s is the one kept: %s", repository, error)
            await self._build(repository, kind)

    # looking

    async def heard(self, event: Event) -> None:
        """A push may bring another config. Raises `PotatoError` when the forge does not answer right now."""
        if event.event == "push" and self.concerned(event):
            try:
                await self.look(event.repository or "")
            except PotatoError as error:
                if error.code in TRANSIENT or isinstance(error, AuthError):
                    raise
                _LOG.warning("the config of %s cannot be looked at: %s", event.repository, error)

    async def look(self, repository: str) -> None:
        """Read the repository's config anew, if its default branch has moved. Raises `PotatoError` when the forge does not answer."""
        sources = self._keeping.sources
        if sources is None:
            return
        key = _key(repository)
        kind: Kind = "organisation" if self.is_organisation(repository) else "repository"
        if kind == "repository":
            await self._first_look(self._setting.organisation, "organisation")
            if self._setting.organisation and self._organisation is None:
                return  # there is nothing yet to put it below
        async with self._looking.setdefault(key, asyncio.Lock()):
            sha = await sources.head(repository) or ""
            row, first = self._rows.get(key), key not in self._looked
            if row is None or not sha or sha not in (row.sha, row.problem_sha) or (row.problem and (first or sha == row.sha)):
                await self._read(sources, repository, kind, sha)
            elif first:
                await self._build(repository, kind)
            self._looked.add(key)

    async def _read(self, sources: Sources, repository: str, kind: Kind, sha: str) -> None:
        row = self._rows.get(_key(repository))
        try:
            fetched = await fetch_config(sources, repository, sha) if sha else None
        except PotatoError as error:
            if error.code != "config-unreadable":
                raise
            await self._refuse(repository, kind, sha, error.message)
            return
        if fetched is None and (kind == "organisation" or (not sha and row is not None and row.own)):
            await self._refuse(repository, kind, sha, f"{repository} has no config, or cannot be seen.")
            return
        if fetched is None and (row is None or not (row.own or row.problem)):
            self._note(Adoption(_key(repository), sha, ""))
            self._put_in_use(repository, kind, self.base)
            return
        try:
            config = await self._load(repository, kind, fetched) if fetched else self.base
        except PotatoError as error:
            await self._refuse(repository, kind, sha, problems_of(error))
            return
        own = fetched.digest if fetched else ""
        if fetched:
            await asyncio.to_thread(self._keeping.configs.keep, own, fetched.file, fetched.files)
        entry = Entry("config", {"repository": repository, "sha": sha, "config": config.digest, "files": own, "kind": kind})
        self._note(await asyncio.to_thread(self._keeping.adoptions.put, Adoption(_key(repository), sha, own), entry))
        await self._build(repository, kind)
        _LOG.info("the config of %s at %s is in use", repository, sha[:12])
        if row is not None and row.problem:
            await self._tell(HeadReport(repository, sha, "in use", "The hub uses the config of this commit.", "success", name=CHECK))

    async def _refuse(self, repository: str, kind: Kind, sha: str, problem: str) -> None:
        """The last good one stays; everybody who can do something about it is told."""
        row = self._rows.get(_key(repository))
        kept = row.sha if row else ""
        if row is not None and (row.problem, row.problem_sha) == (_one_line(problem), sha):
            await self._build(repository, kind)
            return
        entry = Entry("config-refused", {"repository": repository, "sha": sha, "kind": kind, "in_use": kept})
        refused = Adoption(_key(repository), kept, row.own if row else "", _one_line(problem), sha)
        self._note(await asyncio.to_thread(self._keeping.adoptions.put, refused, entry))
        await self._build(repository, kind)
        _LOG.error("the config of %s at %s is not used: %s", repository, sha[:12], problem.replace("\n", "; "))
        instead = f"The one of {kept[:12]} stays in use." if kept else "Nothing of it is in use."
        text = f"The hub cannot use the config of this commit. {instead}\n\n{as_block(problem)}"
        if sha:
            await self._tell(HeadReport(repository, sha, "cannot be used", text, "failure", name=CHECK))

    async def _tell(self, report: HeadReport) -> None:
        try:
            await self._keeping.forge.tell(report)
        except PotatoError as error:
            _LOG.warning("check run '%s' on %s: %s", report.name, report.repository, error)

    # building

    async def _load(self, repository: str, kind: Kind, fetched: Fetched) -> Config:
        """Put it below the config above. Raises `PotatoError`."""
        loaded, _ = await asyncio.to_thread(load_fetched, self._keeping.folder, fetched, self._above(kind), kind, repository)
        return loaded.require()

    async def proposed(self, repository: str, fetched: Fetched) -> tuple[Loaded, str]:
        """What would hold there with other files, and where these lie."""
        kind: Kind = "organisation" if self.is_organisation(repository) else "repository"
        return await asyncio.to_thread(load_fetched, self._keeping.folder, fetched, self._above(kind), kind, repository)

    async def _build(self, repository: str, kind: Kind) -> None:
        """From the files that are kept. Where they do not go with the config above any more, that one holds alone."""
        row = self._rows.get(_key(repository))
        config: Config | None = None
        while row is not None and row.own and (config is None or config.above is not self._above(kind)):  # that may change meanwhile
            try:
                config = await self._kept(row.own, repository, kind)
            except PotatoError as error:
                if not row.problem:
                    entry = Entry("config-refused", {"repository": repository, "sha": row.sha, "kind": kind, "in_use": ""})
                    broken = replace(row, problem=_one_line(problems_of(error)), problem_sha=row.sha)
                    self._note(await asyncio.to_thread(self._keeping.adoptions.put, broken, entry))
                config = None
                break
        if config is not None or kind == "repository":
            self._put_in_use(repository, kind, config or self.base)
        if kind == "organisation":
            await self._rebuild()

    async def _kept(self, own: str, repository: str, kind: Kind) -> Config:
        """The config of files that are kept. Raises `PotatoError` if it does not go with the one above."""
        found = await asyncio.to_thread(self._keeping.configs.read, own)
        if found is None:
            raise PotatoError("config-unreadable", "its files are not in the database any more.")
        config = await self._load(repository, kind, Fetched(*found))
        await asyncio.to_thread(self._keep, config)
        return config

    def _above(self, kind: Kind) -> Config:
        return self._hub if kind == "organisation" else self.base

    def _put_in_use(self, repository: str, kind: Kind, config: Config) -> None:
        if kind == "organisation":
            self._organisation = config
        else:
            self._known[_key(repository)] = config
        self.generation += 1

    async def _rebuild(self) -> None:
        """What stands above has changed: what went with it may not any more, and what did not may; that is read anew when needed."""
        self._looked -= {key for key, row in self._rows.items() if row.problem and key in self._known}
        for key in list(self._known):
            await self._build(key, "repository")

    def _keep(self, config: Config) -> None:
        self._keeping.configs.keep(config.digest, *snapshot(config))

    def _note(self, row: Adoption) -> None:
        self._rows[row.repository] = row

    # in the background

    async def begin(self) -> None:
        """Keep the hub's own config, and learn what the hubs before this one used. Raises `PotatoError`."""
        await asyncio.to_thread(self._keep, self._hub)
        await self._recall()
        own = self._rows.get(HUB)
        if own is not None and own.problem:
            await self._tell_of_hub(self._hub, "")

    async def _recall(self) -> None:
        for row in await asyncio.to_thread(self._keeping.adoptions.since, 0):
            self._note(row)
            self._version = row.version

    async def run(self) -> None:
        """For ever: read the hub's own file when it changes, hear of what other hubs adopted, and look at all now and then."""
        looked_at = asked_at = time.monotonic()
        while True:
            await asyncio.sleep(_BEAT_S)
            await self._reload()
            await self._hear_of_others()
            if self._setting.organisation and self._organisation is None and time.monotonic() - asked_at > _ASK_S:
                asked_at = time.monotonic()
                await self._try(self._setting.organisation)
            if time.monotonic() - looked_at > self._setting.every:
                looked_at = time.monotonic()
                for repository in [self._setting.organisation, *list(self._known)]:
                    if repository:
                        await self._try(repository)

    async def _try(self, repository: str) -> None:
        try:
            await self.look(repository)
        except PotatoError as error:
            _LOG.warning("the config of %s cannot be looked at: %s", repository, error)

    async def _hear_of_others(self) -> None:
        for row in await asyncio.to_thread(self._keeping.adoptions.since, self._version):
            self._version = max(self._version, row.version)
            mine = self._rows.get(row.repository)
            if mine is not None and mine.version >= row.version:
                continue
            self._note(row)
            if mine is not None and mine.own == row.own:
                continue
            if self.is_organisation(row.repository):
                await self._build(row.repository, "organisation")
            elif row.repository in self._known:
                await self._build(row.repository, "repository")

    async def _reload(self) -> None:
        """The hub's own file. A broken one changes nothing, and is told."""
        stamp = await asyncio.to_thread(_stamp, self._hub)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            config = await asyncio.to_thread(lambda: load_config(self._hub.file).require())
        except PotatoError as error:
            _LOG.error("%s is not used, the one before stays: %s", self._hub.file, problems_of(error).replace("\n", "; "))
            await self._tell_of_hub(self._hub, problems_of(error))
            return
        if config.digest == self._hub.digest:
            await self._tell_of_hub(config, "")
            return
        if replace_live(config) != replace_live(self._hub):
            _LOG.warning(
                "%s: what it says of 'forge' and of the hub's url, schedules, backfill and configuration holds at the next start",
                config.file,
            )
        before, self._hub = self._hub, config
        self._stamp = _stamp(config)
        organisation = self._rows.get(_key(self._setting.organisation))
        if self._setting.organisation and organisation and organisation.own:
            try:
                self._organisation = await self._kept(organisation.own, self._setting.organisation, "organisation")
            except PotatoError as error:
                self._hub = before
                why = f"the organisation's config does not go with it: {problems_of(error)}"
                _LOG.error("%s is not used, the one before stays: %s", config.file, why)
                await self._tell_of_hub(before, why)
                return
        await asyncio.to_thread(self._keep, config)
        await self._tell_of_hub(config, "")
        await self._rebuild()
        self.generation += 1
        _LOG.info("%s has changed and is in use", config.file)

    async def _tell_of_hub(self, config: Config, problem: str) -> None:
        kind = "config-refused" if problem else "config"
        entry = Entry(kind, {"repository": None, "config": config.digest, "kind": "hub"})
        row = Adoption(HUB, config.digest[:64], "", _one_line(problem), "")
        self._note(await asyncio.to_thread(self._keeping.adoptions.put, row, entry))


def load_fetched(folder: str, fetched: Fetched, above: Config, kind: Kind, repository: str) -> tuple[Loaded, str]:
    """Lay files out below `folder` and load them below `above`; gives where they lie, too. Raises `PotatoError`."""
    root = os.path.join(folder, fetched.digest.removeprefix("sha256:")[:32])
    lay_out(root, fetched.files)
    return load_config(path_below(root, fetched.file), above, Layer(kind, repository, root)), root


def problems_of(error: PotatoError) -> str:
    """Each on a line."""
    return "\n".join(str(problem) for problem in error.problems) if isinstance(error, ConfigError) else error.message


def as_block(text: str) -> str:
    """Text that no one vouches for, as Markdown code."""
    return "```text\n" + neutralise.clean(text).replace("`", "'") + "\n```"


def replace_live(config: Config) -> Sequence[object]:
    """What a running hub does not change."""
    hub = config.document.hub
    return (config.document.forge, hub.url, hub.schedules, hub.backfill, hub.configuration, hub.keep)


def _own_guards(config: Config) -> Sequence[Guard]:
    """Those that the repository's own config adds."""
    below = config.layer is not None and config.layer.kind == "repository" and config.above is not None
    return config.controls.guards[len(config.above.controls.guards) :] if below and config.above else ()


def _one_line(text: str) -> str:
    return printable(text.replace("\n", "; "), _TEXT)


def _key(repository: str | None) -> str:
    return (repository or "").casefold()


def _stamp(config: Config) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes when one of the config's files does."""
    found: list[tuple[int, int, int] | None] = []
    for path in (config.file, *(os.path.join(config.folder, file) for file in config.files)):
        try:
            told = os.stat(path)
            found.append((told.st_mtime_ns, told.st_size, told.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
