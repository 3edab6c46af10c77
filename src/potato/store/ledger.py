"""Small tables: check runs to write, positions of background jobs, configs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from sqlalchemy import select, update

from potato.errors import PotatoError
from potato.ports import HeadReport, RunRecord
from potato.ports.hub import Arrival
from potato.store import tables as t
from potato.store.database import Database
from potato.store.inbox import accept
from potato.store.runs import as_shown, record, waiting_lanes, with_proposals

_TAKEN_S = 30.0
_HOPELESS = 60


class SqlReports:
    """See `potato.ports.hub.Reports`. One that is taken is left to its taker for a while."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int) -> list[tuple[str, str, int, str]]:
        """See the port."""
        ripe = (t.head_report.c.wanted > t.head_report.c.posted,)
        with self._database.reading() as tx:
            if not tx.rows(select(t.head_report.c.head_sha).where(*ripe, t.head_report.c.not_before <= tx.time).limit(1)):
                return []
        with self._database.transaction() as tx:
            now = (*ripe, t.head_report.c.not_before <= tx.time)
            rows = tx.rows(
                select(t.head_report).where(*now).order_by(t.head_report.c.not_before).limit(limit).with_for_update(skip_locked=True)
            )
            for row in rows:
                key = (t.head_report.c.repository == row.repository, t.head_report.c.head_sha == row.head_sha)
                tx.execute(update(t.head_report).where(*key).values(not_before=tx.time + _TAKEN_S))
            return [(row.repository, row.head_sha, row.wanted, row.delivery_id) for row in rows]

    def runs_on(self, repository: str, head_sha: str) -> list[RunRecord]:
        """See the port."""
        about = (t.run.c.repository == repository, t.run.c.head_sha == head_sha)
        with self._database.reading() as tx:
            lanes = waiting_lanes(tx)
            rows = tx.rows(select(t.run).where(*about).order_by(t.run.c.created_at))
            return with_proposals(tx, [as_shown(record(row), row, lanes) for row in rows])

    def told(self, report: HeadReport, version: int) -> None:
        """See the port."""
        key = (t.head_report.c.repository == report.repository, t.head_report.c.head_sha == report.head_sha)
        with self._database.transaction() as tx:
            tx.execute(update(t.head_report).where(*key).values(posted=version, not_before=tx.time + 0.3, attempts=0, problem=""))

    def untold(self, repository: str, head_sha: str, delay_s: float, problem: str) -> None:
        """See the port."""
        key = (t.head_report.c.repository == repository, t.head_report.c.head_sha == head_sha)
        later = {"attempts": t.head_report.c.attempts + 1, "problem": problem}
        with self._database.transaction() as tx:
            tx.execute(update(t.head_report).where(*key).values(not_before=tx.time + delay_s, **later))
            hopeless = (*key, t.head_report.c.attempts >= _HOPELESS)
            tx.execute(update(t.head_report).where(*hopeless).values(posted=t.head_report.c.wanted, attempts=0))


class SqlMarks:
    """See `potato.ports.hub.Marks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, name: str) -> tuple[str, float] | None:
        """See the port."""
        with self._database.reading() as tx:
            row = next(iter(tx.rows(select(t.mark.c.value, t.mark.c.at).where(t.mark.c.name == name))), None)
            return (row.value, row.at) if row else None

    def move(self, name: str, expected: str | None, value: str, at: float, arrival: Arrival | None = None) -> bool:
        """See the port."""
        with self._database.transaction() as tx:
            if expected is None:
                moved = tx.execute(tx.upsert(t.mark).values(name=name, value=value, at=at).on_conflict_do_nothing())
            else:
                moved = tx.execute(update(t.mark).where(t.mark.c.name == name, t.mark.c.value == expected).values(value=value, at=at))
            if moved and arrival is not None:
                accept(tx, [arrival])
            return moved > 0


class SqlConfigs:
    """See `potato.ports.hub.Configs`. The files are kept as one zip."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, digest: str, file: str, files: Mapping[str, bytes]) -> None:
        """See the port."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        with self._database.transaction() as tx:
            row = {"digest": digest, "file": file, "files": packed.getvalue(), "kept_at": tx.now.isoformat()}
            tx.execute(tx.upsert(t.config).values(row).on_conflict_do_nothing())

    def read(self, digest: str) -> tuple[str, Mapping[str, bytes]] | None:
        """See the port."""
        with self._database.reading() as tx:
            row = next(iter(tx.rows(select(t.config.c.file, t.config.c.files).where(t.config.c.digest == digest))), None)
        if row is None:
            return None
        try:
            with zipfile.ZipFile(io.BytesIO(bytes(row.files))) as archive:
                return row.file, {name: archive.read(name) for name in archive.namelist()}
        except (zipfile.BadZipFile, OSError) as error:
            raise PotatoError("database-unusable", f"a stored config is not readable ({type(error).__name__}).") from None
