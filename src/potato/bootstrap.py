"""The one place that puts the parts together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from potato.forges.local.forge import LocalForge, read_facts

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from potato.audit.verify import Verdict
    from potato.config.loader import Config
    from potato.hub.workflow import Hub
    from potato.ports import Archive, Forge, Notifier, Runner, Store


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


def make_runners() -> dict[str, Runner]:
    """Every runner of this version."""
    from potato.spokes.runners.builtin import BuiltinRunner
    from potato.spokes.runners.command import CommandRunner
    from potato.spokes.runners.python import PythonRunner

    return {"builtin": BuiltinRunner(), "command": CommandRunner(), "python": PythonRunner()}


def open_store(url: str, *, create: bool = True) -> tuple[Store, Engine]:
    """The store and its engine. Raises as `potato.store.engine.open_engine`."""
    from potato.audit.log import append
    from potato.store.engine import open_engine
    from potato.store.sql import SqlStore

    engine = open_engine(url, create=create)
    return SqlStore(engine, append, SystemClock()), engine


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


def make_forge(config: Config, environ: Mapping[str, str], facts: Mapping[str, Any] | None, *, dry_run: bool = False) -> Forge:
    """GitHub where the config says so or credentials are there, else local; staged on a dry run. Raises `AuthError`."""
    with_credentials = environ.get("GITHUB_TOKEN") or environ.get("POTATO_GITHUB_APP_ID")
    kind = config.document.forge.kind or ("github" if with_credentials else "local")
    if kind == "local":
        return LocalForge(facts)
    from potato.forges.github.client import GitHubClient
    from potato.forges.github.forge import GitHubForge
    from potato.forges.local.staging import StagingForge

    forge = GitHubForge(GitHubClient.from_environment(environ))
    return StagingForge(forge, LocalForge(facts), stage=dry_run) if dry_run or facts else forge


def make_local_forge(facts: Mapping[str, Any]) -> Forge:
    """The forge of the demo: given facts, staged effects."""
    return LocalForge(facts)


def make_hub(config: Config, store: Store, forge: Forge, notifier: Notifier, environ: Mapping[str, str]) -> Hub:
    """A hub over the inline executor."""
    from potato.durable.inline import InlineDurable
    from potato.hub.workflow import Hub

    return Hub(config, store, forge, make_runners(), InlineDurable(), SystemClock(), notifier, environ)


__all__ = ["make_forge", "make_hub", "make_local_forge", "make_runners", "open_archive", "open_store", "read_facts", "verify_log"]
