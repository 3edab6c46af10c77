"""What all built-in agents share: collect proposals, but only of granted kinds."""

from __future__ import annotations

from typing import Any

from potato.ports import Report, Request


class Proposing:
    """Collects proposals; one that the grant does not cover is not made, and named in the summary."""

    def __init__(self, request: Request) -> None:
        self._granted = request.agent.permissions
        self._proposals: list[dict[str, Any]] = []
        self._withheld: list[str] = []

    def may(self, kind: str) -> bool:
        """Whether proposals of this kind are granted."""
        return kind in self._granted

    def propose(self, kind: str, **args: Any) -> None:  # noqa: ANN401 - each kind has its own
        """Propose it if granted."""
        if self.may(kind):
            self._proposals.append({"kind": kind, **args})
        else:
            self._withheld.append(kind)

    def report(self, summary: str) -> Report:
        """The report, with what was left out for want of permission."""
        withheld = f" Not granted, so not proposed: {', '.join(sorted(set(self._withheld)))}." if self._withheld else ""
        return Report(self._proposals, summary + withheld)


def files_of(request: Request) -> list[dict[str, Any]] | None:
    """The changed files as the forge told them; nothing if it did not."""
    files = request.context.get("files")
    return list(files) if files is not None else None


def paths_of(request: Request) -> list[str] | None:
    """The changed paths; nothing if they are not known."""
    files = files_of(request)
    return None if files is None else [str(file.get("path", "")) for file in files]


def added_lines(file: dict[str, Any]) -> list[tuple[int, str]]:
    """(line number in the new file, text) for each added line of a file's unified diff."""
    found: list[tuple[int, str]] = []
    at = 0
    for line in str(file.get("patch") or "").split("\n"):
        if line.startswith("@@"):
            after = line.split("+", 1)[1] if "+" in line else "0"
            digits = after.split(",")[0].split(" ")[0]
            at = int(digits) - 1 if digits.isdigit() else 0
        elif line.startswith("+"):
            at += 1
            found.append((at, line[1:]))
        elif not line.startswith(("-", "\\")):
            at += 1
    return found
