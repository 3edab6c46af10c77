"""Which file paths an agent may write, and which need a human."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

_BAD: Final = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_LONGEST: Final = 4_096
_GIT: Final = re.compile(r"\.git|git~[0-9]+")
_FOLDERS: Final = frozenset[str](
    ".github .gitlab .gitea .forgejo .circleci .buildkite .woodpecker .ci .husky .githooks .git-hooks .lefthook .vscode .devcontainer "
    ".codex .claude .cursor .gemini .opencode .roo .semaphore .windsurf .clinerules".split()
)
_FILES: Final = frozenset[str](
    "codeowners .gitmodules .gitattributes .gitconfig .pre-commit-config.yaml prek.toml .gitlab-ci.yml .travis.yml .drone.yml "
    ".woodpecker.yml azure-pipelines.yml bitbucket-pipelines.yml cloudbuild.yaml cloudbuild.yml "
    "jenkinsfile agents.md agents.override.md claude.md claude.local.md gemini.md .cursorrules .windsurfrules .goosehints "
    "opencode.json opencode.jsonc .cirrus.yml appveyor.yml .appveyor.yml "
    ".mcp.json .devcontainer.json .envrc .npmrc .yarnrc.yml pip.conf orchestrator.yml orchestrator.yaml "
    "orchestrator.py action.yml action.yaml".split()
)
_HOOKS: Final = re.compile(
    r"\.?lefthook(?:-local)?\.(?:ya?ml|toml|json)|(?:.*/)?hooks/(?:pre|post|commit|prepare|applypatch|update|push)[a-z-]*"
)
_REF: Final = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|\Z)|\.(?:/|\Z)|/\Z))[A-Za-z0-9_][A-Za-z0-9_./+=,-]{0,199}")


def unsafe_path(path: str) -> str | None:
    """Why the path may never be written, or nothing.

    Refused: absolute paths, `.` and `..`, `.git` in any case or disguise, control and reserved characters, text
    that is not in Unicode NFC, and trailing dots or spaces.
    """
    if len(path) > _LONGEST:
        return f"it has more than {_LONGEST:,} characters"
    if path.startswith("/") or _BAD.search(path) or any(unicodedata.category(char) == "Cf" for char in path):
        return "it is absolute or has control, invisible or reserved characters"
    if unicodedata.normalize("NFC", path) != path:
        return "it is not in Unicode normal form C"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "it has an empty, '.' or '..' part"
        if _GIT.fullmatch(unicodedata.normalize("NFKC", part).casefold().rstrip(" .")):
            return "it points into .git"
        if part[-1] in " ." or part[0] == " ":
            return "a part of it starts or ends with a space, or ends with a dot"
    return None


def is_protected(path: str, extra: Collection[str] = ()) -> bool:
    """Whether a human must look: workflows, owners, hooks, submodules, agents' instructions, the config itself.

    Each part of the path counts: a file may stand where a folder was, and the other way about.
    """
    folded = path.casefold()
    parts = folded.split("/")
    if not (_FILES | _FOLDERS).isdisjoint(parts) or _HOOKS.fullmatch(folded):
        return True
    others = [item.casefold() for item in extra]
    return any(f"{folded}/".startswith(f"{other}/") or other.startswith(f"{folded}/") for other in others)


def well_formed_ref(name: str) -> bool:
    """A branch or tag name that git takes, of plain ASCII. Source: git-check-ref-format(1)."""
    return _REF.fullmatch(name) is not None


def safe_branch(branch: str) -> bool:
    """A well-formed branch name under `potato/`."""
    return branch.startswith("potato/") and well_formed_ref(branch)
