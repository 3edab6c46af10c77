"""Documentation: public names that a pull request adds without touching any documentation."""

from __future__ import annotations

import re
from typing import Final

from potato.ports import Report, Request
from potato.spokes.builtin.proposing import Proposing, added_lines, files_of

_PUBLIC: Final = {
    ".py": re.compile(r"^(?:async\s+)?(?:def|class)\s+([A-Za-z]\w*)"),
    ".ts": re.compile(r"^export\s+(?:async\s+)?(?:function|class|interface|type|const)\s+([A-Za-z]\w*)"),
    ".go": re.compile(r"^(?:func|type)\s+([A-Z]\w*)"),
    ".rs": re.compile(r"^pub\s+(?:fn|struct|enum|trait)\s+([A-Za-z]\w*)"),
}
_MAX_NAMES: Final = 30


def work(request: Request) -> Report:
    """One comment that lists the names; none if documentation changes too."""
    out = Proposing(request)
    files = files_of(request)
    if files is None:
        return out.report("The changed files are not known; nothing to say.")
    paths = [str(file.get("path", "")) for file in files]
    if any(path.startswith("docs/") or path.endswith((".md", ".rst")) for path in paths):
        return out.report("Documentation changes too.")
    names = [f"`{match[1]}` in `{file['path']}`" for file in files if not _is_test(str(file.get("path", "")))
             for _, line in added_lines(file) if (match := _match(str(file.get("path", "")), line))]  # fmt: skip
    if names:
        listed = "\n".join(f"- {name}" for name in dict.fromkeys(names[:_MAX_NAMES]))
        out.propose("comment", key="documentation", body=f"New public names without documentation:\n\n{listed}")
    return out.report(f"{len(names)} new public name(s), no documentation changed.")


def _match(path: str, line: str) -> re.Match[str] | None:
    pattern = next((pattern for suffix, pattern in _PUBLIC.items() if path.endswith(suffix)), None)
    return pattern.match(line) if pattern else None


def _is_test(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return path.startswith(("test/", "tests/")) or name.startswith("test_") or ".test." in name or "_test." in name
