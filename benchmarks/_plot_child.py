"""Draws what `_plot` sends: stdin is {"out": file, "series": [[panel, name, [[rules, microseconds], ...]], ...]}."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

STYLES = {
    "potato": {"color": "#b45309", "linewidth": 2.4, "marker": "o"},
    "plain loop": {"color": "#6b7280", "linestyle": "--", "marker": "s"},
    "common-expression-language": {"color": "#2563eb", "marker": "^"},
    "cel-expr-python": {"color": "#7c3aed", "marker": "v"},
}


def main() -> None:
    """Six panels: two kinds of table, three numbers of changed paths; both axes logarithmic."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "potato", "font.size": 9})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    task = json.load(sys.stdin)
    panels = list(dict.fromkeys(panel for panel, _, _ in task["series"]))
    columns = len(panels) // 2
    figure, axes = pyplot.subplots(2, columns, figsize=(10, 6), sharex=True, sharey=True, layout="constrained")
    for panel, axis in zip(panels, axes.flat, strict=True):
        axis.set(title=panel, xscale="log", yscale="log")
        axis.grid(visible=True, which="major", color="#e5e7eb")
        for name, points in ((name, points) for at, name, points in task["series"] if at == panel):
            axis.plot(*zip(*points, strict=True), label=name, markersize=4, **STYLES[name])
    for axis in axes[-1]:
        axis.set_xlabel("rules")
    for row in axes:
        row[0].set_ylabel("microseconds a decision")
    axes.flat[0].legend(fontsize=8)
    figure.savefig(task["out"], metadata={"Date": None})


if __name__ == "__main__":
    main()
