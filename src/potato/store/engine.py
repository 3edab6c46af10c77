"""Open the database: URL, journal mode, migrations. SQLite runs in WAL with synchronous=FULL.

Source: https://www.sqlite.org/pragma.html#pragma_synchronous (FULL survives a power cut in WAL mode).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from potato.errors import PotatoError, UsageError

HEAD: Final = "0001"
_BUSY_MS: Final = 10_000


def open_engine(url: str, *, create: bool = True) -> Engine:
    """An engine whose schema is current. Without `create`, a missing database is a `UsageError`.

    Raises `UsageError` (`bad-database-url`, `no-database`) and `PotatoError` (`database-unusable`).
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(
            "bad-database-url", "the database is no URL.", "Write sqlite:///PATH, such as sqlite:///.potato/potato.db."
        ) from None
    if parsed.get_backend_name() != "sqlite":
        raise UsageError("bad-database-url", f"this version stores in SQLite only, not '{parsed.get_backend_name()}'.")
    if (
        parsed.drivername not in ("sqlite", "sqlite+pysqlite")
        or parsed.query
        or not parsed.database
        or parsed.database.startswith((":", "file:"))
    ):
        raise UsageError("bad-database-url", "the database must be a plain file.", "Such as sqlite:///.potato/potato.db.")
    path = Path(parsed.database)
    if not create and not path.is_file():
        raise UsageError(
            "no-database", f"there is no database at '{path}'.", "It is made by the first 'potato run'; or name one by --database URL."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": _BUSY_MS / 1000})
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin_immediate)
        _migrate(engine, create=create)
    except NoSuchModuleError:
        raise UsageError("bad-database-url", "the database's driver is not installed.") from None
    except (OperationalError, DatabaseError, OSError, sqlite3.Error) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or type(error).__name__
        raise PotatoError("database-unusable", f"the database at '{path}' cannot be used: {reason}.") from None
    return engine


def _configure(connection: Any, _record: Any) -> None:  # noqa: ANN401 - DB-API objects
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once, so that a transaction never fails half-way; readers do not begin like this."""
    reading = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _migrate(engine: Engine, *, create: bool) -> None:
    """Bring the schema to `HEAD`; alembic is loaded only if there is something to do. Readers change nothing."""
    with engine.connect().execution_options(readonly=True) as connection:
        found = connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")).first()
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if found else None
    if version == HEAD:
        return
    if not create:
        raise PotatoError("database-unusable", "it is no database of this version of Potato.", "The next 'potato run' would set it up.")
    if version is not None and version > HEAD:
        raise PotatoError("database-too-new", f"the database has schema {version}, this version knows {HEAD}.", "Upgrade Potato.")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "migrations").replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
