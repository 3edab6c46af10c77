"""The policy identifiers that a config may name. Which of them this version enforces is told in every run."""

from __future__ import annotations

import re
from typing import Final

FORBID: Final = {
    "curl_pipe_sh": "a download piped into an interpreter",
    "remote_code_exec": "code fetched at run time and executed",
    "unpinned_actions": "workflow actions not pinned to a commit",
    "pull_request_target": "workflows that run on pull_request_target",
    "binary_files": "binary files in a pull request",
}

REQUIRE: Final = {
    "lockfile_integrity": "a hash for every locked dependency",
    "signed_commits": "verified signatures on commits",
    "gh_version": "version of the GitHub CLI",
    "git_version": "version of git",
    "node_version": "version of node",
    "python_version": "version of Python",
}

_REQUIREMENT: Final = re.compile(r"([a-z][a-z0-9_]*)\s*(?:(>=|<=|==|!=|~=|>|<)\s*([0-9][0-9A-Za-z.*+-]*))?")


def identifier(text: str) -> str | None:
    """The identifier in `name` or `name>=1.2`; nothing if it is of another form."""
    match = _REQUIREMENT.fullmatch(text.strip())
    return match[1] if match else None
