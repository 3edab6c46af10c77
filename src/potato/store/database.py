"""One transaction: its connection, its time, and the audit entries that are appended at its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from potato.core.canonical import canonical
from potato.errors import PotatoError
from potato.ports import Clock, Entry
from potato.store.engine import reason_of

Append = Callable[[Connection, Sequence[Entry], datetime], None]


class Transaction:
    """What happens together. `now` is one time for all of it.

    Steps in `last` come after everything else, sorted by their keys: rows that many transactions touch, so that no two wait in a circle.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.entries: list[Entry] = []
        self.last: dict[tuple[str, ...], Callable[[], object]] = {}

    def upsert(self, table: Table) -> Any:  # noqa: ANN401 - each dialect has its own class
        """An insert that can say ON CONFLICT."""
        return (postgresql if self.connection.dialect.name == "postgresql" else sqlite).insert(table)

    def insert_many(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that have the same columns, with as little between them and the driver as can be."""
        columns = tuple(rows[0])
        mark = "?" if self.connection.dialect.paramstyle == "qmark" else "%s"
        statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"  # noqa: S608 - our own names
        self.connection.exec_driver_sql(statement, [tuple(row.values()) for row in rows])

    def put(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """An insert with `%VALUES%` for a few rows, which gives what it returns: written out, for making it takes longer than doing it."""
        mark = "?" if self.connection.dialect.paramstyle == "qmark" else "%s"
        one = f"({', '.join([mark] * len(rows[0]))})"
        values = tuple(value for row in rows for value in row)
        return self.connection.exec_driver_sql(statement.replace("%VALUES%", ", ".join([one] * len(rows))), values).all()

    def rows(self, statement: Any) -> Sequence[Any]:  # noqa: ANN401 - a statement, and rows
        """All rows."""
        return self.connection.execute(statement).all()

    def scalar(self, statement: Any) -> Any:  # noqa: ANN401 - a statement, and a value
        """One value."""
        return self.connection.execute(statement).scalar()

    def execute(self, statement: Any) -> int:  # noqa: ANN401 - a statement
        """Do it; gives how many rows changed."""
        return int(self.connection.execute(statement).rowcount)

    @property
    def time(self) -> float:
        """`now` in seconds since 1970."""
        return self.now.timestamp()


class Database:
    """`append` adds audit entries within the given connection's transaction; they come last, for they lock the log's head."""

    def __init__(self, engine: Engine, append: Append, clock: Clock) -> None:
        self.engine = engine
        self._append = append
        self._clock = clock

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All of it or nothing. A database that refuses is a `PotatoError` with code `database-unusable`."""
        try:
            with self.engine.begin() as connection:
                transaction = Transaction(connection, self._clock.now())
                yield transaction
                for _, step in sorted(transaction.last.items()):
                    step()
                self._append(connection, transaction.entries, transaction.now)
        except DataError as error:
            raise PotatoError("value-refused", f"the database does not take a value: {reason_of(error)}.") from None
        except DBAPIError as error:
            raise PotatoError("database-unusable", f"the database refused a write: {reason_of(error)}.") from None
        except SQLAlchemyError as error:
            raise PotatoError("database-unusable", f"the database cannot be reached ({type(error).__name__}).") from None

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Look, and change nothing."""
        try:
            with self.engine.connect().execution_options(readonly=True) as connection:
                yield Transaction(connection, self._clock.now())
        except DBAPIError as error:
            raise PotatoError("database-unusable", f"the database cannot be read: {reason_of(error)}.") from None
        except SQLAlchemyError as error:
            raise PotatoError("database-unusable", f"the database cannot be reached ({type(error).__name__}).") from None


def to_json(value: Any) -> str:  # noqa: ANN401 - JSON
    """Canonical text."""
    return canonical(list(value) if isinstance(value, tuple) else value).decode()  # type: ignore[reportUnknownArgumentType] # JSON


def names(text: str) -> tuple[str, ...]:
    """A stored list of names. Raises `ValueError` if it is none."""
    return tuple(str(item) for item in json.loads(text))
