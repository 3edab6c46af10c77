"""The one place that puts the parts together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from potato.errors import PotatoError
from potato.forges.local.forge import LocalForge, read_facts

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from potato.audit.verify import Verdict
    from potato.config.config import Config
    from potato.core.event import Event
    from potato.forges.github.sources import GitHubSources
    from potato.hub.approvals import Desk
    from potato.hub.book import Book
    from potato.hub.config_check import ConfigCheck
    from potato.hub.context import Hub
    from potato.hub.service import Service
    from potato.ports import Archive, Delivery, Forge, Notifier, Runner, RunRecord, Store
    from potato.ports.control import Approvals, Switch
    from potato.ports.hub import Configs, Missed, Queue, Roster


_LATEST = 500
"""Past deliveries that a proposed config is tried on."""


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


def make_runners() -> dict[str, Runner]:
    """Every runner of this version. Those of programs share one gate, and what was found out about the sandbox here."""
    from potato.spokes.cage.sandbox import Sandbox
    from potato.spokes.gate import Gate
    from potato.spokes.runners.acp import AcpRunner
    from potato.spokes.runners.builtin import BuiltinRunner
    from potato.spokes.runners.claude import ClaudeRunner
    from potato.spokes.runners.codex import CodexRunner
    from potato.spokes.runners.command import CommandRunner
    from potato.spokes.runners.http import HttpRunner
    from potato.spokes.runners.python import PythonRunner

    gate, sandbox = Gate(), Sandbox()
    return {
        "builtin": BuiltinRunner(),
        "command": CommandRunner(gate, sandbox),
        "python": PythonRunner(gate, sandbox),
        "http": HttpRunner(),
        "acp": AcpRunner(gate, sandbox),
        "codex": CodexRunner(gate, sandbox),
        "claude": ClaudeRunner(gate, sandbox),
    }


def load_vaults(config: Config | None) -> dict[str, Callable[[str], str | None]]:
    """The plugins that its config asks for secrets. Raises `UsageError` for one that is not installed."""
    if config is None or not config.document.hub.secrets:
        return {}
    from importlib.metadata import entry_points

    from potato.errors import UsageError

    found = {point.name: point for point in entry_points(group="potato.secrets")}
    missing = [name for name in config.document.hub.secrets if name not in found]
    if missing:
        known = ", ".join(sorted(found)) or "none"
        raise UsageError("no-plugin", f"hub.secrets: no entry point '{missing[0]}' in the group 'potato.secrets'; installed: {known}.")
    return {name: found[name].load() for name in config.document.hub.secrets}


def open_store(url: str, *, create: bool = True) -> tuple[Store, Engine]:
    """The store and its engine. Raises as `potato.store.engine.open_engine`."""
    from potato.audit.log import append
    from potato.hub.entries import run_entry
    from potato.hub.guards import passage
    from potato.store.database import Database
    from potato.store.engine import open_engine
    from potato.store.sql import SqlStore

    engine = open_engine(url, create=create)
    return SqlStore(Database(engine, append, SystemClock()), run_entry, passage), engine


def open_archive(path: str, since: datetime | None = None) -> Archive:
    """Past events: a database of ours (a path or URL), a folder of deliveries, or one file of them.

    Raises `UsageError` if there is nothing, and `PotatoError` if a database cannot be used.
    """
    from potato.forges.local.archive import FileArchive, is_database

    if "://" in path or is_database(path):
        from potato.store.archive import SqlArchive
        from potato.store.engine import open_engine

        return SqlArchive(open_engine(path if "://" in path else f"sqlite:///{path}", create=False), since)
    return FileArchive(path, since)


@dataclass(frozen=True, slots=True)
class Past:
    """What became of a past event: its runs, and the config that decided it, as far as these are kept."""

    runs: Sequence[RunRecord] = ()
    config: Config | None = None


def open_past(path: str, delivery_id: str, config_digest: str) -> Past:
    """Of a database of ours (a path or URL); files hold nothing of it. Raises `PotatoError` if a database cannot be used."""
    from potato.forges.local.archive import is_database

    if "://" not in path and not is_database(path):
        return Past()
    from potato.audit.log import append
    from potato.store.database import Database
    from potato.store.ledger import SqlConfigs

    store, engine = open_store(path if "://" in path else f"sqlite:///{path}", create=False)
    shelf = _Shelf(SqlConfigs(Database(engine, append, SystemClock())))
    try:
        try:
            config = shelf[config_digest] if config_digest else None
        except PotatoError:
            config = None
        return Past(store.runs_of(delivery_id), config)
    finally:
        shutil.rmtree(shelf.folder, ignore_errors=True)
        engine.dispose()


def verify_log(url: str, expected: tuple[int, str] | None = None) -> Verdict:
    """Verify the audit log of a database. A log that cannot be read is not intact."""
    from sqlalchemy.exc import DatabaseError

    from potato.audit.verify import Verdict, verify
    from potato.store.engine import open_engine

    engine = open_engine(url, create=False)
    try:
        with engine.connect().execution_options(readonly=True) as connection:
            return verify(connection, expected)
    except DatabaseError as error:
        return Verdict(0, "", 0, f"the database is damaged: {error.orig}")
    finally:
        engine.dispose()


def make_forge(config: Config, environ: Mapping[str, str], facts: Mapping[str, Any] | None, *, dry_run: bool = False,
               fence: Callable[[], None] = lambda: None) -> Forge:  # fmt: skip
    """GitHub where the config says so or credentials are there, else local; staged on a dry run. Raises `AuthError`.

    `fence` is called before each write to GitHub, and raises if this process may not write any more.
    """
    with_credentials = environ.get("GITHUB_TOKEN") or environ.get("POTATO_GITHUB_APP_ID")
    kind = config.document.forge.kind or ("github" if with_credentials else "local")
    if kind == "local":
        return LocalForge(facts)
    from potato.forges.github.client import GitHubClient
    from potato.forges.github.forge import GitHubForge
    from potato.forges.local.staging import StagingForge

    forge = GitHubForge(GitHubClient.from_environment(environ, fence))
    return StagingForge(forge, LocalForge(facts), stage=dry_run) if dry_run or facts else forge


def make_local_forge(facts: Mapping[str, Any]) -> Forge:
    """The forge of the demo: given facts, staged effects."""
    return LocalForge(facts)


def make_hub(config: Config, store: Store, forge: Forge, notifier: Notifier, environ: Mapping[str, str]) -> Hub:
    """A hub over the inline executor."""
    from potato.durable.inline import InlineDurable
    from potato.hub.context import Hub

    return Hub(config, store, forge, make_runners(), InlineDurable(), SystemClock(), notifier, environ, vaults=load_vaults(config))


def open_switch(url: str) -> tuple[Switch, Engine]:
    """Pauses and overrides in a database that a hub uses. Raises as `potato.store.engine.open_engine`."""
    from potato.audit.log import append
    from potato.hub.entries import run_entry
    from potato.hub.guards import passage
    from potato.store.database import Database
    from potato.store.engine import open_engine
    from potato.store.switch import SqlSwitch

    engine = open_engine(url, create=False)
    return SqlSwitch(Database(engine, append, SystemClock()), run_entry, passage), engine


def open_desk(url: str, config: Config, environ: Mapping[str, str]) -> tuple[Desk, Approvals, Forge, Engine]:
    """Where a person gives answers by the command line, with a forge that speaks for that person.

    Raises as `potato.store.engine.open_engine` and `make_forge`.
    """
    from potato.audit.log import append
    from potato.durable.inline import InlineDurable
    from potato.hub.approvals import Desk
    from potato.hub.book import Book, Keeping
    from potato.hub.context import Hub
    from potato.hub.entries import run_entry
    from potato.hub.guards import passage
    from potato.hub.service import Bells
    from potato.store.adoptions import SqlAdoptions
    from potato.store.approvals import SqlApprovals
    from potato.store.database import Database
    from potato.store.engine import open_engine
    from potato.store.ledger import SqlConfigs
    from potato.store.sql import SqlStore

    engine = open_engine(url, create=False)
    clock = SystemClock()
    tables = Database(engine, append, clock)
    approvals = SqlApprovals(tables, run_entry, passage)
    forge = make_forge(config, environ, None)
    store = SqlStore(tables, run_entry, passage, queue=True)
    shelf = _Shelf(SqlConfigs(tables))
    hub = Hub(config, store, forge, {}, InlineDurable(), clock, Bells(), environ, read_stored, configs=shelf)
    book = Book(config, Keeping(None, SqlAdoptions(tables), SqlConfigs(tables), forge, shelf.folder))
    return Desk(hub, book, approvals, hub_account=False), approvals, forge, engine


def open_approvals(url: str) -> tuple[Approvals, Engine]:
    """What waits for people. Raises as `potato.store.engine.open_engine`."""
    from potato.audit.log import append
    from potato.hub.entries import run_entry
    from potato.hub.guards import passage
    from potato.store.approvals import SqlApprovals
    from potato.store.database import Database
    from potato.store.engine import open_engine

    engine = open_engine(url, create=False)
    return SqlApprovals(Database(engine, append, SystemClock()), run_entry, passage), engine


def open_queue(url: str) -> tuple[Queue, Engine]:
    """The queue of a database, to look at and to stop runs. Raises as `potato.store.engine.open_engine`."""
    from potato.audit.log import append
    from potato.hub.entries import run_entry
    from potato.hub.guards import passage
    from potato.store.database import Database
    from potato.store.engine import open_engine
    from potato.store.queue import SqlQueue

    def cannot(*_released: object) -> None:
        raise PotatoError("internal-error", "only hubs release runs.")

    engine = open_engine(url, create=False)
    return SqlQueue(Database(engine, append, SystemClock()), run_entry, passage, cannot), engine


def open_service(database: str, environ: Mapping[str, str], lost: Callable[[], None], *, config: Config | None, slots: int,
                 agents: tuple[str, ...] | None = None, drain_s: float = 30.0) -> Service:  # fmt: skip
    """The long-running hub, or without a config a worker. Nothing is started yet; call it within the loop that will run it.

    Raises as `potato.store.engine.open_engine`, and `PotatoError` (`database-busy`) if another process uses the SQLite file.
    """
    import os
    import socket
    import uuid

    from potato import __version__
    from potato.audit.log import append
    from potato.config.snapshot import NOTHING
    from potato.durable.dbos import DbosDurable, prepare
    from potato.forges.github.status_page import HttpStatusPage
    from potato.hub.book import Book, Keeping
    from potato.hub.context import Hub
    from potato.hub.entries import run_entry
    from potato.hub.guards import passage
    from potato.hub.service import Bells, Parts, Service
    from potato.hub.takeover import Lease
    from potato.ports.hub import Process
    from potato.store.adoptions import SqlAdoptions
    from potato.store.approvals import SqlApprovals
    from potato.store.database import Database
    from potato.store.engine import engine_url, open_engine
    from potato.store.inbox import SqlInbox
    from potato.store.ledger import SqlConfigs, SqlMarks, SqlReports
    from potato.store.notices import SqlNotices
    from potato.store.queue import SqlQueue
    from potato.store.roster import SqlRoster
    from potato.store.sql import SqlStore
    from potato.store.switch import SqlSwitch, SqlWatchtower

    engine = open_engine(database, create=config is not None, alone=True)
    prepare(engine_url(engine))
    clock = SystemClock()
    tables = Database(engine, append, clock)
    host = socket.gethostname()[:60]
    process = Process(f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}", "hub" if config else "worker", host, __version__, agents, slots)
    roster = SqlRoster(tables, run_entry, passage)
    if engine.dialect.name == "sqlite":
        _bury_the_dead(roster)
    executor = DbosDurable(engine, engine_url(engine), process.id, slots)
    lease = Lease(roster, process, lost)
    bells = Bells()
    configs = SqlConfigs(tables)
    store = SqlStore(tables, run_entry, passage, queue=True)
    working_forge = make_forge(config or NOTHING, environ, None, fence=lease.check)
    deciding_forge = make_forge(config, environ, None, fence=lease.check) if config else None
    shelf = _Shelf(configs)
    sources = _sources(config, environ, lease.check)
    keeping = Keeping(sources, SqlAdoptions(tables), configs, deciding_forge, shelf.folder) if deciding_forge else None
    book = Book(config, keeping) if config and keeping else None
    queue = SqlQueue(tables, run_entry, passage, executor.enqueue, book)
    working = Hub(
        config or NOTHING, store, working_forge, make_runners(), executor, clock, bells, environ, read_stored, load_vaults(config), shelf
    )
    deciding = replace(working, config=config, forge=deciding_forge) if config and deciding_forge else None
    return Service(Parts(
        process, working, executor, roster, queue, bells, deciding, book,
        _config_check(book, sources, deciding_forge, engine), SqlInbox(tables), SqlReports(tables), SqlNotices(tables),
        SqlSwitch(tables, run_entry, passage), SqlApprovals(tables, run_entry, passage), SqlWatchtower(tables), HttpStatusPage(),
        SqlMarks(tables), configs, _missed(config, environ, lease.check),
        partial(_identify, config) if config else None, _same_event, lease, drain_s,
        tuple(f for f in (working_forge, deciding_forge, sources, shelf) if f is not None), engine,
    ))  # fmt: skip


def read_stored(delivery: Delivery) -> Event:
    """The event of a kept delivery. Raises `UsageError`."""
    from potato.forges.github.normalise import normalise

    return normalise(delivery.event, delivery.body, what="the delivery")


def _same_event(event: Event) -> str | None:
    from potato.forges.github.identity import same_event

    return same_event(event)


def _sources(config: Config | None, environ: Mapping[str, str], fence: Callable[[], None]) -> GitHubSources | None:
    if config is None or not (environ.get("GITHUB_TOKEN") or environ.get("POTATO_GITHUB_APP_ID")) or config.document.forge.kind == "local":
        return None
    from potato.forges.github.client import GitHubClient
    from potato.forges.github.sources import GitHubSources

    return GitHubSources(GitHubClient.from_environment(environ, fence))


def _config_check(book: Book | None, sources: GitHubSources | None, forge: Forge | None, engine: Engine) -> ConfigCheck | None:
    if book is None or sources is None or forge is None:
        return None
    from potato.forges.github.normalise import normalise
    from potato.hub.config_check import ConfigCheck, Tools
    from potato.store.archive import SqlArchive

    def archive(repository: str | None) -> SqlArchive:
        return SqlArchive(engine, repository=repository, latest=_LATEST)

    return ConfigCheck(book, Tools(sources, forge, LocalForge(), archive, lambda event, body, what: normalise(event, body, what=what)))


def _missed(config: Config | None, environ: Mapping[str, str], fence: Callable[[], None]) -> Missed | None:
    if config is None or not (environ.get("GITHUB_TOKEN") or environ.get("POTATO_GITHUB_APP_ID")) or config.document.forge.kind == "local":
        return None
    from potato.forges.github.client import GitHubClient
    from potato.forges.github.deliveries import GitHubBackfill

    return GitHubBackfill(GitHubClient.from_environment(environ, fence), config.document.hub.url)


async def _identify(config: Config, token: str, environ: Mapping[str, str]) -> str:
    """Whose GitHub token this is. Raises `AuthError` and `PotatoError`."""
    own = {name: value for name, value in environ.items() if name == "GITHUB_API_URL"}
    forge = make_forge(config, own | {"GITHUB_TOKEN": token}, None)
    try:
        return await forge.whoami()
    finally:
        await forge.close()


def _bury_the_dead(roster: Roster) -> None:
    """Nobody else can use this file, so whoever is entered is gone."""
    from potato.ports import Entry

    for name in {process.id for process in roster.all()} | set(roster.orphans()):
        roster.bury(name, None, Entry("process-left", {"process": name, "reason": "it ended without signing off"}))


class _Shelf(Mapping[str, "Config"]):
    """Configs by digest, laid out once each."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs
        self._known: dict[str, Config] = {}
        self.folder = tempfile.mkdtemp(prefix="potato-configs-")

    def __getitem__(self, digest: str) -> Config:
        from potato.config.snapshot import restore

        if digest not in self._known:
            found = self._configs.read(digest)
            if found is None:
                raise PotatoError("config-unreadable", f"the config {digest} that decided this is not in the database.")
            self._known[digest] = restore(self.folder, digest, *found)
        return self._known[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    async def close(self) -> None:
        """Remove what was laid out."""
        shutil.rmtree(self.folder, ignore_errors=True)


__all__ = [
    "make_forge",
    "make_hub",
    "make_local_forge",
    "make_runners",
    "open_archive",
    "open_past",
    "open_queue",
    "open_service",
    "open_store",
    "read_facts",
    "verify_log",
]
