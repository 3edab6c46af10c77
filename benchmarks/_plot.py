"""The scaling as an SVG, drawn by matplotlib in the peers' environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from _peers import PYTHON

CHILD = Path(__file__).with_name("_plot_child.py")


@dataclass(frozen=True)
class Series:
    """One line in one panel: rules -> microseconds."""

    panel: str
    name: str
    points: Mapping[int, float]


def plot(series: Sequence[Series], out: Path) -> None:
    """Write the picture."""
    task = {"out": str(out), "series": [[each.panel, each.name, sorted(each.points.items())] for each in series]}
    subprocess.run([str(PYTHON), str(CHILD)], input=json.dumps(task), text=True, check=True)
