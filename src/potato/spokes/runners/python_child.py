"""The child of the runner `python`: read a request, call the function, write its report. Run as a script."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

GROUP = "potato.agents"


def resolve(name: str) -> Callable[[dict[str, Any]], Any]:
    """The function behind `module:name` or an entry point. Raises `LookupError` with a reason."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        return getattr(importlib.import_module(module), attribute)
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
        message = f"no entry point '{name}' in the group '{GROUP}'; installed: {known}"
        raise LookupError(message)
    return found[0].load()


def main() -> int:
    """Keep the real stdout for the report: what the function prints goes to the log."""
    folder, name = sys.argv[1:3]
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, folder)
    request = json.load(sys.stdin)
    try:
        function = resolve(name)
    except (ImportError, AttributeError, LookupError) as error:
        print(f"cannot load '{name}': {error}", file=sys.stderr)
        return 2
    json.dump(function(request), report)
    report.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
