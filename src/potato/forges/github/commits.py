"""Commit whole files to a branch through the Git data API, so that doing it again changes nothing.

Source: https://docs.github.com/en/rest/git/trees#create-a-tree
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from potato.core.proposal import FileChange
from potato.errors import PotatoError
from potato.forges.github.client import GitHubClient


async def commit_files(
    client: GitHubClient, repository: str, base: str, branch: str, message: str, files: list[FileChange], parent: str | None = None
) -> str | None:
    """Bring `branch` to the files of `base` with these changes; gives the new commit, if there is one.

    With a `parent` they are changes of that commit, whatever `base` is by now. A branch that has the same tree is left alone; one that
    has another gets a commit on top, never a forced update.
    Raises `PotatoError` with code `nothing-to-change` if `base` is so already.
    """
    root = f"/repos/{repository}/git"
    base_sha = parent or await _head(client, root, base)
    if base_sha is None:
        raise PotatoError("no-base", f"the branch '{base}' does not exist.")
    base_tree = (await client.get(f"{root}/commits/{base_sha}"))["tree"]["sha"]
    tree = (await client.post(f"{root}/trees", {"base_tree": base_tree, "tree": [_entry(change) for change in files]}))["sha"]
    if tree == base_tree:
        raise PotatoError("nothing-to-change", f"'{base}' has these files already.")
    head = await _head(client, root, branch)
    if head is not None and (await client.get(f"{root}/commits/{head}"))["tree"]["sha"] == tree:
        return None
    commit = (await client.post(f"{root}/commits", {"message": message, "tree": tree, "parents": [head or base_sha]}))["sha"]
    if head is None:
        await client.post(f"{root}/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
    else:
        await client.patch(f"{root}/refs/heads/{quote(branch)}", {"sha": commit, "force": False})
    return str(commit)


async def _head(client: GitHubClient, root: str, branch: str) -> str | None:
    found = await client.find(f"{root}/ref/heads/{quote(branch)}")
    return str(found["object"]["sha"]) if found else None


def signed_off(title: str, login: str, agent: str, key: str) -> str:
    """A commit's message: who did it and for which run, and that account's sign-off.

    Source: https://git-scm.com/docs/git-commit (--signoff) and
    https://docs.github.com/en/account-and-profile/reference/email-addresses-reference
    """
    return f"{title}\n\nPotato-Agent: {agent}\nPotato-Run: {key}\nSigned-off-by: {login} <{login}@users.noreply.github.com>"


def _entry(change: FileChange) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": change.path, "mode": "100755" if change.executable else "100644", "type": "blob"}
    return entry | ({"sha": None} if change.content is None else {"content": change.content})
