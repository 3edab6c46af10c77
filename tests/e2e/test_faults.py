"""R01, R02: ten kills on each database; `python3 dev.py faults` does hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faults import torment
from support.github import GitHub, Proxy


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_ten_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, database: str, github: GitHub, proxy: Proxy) -> None:
    verdict = torment(tmp_path, database, github, proxy, kills=10, seed=7)
    assert verdict.problems == []
    assert verdict.kills >= 9
