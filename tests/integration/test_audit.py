"""T01, T02: whatever is altered in the log is found, with its place."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from potato.audit.log import append
from potato.bootstrap import open_store, verify_log
from potato.ports import Entry
from potato.testing import START


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A log of 12 entries; gives its URL."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    _, engine = open_store(url)
    write(engine, 12)
    engine.dispose()
    return url


def write(engine: Engine, count: int) -> None:
    with engine.begin() as connection:
        for number in range(count):
            append(connection, [Entry("run", {"number": number})], START)


def alter(url: str, *statements: str) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    with connection:
        for verb in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS audit_entry_no_{verb}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_an_untouched_log_is_intact(log: str) -> None:
    verdict = verify_log(log)
    assert (verdict.ok, verdict.size) == (True, 12)
    assert verify_log(log, (12, verdict.root)).ok


@pytest.mark.parametrize("statement", ["UPDATE audit_entry SET kind = 'x'", "DELETE FROM audit_entry"])
def test_the_database_itself_refuses_changes(log: str, statement: str) -> None:
    with sqlite3.connect(log.removeprefix("sqlite:///")) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_every_flipped_bit_of_every_entry_is_found_at_its_entry(log: str) -> None:
    path = log.removeprefix("sqlite:///")
    alter(log)
    connection = sqlite3.connect(path, isolation_level=None)
    rows = connection.execute("SELECT seq, at, kind, leaf, root FROM audit_entry ORDER BY seq").fetchall()
    tried = 0
    for seq, at, kind, leaf, root in rows[3:5]:
        for column, value in (("leaf", leaf), ("root", root), ("at", at.encode()), ("kind", kind.encode())):
            for index in range(len(value)):
                flipped = bytes([*value[:index], value[index] ^ 1, *value[index + 1 :]])
                new = flipped if column in ("leaf", "root") else flipped.decode("latin-1")
                connection.execute(f"UPDATE audit_entry SET {column} = ? WHERE seq = ?", (new, seq))
                verdict = verify_log(log)
                assert (verdict.ok, verdict.bad) == (False, seq), (column, index)
                old = value if column in ("leaf", "root") else value.decode()
                connection.execute(f"UPDATE audit_entry SET {column} = ? WHERE seq = ?", (old, seq))
                tried += 1
    connection.close()
    assert tried == sum(len(part) for row in rows[3:5] for part in row[1:])
    assert verify_log(log).ok


@pytest.mark.parametrize(
    ("statements", "bad"),
    [
        (["DELETE FROM audit_entry WHERE seq = 5"], 5),
        (["DELETE FROM audit_entry WHERE seq = 11"], 11),
        (["DELETE FROM audit_entry WHERE seq = 0"], 0),
        (
            [
                "UPDATE audit_entry SET seq = 99 WHERE seq = 3",
                "UPDATE audit_entry SET seq = 3 WHERE seq = 4",
                "UPDATE audit_entry SET seq = 4 WHERE seq = 99",
            ],
            3,
        ),
        (["INSERT INTO audit_entry SELECT 12, at, kind, leaf, root FROM audit_entry WHERE seq = 11"], 12),
        (["UPDATE audit_head SET size = 11"], 12),
        (["UPDATE audit_head SET root = x'00'"], 11),
        (["DELETE FROM audit_head"], 12),
        (["DELETE FROM audit_entry"], 0),
    ],
)
def test_deleted_swapped_and_added_entries_are_found(log: str, statements: list[str], bad: int) -> None:
    alter(log, *statements)
    verdict = verify_log(log)
    assert (verdict.ok, verdict.bad) == (False, bad), verdict.reason


def test_a_cut_log_is_found_by_a_checkpoint_kept_elsewhere(tmp_path: Path, log: str) -> None:
    """T03, T04: an older state of the log is whole in itself."""
    url = f"sqlite:///{tmp_path / 'second.db'}"
    _, engine = open_store(url)
    write(engine, 5)
    old = verify_log(url)
    write(engine, 4)
    new = verify_log(url)
    engine.dispose()
    assert verify_log(url, (5, old.root)).ok
    assert not verify_log(url, (20, new.root)).ok
    assert not verify_log(url, (5, new.root)).ok
