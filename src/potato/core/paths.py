"""Which file paths an agent may write, and which need a human."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

_BAD: Final = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_PROTECTED: Final = re.compile(
    r"(?:\.github|\.gitlab|\.circleci|\.husky|\.githooks|\.git-hooks|\.vscode|\.devcontainer|\.codex|\.claude)/.*"
    r"|(?:.*/)?(?:codeowners|\.gitmodules|\.gitattributes|\.gitconfig|\.pre-commit-config\.yaml|lefthook\.ya?ml"
    r"|\.gitlab-ci\.yml|jenkinsfile|agents\.md|claude\.md|orchestrator\.ya?ml|orchestrator\.py|action\.ya?ml)"
)
_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|\.lock(?:/|$)|/\.|\.(?:/|$)|/$))potato/[A-Za-z0-9._/-]{1,180}")


def unsafe_path(path: str) -> str | None:
    """Why the path may never be written, or nothing.

    Refused: absolute paths, `.` and `..`, `.git` in any case or disguise, control and reserved characters, text
    that is not in Unicode NFC, and trailing dots or spaces.
    """
    if path.startswith("/") or _BAD.search(path):
        return "it is absolute or has control or reserved characters"
    if unicodedata.normalize("NFC", path) != path:
        return "it is not in Unicode normal form C"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "it has an empty, '.' or '..' part"
        folded = "".join(c for c in unicodedata.normalize("NFKC", part) if unicodedata.category(c) != "Cf")
        if folded.casefold().rstrip(" .") in (".git", "git~1"):
            return "it points into .git"
        if part[-1] in " ." or part[0] == " ":
            return "a part of it starts or ends with a space, or ends with a dot"
    return None


def is_protected(path: str, extra: Collection[str] = ()) -> bool:
    """Whether a human must look: workflows, owners, hooks, submodules, agents' instructions, the config itself."""
    folded = path.casefold()
    return _PROTECTED.fullmatch(folded) is not None or folded in {item.casefold() for item in extra}


def safe_branch(branch: str) -> bool:
    """A well-formed branch name under `potato/`. Source: git-check-ref-format(1)."""
    return _BRANCH.fullmatch(branch) is not None
