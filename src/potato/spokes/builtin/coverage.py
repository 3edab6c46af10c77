"""Coverage: find modules that no test imports, from the coverage table in CI logs, and propose tests for them."""

from __future__ import annotations

import re
from typing import Final

from potato.ports import Report, Request
from potato.spokes.builtin.proposing import Proposing

_ROW: Final = re.compile(r"(?:^|\s)((?:[\w.-]+/)*[\w-]+\.py)\s+(\d{1,7})\s+(\d{1,7})(?:\s+\d{1,7}\s+\d{1,7})?\s+(\d{1,3})%", re.MULTILINE)
_LOW: Final = 50
_MAX_LOG: Final = 1_000_000
_MAX_MODULES: Final = 10


def coverage_table(log: str) -> dict[str, int]:
    """Path -> percent, from the report of coverage.py (https://coverage.readthedocs.io/en/latest/cmd.html#reporting)."""
    return {match[1]: int(match[4]) for match in _ROW.finditer(log[-_MAX_LOG:]) if int(match[2]) > 0}


def work(request: Request) -> Report:
    """Untested modules get an import test by pull request, or an issue that lists the least covered."""
    out = Proposing(request)
    logs = request.context.get("logs")
    if not isinstance(logs, str):
        return out.report("No CI logs at hand; nothing to propose.")
    table = coverage_table(logs)
    if not table:
        return out.report("No coverage table in the CI logs; nothing to propose.")
    untested = sorted(path for path, percent in table.items() if percent == 0 and _module(path))[:_MAX_MODULES]
    low = sorted((percent, path) for path, percent in table.items() if percent < _LOW)[:_MAX_MODULES]
    if untested and out.may("open_pr"):
        out.propose("open_pr", title="Add import tests for untested modules", branch="potato/coverage/import-tests",
                    body="CI reports these modules at 0 %: " + ", ".join(f"`{p}`" for p in untested),
                    files=[{"path": "tests/test_imports_potato.py", "content": _test_file(untested)}])  # fmt: skip
    elif low:
        rows = "\n".join(f"| `{path}` | {percent} % |" for percent, path in low)
        out.propose("create_issue", title="Low test coverage", key="low-coverage",
                    body=f"| file | covered |\n|---|---|\n{rows}")  # fmt: skip
    return out.report(f"{len(table)} files in the coverage table, {len(untested)} untested, {len(low)} under {_LOW} %.")


def _module(path: str) -> str | None:
    """The importable name of a source file."""
    parts = path.removesuffix(".py").split("/")
    parts = parts[1:] if parts[0] in ("src", "lib") else parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _test_file(paths: list[str]) -> str:
    names = ", ".join(f'"{_module(path)}"' for path in paths)
    return (
        '"""Every module can be imported; generated from CI\'s coverage report."""\n\nimport importlib\n\nimport pytest\n\n\n'
        f'@pytest.mark.parametrize("name", [{names}])\ndef test_module_imports(name):\n'
        "    assert importlib.import_module(name).__name__ == name\n"
    )
