"""The policy identifiers that a config may name. Which of them this version enforces is told in every run."""

from __future__ import annotations

import re
from typing import Final

from potato.config.models import Policies
from potato.config.yaml_tree import Tree
from potato.core.text import did_you_mean

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


def check_policies(tree: Tree, policies: Policies) -> None:
    """Unknown identifiers are problems in the tree."""
    for key, known in (("forbid", FORBID), ("require", REQUIRE)):
        for index, text in enumerate(getattr(policies, key)):
            name = identifier(text)
            if name not in known:
                hint = did_you_mean(name or text, known) or f"Known: {', '.join(known)}."
                tree.problem(tree.at(("policies", key, index)), "unknown-policy", f"'{text[:60]}' is no policy to {key}.", hint)


def unenforced(policies: Policies) -> tuple[str, ...]:
    """What is declared and not enforced by this version."""
    versions = [f"{name}: {value}" for name in ("node_version", "python_version") if (value := getattr(policies, name))]
    return (*versions, *(f"forbid {name}" for name in policies.forbid), *(f"require {name}" for name in policies.require))
