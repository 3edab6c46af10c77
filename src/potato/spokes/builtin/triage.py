"""Triage: labels from paths and titles, a size label, a checklist and suggested reviewers. Changes no code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from potato.core.expression.pattern import compile_pattern
from potato.ports import Report, Request
from potato.spokes.builtin.codeowners import owners_of
from potato.spokes.builtin.proposing import Proposing, files_of, paths_of

BY_PATH: Final = {
    "documentation": ("docs/**", "**/*.md", "**/*.rst"),
    "tests": ("tests/**", "test/**", "**/test_*.py", "**/*_test.go", "**/*.test.ts", "**/*.spec.ts"),
    "ci": (".github/workflows/**", ".gitlab-ci.yml", ".circleci/**"),
    "dependencies": ("**/package-lock.json", "**/requirements*.txt", "**/*.lock", "**/go.sum", "**/Cargo.lock", "**/pyproject.toml"),
}
BY_TITLE: Final = {
    "bug": re.compile(r"^(?:fix|bug|hotfix)\b|\b(?:crash|broken|regression|traceback)\b", re.IGNORECASE),
    "enhancement": re.compile(r"^(?:feat|feature|add)\b", re.IGNORECASE),
    "documentation": re.compile(r"^docs?\b|\btypo\b", re.IGNORECASE),
    "question": re.compile(r"^(?:how|why|what|where|can i)\b|\?$", re.IGNORECASE),
}
SIZES: Final = ((10, "size/XS"), (50, "size/S"), (250, "size/M"), (1000, "size/L"))
_MAX_REVIEWERS: Final = 3


def work(request: Request) -> Report:
    """Look at one pull request or issue."""
    event, out = request.event, Proposing(request)
    if event.subject is None or event.subject.kind == "discussion":
        return out.report("The event is about no issue or pull request; nothing to triage.")
    if event.action in ("closed", "deleted", "locked"):
        return out.report(f"It was {event.action}; nothing to triage.")
    present = event.fields.get("label")
    labels = set(present) if isinstance(present, tuple) else set[str]()
    wanted = _labels(request)
    if new := sorted(wanted - labels):
        out.propose("apply_labels", labels=new)
    if old := sorted(label for label in labels - wanted if label.startswith("size/") and _size(request)):
        out.propose("remove_labels", labels=old)
    if event.subject.kind == "pull_request":
        _pull_request(request, out)
    elif not str(event.fields.get("body") or "").strip():
        out.propose("comment", key="checklist", body="This issue has no description. Please say what you expected and what you saw.")
    return out.report(f"Triaged #{event.subject.number}: {', '.join(sorted(wanted)) or 'no label fits'}.")


def _labels(request: Request) -> set[str]:
    title = str(request.event.fields.get("title") or "")[:256]
    kinds = {label for label, pattern in BY_TITLE.items() if pattern.search(title)}
    if request.event.subject and request.event.subject.kind == "pull_request":
        kinds.discard("question")
        paths = paths_of(request) or []
        kinds |= {label for label, globs in BY_PATH.items() if _any_matches(globs, paths)}
        size = _size(request)
        kinds |= {size} if size else set()
    return kinds


def _any_matches(globs: Iterable[str], paths: list[str]) -> bool:
    predicates = [compile_pattern(glob, in_path=True) for glob in globs]
    return any(matches(path) for path in paths for matches in predicates)


def _size(request: Request) -> str | None:
    files = files_of(request)
    lines = request.event.changed_lines
    if files and any("additions" in file for file in files):
        lines = sum(int(file.get("additions", 0)) + int(file.get("deletions", 0)) for file in files)
    if lines is None:
        return None
    return next((name for limit, name in SIZES if lines < limit), "size/XL")


def _pull_request(request: Request, out: Proposing) -> None:
    fields, paths = request.event.fields, paths_of(request)
    body = str(fields.get("body") or "").strip()
    checks = [("It has a description", bool(body), "say what changes and why")]
    if paths:
        tested = _any_matches(BY_PATH["tests"], paths)
        code = [path for path in paths if not _any_matches((*BY_PATH["documentation"], *BY_PATH["ci"]), [path])]
        checks.append(("Tests change with the code", tested or not code, "add or change a test"))
    checks.append(("The title says what it does", len(str(fields.get("title") or "")) > 10, "write a longer title"))  # noqa: PLR2004
    lines = [f"- [{'x' if ok else ' '}] {what}{'' if ok else f': please {ask}'}" for what, ok, ask in checks]
    out.propose("comment", key="checklist", body="### Checklist\n\n" + "\n".join(lines))
    if request.event.action in ("opened", "ready_for_review", "reopened", "synchronize") and not fields.get("draft"):
        _reviewers(request, out, paths or [])


def _reviewers(request: Request, out: Proposing, paths: list[str]) -> None:
    codeowners = request.context.get("codeowners")
    if not isinstance(codeowners, str):
        return
    author = str(request.event.fields.get("author") or "").casefold()
    owners = [owner.lstrip("@") for owner in owners_of(codeowners, paths)]
    people = [owner for owner in owners if "/" not in owner and owner.casefold() != author][:_MAX_REVIEWERS]
    teams = [owner.split("/", 1)[1] for owner in owners if "/" in owner][: _MAX_REVIEWERS - len(people)]
    if people or teams:
        out.propose("request_review", reviewers=people, teams=teams)
