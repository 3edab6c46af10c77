"""What the benchmarks share: medians, a table, JSON, and the machine they ran on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One measured thing; `n` runs."""

    name: str
    unit: str
    median: float
    min: float
    max: float
    n: int


def result(name: str, unit: str, samples: Sequence[float]) -> Result:
    """Median, least and most."""
    return Result(name, unit, round(statistics.median(samples), 3), round(min(samples), 3), round(max(samples), 3), len(samples))


def finish(results: Sequence[Result], floor: str) -> None:
    """Print the table with ratios to the floor, and keep JSON where --json names a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    show(results, floor)
    keep(results, parser.parse_args().json)


def keep(results: Sequence[Result], out: Path | None) -> None:
    """Write the results as JSON."""
    if out:
        out.write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n", encoding="utf-8")


def show(results: Sequence[Result], floor: str) -> None:
    """Print the table; what has the floor's unit also as a multiple of it."""
    base = next(r for r in results if r.name == floor)
    wide = max(len(r.name) for r in results)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"{'':{wide}} {'median':>10} {'min':>10} {'max':>10}  {'x floor':>8}  n")
    for r in results:
        ratio = f"{r.median / base.median:8.2f}" if r.unit == base.unit else " " * 8
        print(f"{r.name:{wide}} {r.median:10.2f} {r.min:10.2f} {r.max:10.2f}  {ratio}  {r.n}  {r.unit}")
