from __future__ import annotations

import pytest

from potato.core.paths import is_protected, safe_branch, unsafe_path


@pytest.mark.parametrize("path", ["a", "src/a.py", ".editorconfig", "a b/c", "ünï/x", "a..b", ".gitignore", "git/x"])
def test_ordinary_paths(path: str) -> None:
    assert unsafe_path(path) is None


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "./a", "a//b", "a/", "", ".git/config", ".GIT/hooks/x", "a/.git/x", ".git /x", ".git./x", "GIT~1/x",
     ".g\u200bit/x", "git~2/config", "a/\u202egpj.exe", "a\0b", "a\nb", "a\\b", "C:/x", "a/.", "a.", "a ", " a", "e\u0301", "\uff0egit/x"],
)  # fmt: skip
def test_dangerous_paths(path: str) -> None:
    assert unsafe_path(path) is not None


def test_the_configs_own_files_are_protected() -> None:
    assert is_protected("Conf/Agents/x.md", {"conf/agents/x.md"})
    assert not is_protected("src/a.py")
    assert is_protected(".github/CODEOWNERS")


def test_branches() -> None:
    assert safe_branch("potato/coverage/add-tests")
    assert not safe_branch("main")


@pytest.mark.parametrize(
    "path", [".github", ".GitHub", "CODEOWNERS/x", "docs/codeowners/x", "orchestrator.yml/x", "agents", "agents/own.md", "AGENTS.override.md",
             "CLAUDE.local.md", ".opencode/agent.md", "opencode.json", ".husky"]
)  # fmt: skip
def test_a_protected_name_is_one_as_file_and_as_folder(path: str) -> None:
    assert is_protected(path, {"orchestrator.yml", "agents/own.md"})
    assert not is_protected("agentsx/own.md", {"orchestrator.yml", "agents/own.md"})
