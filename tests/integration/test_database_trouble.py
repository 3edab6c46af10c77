"""The database is full, or goes away in the middle of everything: nothing acknowledged is lost, and work goes on by itself."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.github import wait_until
from support.hub import Hub, Postgres, payload, project, query, ran, started

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(deliveries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(one for one in deliveries["pull_request"] if one["action"] == "opened")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def pour(hub: Hub, opened: dict[str, Any], numbers: range) -> tuple[list[str], int]:
    """Send until one is refused or all are sent; gives what was acknowledged, and the last status."""
    kept: list[str] = []
    for number in numbers:
        status = hub.send(payload(opened, number, body=os.urandom(20_000).hex()), delivery_id=f"d{number}")
        if status != 202:
            return kept, status
        kept.append(f"d{number}")
    return kept, 202


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path, small_disk: Path, opened: dict[str, Any]) -> None:
    url = f"sqlite:///{small_disk / 'potato.db'}"
    config = "routing:\n  - {name: never, if: 'event == \"push\"', run: [codex_triage]}\n"
    with started(project(tmp_path / "p", config), url) as hub:
        kept, status = pour(hub, opened, range(1, 500))
        assert status == 503
        assert kept
        stored = {row[0] for row in query(url, "SELECT delivery_id FROM delivery")}
        assert stored == set(kept)
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        assert wait_until(lambda: hub.request("GET", "/readyz")[0] == 200, 15)
        assert wait_until(lambda: hub.send(payload(opened, 1000), delivery_id="later") == 202, 15)
        assert {row[0] for row in query(url, "SELECT delivery_id FROM delivery")} == {*kept, "later"}
        kinds = query(url, "SELECT count(*) FROM audit_entry WHERE kind = 'delivery'")
        assert kinds == [(len(kept) + 1,)]


def test_a_database_server_that_dies_and_comes_back(tmp_path: Path, opened: dict[str, Any]) -> None:
    """Killed with SIGKILL in the middle of commits; what was acknowledged is decided and run once."""
    server = Postgres("potato-pg-killed")
    try:
        url = server.database()
        with started(project(tmp_path), url) as hub:
            acknowledged: list[str] = []
            for number in range(1, 9):
                if hub.send(payload(opened, number), delivery_id=f"d{number}") == 202:
                    acknowledged.append(f"d{number}")
                if number == 4:
                    server.kill()
            assert 4 <= len(acknowledged) < 8
            time.sleep(2)
            server.restart()
            assert wait_until(lambda: hub.request("GET", "/readyz")[0] == 200, 40)
            for number in range(1, 9):
                assert wait_until(lambda number=number: hub.send(payload(opened, number), delivery_id=f"d{number}") == 202, 20)
            assert hub.settled(8, 90), hub.api("/api/v1/runs")
            runs = hub.api("/api/v1/runs?limit=100")
            assert sorted(run["delivery_id"] for run in runs) == sorted(f"d{number}" for number in range(1, 9))
            assert {run["state"] for run in runs} == {"succeeded"}
            assert {line.split()[0] for line in ran(tmp_path)} == {run["id"] for run in runs}
    finally:
        server.close()
