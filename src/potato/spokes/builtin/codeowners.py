"""CODEOWNERS: who owns a path. The last matching line wins.

Source: https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
"""

from __future__ import annotations

from collections.abc import Iterable

from potato.core.expression.pattern import PatternError, Predicate, compile_pattern


def owners_of(codeowners: str, paths: Iterable[str]) -> list[str]:
    """Owners (`@user`, `@org/team`) of any of the paths, those of most paths first. E-mail owners are left out."""
    rules = [rule for line in codeowners.splitlines() if (rule := _rule(line))]
    counts: dict[str, int] = {}
    for path in paths:
        for predicates, owners in reversed(rules):
            if any(matches(path) for matches in predicates):
                for owner in owners:
                    counts[owner] = counts.get(owner, 0) + 1
                break
    return sorted(counts, key=lambda owner: (-counts[owner], owner))


def _rule(line: str) -> tuple[list[Predicate], list[str]] | None:
    words = line.split("#", 1)[0].split()
    if not words or words[0].startswith("!"):
        return None
    try:
        predicates = [compile_pattern(glob, in_path=True) for glob in _globs(words[0])]
    except PatternError:
        return None
    return predicates, [word for word in words[1:] if word.startswith("@")]


def _globs(pattern: str) -> list[str]:
    """Gitignore's forms as our globs: no slash matches at any depth, a folder matches all below it."""
    anchored = "/" in pattern.rstrip("/")
    body = pattern.strip("/")
    prefix = "" if anchored or pattern.startswith("/") else "**/"
    if pattern.endswith("/"):
        return [f"{prefix}{body}/**"]
    last = body.rsplit("/", 1)[-1]
    if anchored and "*" in last:
        return [prefix + body]
    return [prefix + body, f"{prefix}{body}/**"]
