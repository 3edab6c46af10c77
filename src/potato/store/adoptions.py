"""Which configs of repositories are in use, on SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from potato.ports import Entry
from potato.ports.hub import Adoption
from potato.store import tables as t
from potato.store.database import Database, Transaction
from potato.store.runs import lock_queue


class SqlAdoptions:
    """See `potato.ports.hub.Adoptions`. Versions grow in the order of commits, because each is given under the queue's lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, version: int) -> list[Adoption]:
        """See the port."""
        with self._database.reading() as tx:
            newer = select(t.repository_config).where(t.repository_config.c.version > version)
            return [_adoption(row) for row in tx.rows(newer.order_by(t.repository_config.c.version))]

    def put(self, adoption: Adoption, entry: Entry) -> Adoption:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            version = int(tx.scalar(select(func.max(t.repository_config.c.version))) or 0) + 1
            row = {
                "repository": adoption.repository, "sha": adoption.sha, "own": adoption.own, "problem": adoption.problem,
                "problem_sha": adoption.problem_sha, "version": version,
            }  # fmt: skip
            changed = {name: value for name, value in row.items() if name != "repository"}
            tx.execute(tx.upsert(t.repository_config).values(row).on_conflict_do_update(index_elements=["repository"], set_=changed))
            tx.entries.append(entry)
            return Adoption(adoption.repository, adoption.sha, adoption.own, adoption.problem, adoption.problem_sha, version)


def troubled(tx: Transaction, limit: int) -> list[Adoption]:
    """Those with a problem."""
    broken = select(t.repository_config).where(t.repository_config.c.problem != "")
    return [_adoption(row) for row in tx.rows(broken.order_by(t.repository_config.c.version.desc()).limit(limit))]


def _adoption(row: Any) -> Adoption:  # noqa: ANN401 - a row
    return Adoption(row.repository, row.sha, row.own, row.problem, row.problem_sha, row.version)
