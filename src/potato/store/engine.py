"""Open the database: URL, journal mode, timeouts, migrations.

SQLite runs in WAL with synchronous=FULL, and its writers in this process take turns at a lock of ours: SQLite's own waiting
sleeps. Source: https://www.sqlite.org/pragma.html#pragma_synchronous (FULL survives a power cut in WAL mode).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from potato.errors import PotatoError, UsageError

HEAD: Final = "0005"
_BUSY_MS: Final = 10_000
_POOL: Final = 8
_POOL_EXTRA: Final = 24
_MIGRATING: Final = 7_305_421
"""Key of Postgres's advisory lock under which schemas are changed."""

_SQLITE: Final = ("sqlite", "sqlite+pysqlite")
_POSTGRES: Final = ("postgresql", "postgres", "postgresql+psycopg")


def open_engine(url: str, *, create: bool = True, alone: bool = False) -> Engine:
    """An engine whose schema is current. Without `create`, a missing database is a `UsageError`.

    With `alone` no other long-running process can use the same SQLite file until this one ends (several need Postgres).
    Raises `UsageError` (`bad-database-url`, `no-database`) and `PotatoError` (`database-unusable`, `database-too-new`, `database-busy`).
    """
    parsed = _parse(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    path = Path(parsed.database or "")
    if sqlite and not create and not path.is_file():
        raise UsageError(
            "no-database", f"there is no database at '{path}'.", "It is made by the first 'potato run'; or name one by --database URL."
        )
    try:
        engine = _sqlite(parsed, path) if sqlite else _postgres(parsed)
        if sqlite and alone:
            _lock(path)
        _migrate(engine, create=create)
    except NoSuchModuleError:
        raise UsageError("bad-database-url", "the database's driver is not installed.") from None
    except (DatabaseError, OSError, sqlite3.Error) as error:
        where = f"the database at '{path}'" if sqlite else f"the database {parsed.render_as_string(hide_password=True)}"
        raise PotatoError("database-unusable", f"{where} cannot be used: {reason_of(error)}.") from None
    return engine


def engine_url(engine: Engine) -> str:
    """Its URL with everything needed to open it again."""
    return engine.url.render_as_string(hide_password=False)


def _lock(path: Path) -> None:
    """Held until this process ends, whatever ends it. Readers such as `potato runs` need no lock."""
    file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        hint = "Stop it, or use Postgres for several: --database postgresql://..."
        raise PotatoError("database-busy", f"another hub or worker uses the database at '{path}'.", hint) from None


def reason_of(error: Exception) -> str:
    """The first line of what a database says, without statement or values."""
    told = getattr(error, "orig", None) or getattr(error, "strerror", None) or type(error).__name__
    return (str(told).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(
            "bad-database-url", "the database is no URL.", "Write sqlite:///PATH, such as sqlite:///.potato/potato.db."
        ) from None
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        known = "Write sqlite:///PATH or postgresql://USER@HOST/NAME."
        raise UsageError("bad-database-url", f"this version stores in SQLite and Postgres, not '{parsed.get_backend_name()}'.", known)
    plain = parsed.drivername in _SQLITE and not parsed.query
    if not plain or not parsed.database or parsed.database.startswith((":", "file:")):
        raise UsageError("bad-database-url", "the database must be a plain file.", "Such as sqlite:///.potato/potato.db.")
    return parsed


def _sqlite(url: URL, path: Path) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": _BUSY_MS / 1000, "check_same_thread": False}
    engine = create_engine(url, poolclass=QueuePool, pool_size=_POOL, max_overflow=_POOL_EXTRA, connect_args=arguments)
    event.listen(engine, "connect", _configure)
    turns = _Turns()
    event.listen(engine, "begin", turns.begin)
    event.listen(engine, "checkin", turns.end)
    return engine


def _configure(connection: Any, _record: Any) -> None:  # noqa: ANN401 - DB-API objects
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")


class _Turns:
    """Writers of this process one after the other: each holds the turn from BEGIN until its connection goes back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, connection: Connection) -> None:
        """Take the write lock at once, so that a transaction never fails half-way; readers do not begin like this."""
        if connection.get_execution_options().get("readonly", False):
            connection.exec_driver_sql("BEGIN")
            return
        info = connection.connection.info
        if not info.get("turn"):
            if not self._lock.acquire(timeout=_BUSY_MS / 1000 * 3):
                raise sqlite3.OperationalError("another writer of this process does not end")
            info["turn"] = True
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def end(self, _connection: object, record: Any) -> None:  # noqa: ANN401 - the pool's record
        """The connection goes back to the pool: whatever it did is committed or undone."""
        if record.info.pop("turn", False):
            self._lock.release()


def _postgres(url: URL) -> Engine:
    """Connections that notice a cut network in seconds, and transactions that cannot hold locks for ever.

    Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    """
    limits = "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=30s"
    arguments = {
        "connect_timeout": 5, "keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 6000,
        "options": limits, "application_name": "potato",
    }  # fmt: skip
    return create_engine(url, pool_size=_POOL, max_overflow=_POOL_EXTRA, pool_pre_ping=True, pool_recycle=1800, connect_args=arguments)


def _migrate(engine: Engine, *, create: bool) -> None:
    """Bring the schema to `HEAD`; alembic is loaded only if there is something to do. Readers change nothing."""
    with engine.connect().execution_options(readonly=True) as connection:
        version = _version(connection)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise PotatoError("database-too-new", f"the database has schema {version}, this version knows {HEAD}.", "Upgrade Potato.")
    if not create:
        hint = "The next 'potato run' or 'potato serve' would set it up."
        raise PotatoError("database-unusable", "it is no database of this version of Potato.", hint)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "migrations").replace("%", "%%"))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
        if _version(connection) != HEAD:  # another process may have been faster
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
