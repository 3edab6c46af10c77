from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.github import COUNTERPARTS, GitHub, Proxy, emulator, proxied
from support.hub import Postgres

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

SPECIFICATION = Path(__file__).parents[1] / "examples" / "specification"


@cache
def octokit_examples() -> dict[str, list[dict[str, Any]]]:
    """GitHub's documented deliveries: event -> payloads."""
    index = COUNTERPARTS / "node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    return {item["name"]: item["examples"] for item in json.loads(index.read_text())}


@pytest.fixture(scope="session")
def deliveries() -> dict[str, list[dict[str, Any]]]:
    return octokit_examples()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'potato.db'}"
    return request.getfixturevalue("postgres").database()


@pytest.fixture(scope="module")
def github_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the emulated GitHub's seed and its App's key lie."""
    return tmp_path_factory.mktemp("github")


@pytest.fixture(scope="module")
def github_url(github_folder: Path) -> Iterator[str]:
    with emulator(github_folder) as url:
        yield url


@pytest.fixture(scope="module")
def _repositories(github_url: str) -> Iterator[str]:
    return iter([f"alice/demo{n}" for n in range(60)])


@pytest.fixture
def github(github_url: str, _repositories: Iterator[str]) -> GitHub:
    """A repository of its own for each test."""
    return GitHub(github_url, next(_repositories))


@pytest.fixture
def proxy(github_url: str) -> Iterator[Proxy]:
    with proxied(github_url) as running:
        yield running
