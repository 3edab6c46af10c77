"""Hostile repositories: nothing in one runs when it is checked out, and what an agent leaves in its workspace is looked at, not believed.

Rows A04, A10 and I03 of the threats.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract.test_runners import request, survivors
from security.test_cage import caged
from support.github import wait_until

from potato.core.gate import Grant, Setting, judge
from potato.errors import PotatoError
from potato.forges import git as forge_git
from potato.forges.git import GitCheckout, fetched, taken
from potato.hub.patches import with_patch
from potato.ports import Bounds, Change, Report, Source
from potato.testing import make_event

TOUCH = "#!/bin/sh\ntouch CANARY_FILE\n"


def git(folder: Path, *args: str, data: str | None = None) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "x", f"GIT_{who}_EMAIL": "x@example.com"}
    return subprocess.run(["git", *args], cwd=folder, env=env, input=data, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With what a repository may try: filters, hooks, submodules, links out, names that mean something elsewhere."""
    folder = tmp_path / "repository"
    folder.mkdir()
    touch = TOUCH.replace("CANARY_FILE", str(tmp_path / "ran"))
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitattributes").write_text(
        "*.bin filter=lfs diff=lfs merge=lfs -text\n*.txt filter=evil diff=evil\n*.md export-subst ident\n"
    )
    (folder / ".gitmodules").write_text(
        '[submodule "evil"]\n\tpath = evil\n\turl = ext::sh -c touch% ' + str(tmp_path / "ran") + "\n\tupdate = !touch ran\n"
    )
    (folder / ".gitconfig").write_text(f"[core]\n\tfsmonitor = {tmp_path}/touch\n\thooksPath = hooks\n")
    (folder / ".lfsconfig").write_text("[lfs]\n\turl = http://127.0.0.1:1/\n")
    (folder / "hooks").mkdir()
    for hook in ("post-checkout", "post-index-change", "reference-transaction"):
        (folder / "hooks" / hook).write_text(touch)
        (folder / "hooks" / hook).chmod(0o755)
    (folder / "large.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n")
    (folder / "note.txt").write_text("a note\n")
    (folder / "README.md").write_text("$Id$ $Format:%H$\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / ".gitignore").write_text("*.pyc\nbuild/\n")
    os.symlink("/etc/passwd", folder / "passwd")
    os.symlink("../..", folder / "up")
    (folder / "line\nbreak \u202e.txt").write_text("odd name")
    git(folder, "add", "-A")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},evil")
    git(folder, "commit", "-q", "-m", "all of it")
    (tmp_path / "touch").write_text(touch)
    (tmp_path / "touch").chmod(0o755)
    for key, value in (("core.hooksPath", str(folder / "hooks")), ("filter.evil.smudge", str(tmp_path / "touch")), ("core.fsmonitor", str(tmp_path / "touch")),
                       ("filter.lfs.smudge", str(tmp_path / "touch")), ("uploadpack.packObjectsHook", str(tmp_path / "touch"))):  # fmt: skip
        git(folder, "config", key, value)
    return folder


async def in_workspace(tmp_path: Path, repository: Path, script: str) -> tuple[Report, GitCheckout, list[Change]]:
    checkout = await taken(str(repository / ".git"), git(repository, "rev-parse", "HEAD"))
    asked = request(tmp_path, command=("/bin/sh", "-c", f"cat > /dev/null; cd /workspace; {script}; echo '{{}}'"), sandbox="auto")
    report = await caged(replace(asked, source=checkout.source))
    assert report.failure is None, report.log
    assert report.changes is not None
    return report, checkout, await checkout.differing(report.changes)


async def test_nothing_of_a_repository_runs_and_all_of_it_is_there(tmp_path: Path, repository: Path) -> None:
    assert not (tmp_path / "ran").exists()
    look = "ls -A >&2; git status --short >&2; cat large.bin note.txt README.md >&2; git log --format=%H >&2; git config --list >&2; test -x run.sh && echo may-run >&2"
    report, checkout, changes = await in_workspace(tmp_path, repository, look)
    assert not (tmp_path / "ran").exists()
    assert changes == []
    for said in (
        "note.txt",
        "a note",
        "git-lfs.github.com/spec",
        "$Format:%H$",
        "may-run",
        "core.hookspath=/dev/null",
        checkout.source.commit,
    ):
        assert said in report.log, report.log
    assert "evil" not in [name for name in report.log.split() if name == "evil/.git"]
    await checkout.close()
    assert not Path(checkout.source.pack).exists()


async def test_what_differs_is_told_by_content_not_by_the_agents_git(tmp_path: Path, repository: Path) -> None:
    """It may commit, reset, stage, exclude, rewrite its index, or replace its .git: the files count."""
    script = (
        "echo new > a.txt; git add a.txt; git commit -qm x; echo more >> note.txt; git update-index --assume-unchanged note.txt; "
        "echo README.md > .git/info/exclude; rm run.sh; touch README.md; mkdir -p build sub; echo x > build/out; echo x > sub/b.pyc; "
        "chmod +x .gitignore; rm -rf .git; git init -q .; git add -A; echo 'c' > c.txt"
    )
    _, checkout, changes = await in_workspace(tmp_path, repository, script)
    assert sorted((change.path, change.content is None) for change in changes) == [
        (".gitignore", False), ("a.txt", False), ("c.txt", False), ("note.txt", False), ("run.sh", True),
    ]  # fmt: skip
    await checkout.close()


GRANT = Grant("worker", "orchestrator", frozenset({"open_pr"}), {}, ("docs/**", "*.txt"))


def judged(changes: list[Change], commit: str, grant: Grant = GRANT) -> Any:
    setting = Setting(make_event(), True, "sha256:c", frozenset({"worker"}), frozenset({"orchestrator.yml"}), {}, commit=commit)
    (verdict,) = judge(with_patch([{"kind": "open_pr", "title": "t"}], changes, commit, "s", "worker", grant.permissions), grant, setting)
    return verdict


@pytest.mark.parametrize(
    ("script", "answer", "said"),
    [
        ("echo x > ok.txt", "allow", ""),
        ("echo x > docs; rm docs; mkdir docs; echo y > docs/a.md", "allow", ""),
        ("echo x >> README.md", "deny", "'README.md' is not among those that worker may change"),
        ("rm README.md", "deny", "'README.md' is not among those"),
        ("chmod +x README.md", "deny", "'README.md' is not among those"),
        ("mv README.md readme.txt", "deny", "'README.md' is not among those"),
        ("rm note.txt; ln -s /etc/passwd note.txt", "deny", "a symbolic link"),
        ("ln -s ../../etc/passwd new.txt", "deny", "a symbolic link"),
        ("rm passwd; echo x > passwd", "deny", "'passwd' is not among those"),
        ("head -c 100 /dev/zero > zero.txt; printf '\\377\\376' >> zero.txt", "deny", "it is no text"),
        ("mkfifo pipe.txt", "deny", "no plain file"),
        ("printf x > \"$(printf '\\377.txt')\"", "deny", "its name is none"),
        ("echo x > ':!x.txt'; echo x > ':(foo)x.txt'; mkdir -p ':'; echo x > ':/build'", "deny", "the path ':(foo)x.txt' is refused"),
        ("mkdir -p ':/docs'; echo x > ':/docs/a.pyc'; echo x > ok.txt", "allow", ""),
        ("for n in $(seq 9); do head -c 999999 /dev/zero | tr '\\0' % > $n.txt; done", "deny", "with all others it has 8,999,991 bytes"),
        ("mkdir -p docs/.git; echo '[core]' > docs/.git/config", "deny", ".git"),
        ("mkdir -p docs/.GIT; echo x > docs/.GIT/config", "deny", ".GIT"),
        ("mkdir -p 'docs/git~1'; echo x > 'docs/git~1/config'", "deny", "git~1"),
        ("printf x > \"$(printf 'docs\\nx.txt')\"", "deny", "path"),
        ("mkdir -p docs; echo x > docs/.gitmodules", "needs_approval", "protected"),
        ("mkdir -p docs; head -c 3000000 /dev/zero | tr '\\0' x > docs/a.txt", "deny", ""),
        ("mkdir -p docs; for n in $(seq 400); do echo x > docs/$n; done", "deny", ""),
    ],
)  # fmt: skip
async def test_a_patch_is_judged_file_by_file(script: str, answer: str, said: str, tmp_path: Path, repository: Path) -> None:
    _, checkout, changes = await in_workspace(tmp_path, repository, script)
    verdict = judged(changes, checkout.source.commit)
    assert (verdict.answer, said in verdict.reason) == (answer, True), verdict.reason
    await checkout.close()


@pytest.mark.parametrize("path", [".github/workflows/x.yml", "CODEOWNERS", "docs/CODEOWNERS", "orchestrator.yml", ".gitmodules", ".gitattributes", ".husky/pre-commit",
                                  ".GitHub/Workflows/x.yml"])  # fmt: skip
@pytest.mark.slow
async def test_protected_files_wait_for_people_wherever_a_patch_may_write(path: str, tmp_path: Path, repository: Path) -> None:
    _, checkout, changes = await in_workspace(tmp_path, repository, f"mkdir -p $(dirname {path}); echo x > {path}")
    verdict = judged(changes, checkout.source.commit, replace(GRANT, paths=()))
    assert (verdict.answer, "protected" in verdict.reason) == ("needs_approval", True), verdict.reason
    await checkout.close()


async def test_more_files_than_anybody_reads_end_the_run(tmp_path: Path, repository: Path) -> None:
    checkout = await taken(str(repository / ".git"), git(repository, "rev-parse", "HEAD"))
    script = "cat > /dev/null; cd /workspace; for n in $(seq 2500); do : > f$n; done; echo '{}'"
    report = await caged(replace(request(tmp_path, command=("/bin/sh", "-c", script), sandbox="auto"), source=checkout.source))
    assert "more than" in str(report.failure)
    await checkout.close()


@pytest.mark.parametrize(
    "url", ["file:///etc", "ext::sh -c touch% /tmp/x", "ssh://127.0.0.1/x", "git://127.0.0.1/x", "/etc", "--upload-pack=touch /tmp/x"]
)
async def test_nothing_but_http_is_fetched_from(url: str) -> None:
    with pytest.raises(PotatoError, match="checkout-failed"):
        await fetched(url, "0" * 40, {})


async def test_a_commit_that_is_not_there(repository: Path) -> None:
    for commit in ("0" * 40, "--help", "HEAD~99", "main;touch x"):
        with pytest.raises(PotatoError, match="checkout-failed"):
            await taken(str(repository / ".git"), commit)


async def test_an_agent_that_leaves_garbage_in_its_report_of_changes_says_nothing(tmp_path: Path, repository: Path) -> None:
    """Its own word about changes is not asked for: `files` with a workspace come from the hub."""
    script = "echo x > ok.txt"
    report, checkout, changes = await in_workspace(tmp_path, repository, script)
    proposed = [{"kind": "open_pr", "title": "t", "files": [{"path": "README.md", "content": "forged"}], "parent": "f" * 40}]
    given = with_patch(proposed, changes, checkout.source.commit, report.summary, "worker", GRANT.permissions)
    setting = Setting(make_event(), True, "sha256:c", frozenset(), frozenset(), {}, commit=checkout.source.commit)
    assert [verdict.answer for verdict in judge(given, GRANT, setting)] == ["deny"]
    assert json.dumps(given).count("forged") == 1
    await checkout.close()


async def test_rules_for_ignoring_are_read_where_they_stand_above_a_file(tmp_path: Path, repository: Path) -> None:
    """All of them by two commands, however many there are; what is larger than rules ever are holds for nothing."""
    for number in range(50):
        (repository / f"d{number}").mkdir()
        (repository / f"d{number}" / ".gitignore").write_text(f"*.o{number}\n" if number else "*.o\n" + "#" * (8 << 20))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "rules")
    script = "for n in 0 1 2; do echo x > d$n/a.o; echo x > d$n/a.o$n; done; mkdir -p d3/e; echo x > d3/e/a.o3; echo x > d3/e/a.pyc"
    _, checkout, changes = await in_workspace(tmp_path, repository, script)
    assert sorted(change.path for change in changes) == ["d0/a.o", "d0/a.o0", "d1/a.o", "d2/a.o"]
    await checkout.close()


async def test_a_tree_that_names_what_lies_outside_is_not_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`..` in a commit of a repository on this machine, which nobody has looked through."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    rules = git(folder, "hash-object", "-w", "--stdin", data="*.x\n")
    tree = git(folder, "mktree", data=f"100644 blob {rules}\t.gitignore\n")
    for _ in range(3):  # from the tree that rules are laid out in: the checkout's folder, that of all such, and the test's
        (tmp_path / "tree").write_bytes(b"40000 ..\0" + bytes.fromhex(tree))
        tree = git(folder, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "tree"))
    (tmp_path / "temporary").mkdir()
    commit = git(folder, "commit-tree", "-m", "x", tree)
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        checkout = await taken(str(folder / ".git"), commit)
    change = Change("new.x", 0o100644, b"x")
    assert await checkout.differing([change]) == [change]
    asked = request(tmp_path, command=("/bin/sh", "-c", "cat > /dev/null; echo '{}'"), sandbox="auto")
    assert "cannot be checked out" in str((await caged(replace(asked, source=checkout.source))).failure)
    assert not list(tmp_path.glob(".gitignore"))
    await checkout.close()


@pytest.mark.slow
async def test_a_small_commit_of_endless_names_and_a_deep_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tree says once stands in each of its paths: these are told neither by git nor by the agent's folders all at once."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    blob = git(folder, "hash-object", "-w", "--stdin", data="*.x\n")
    tree = git(folder, "mktree", data="".join(f"100644 blob {blob}\tf{number}\n" for number in range(50_000)))
    for _ in range(15):
        tree = git(folder, "mktree", data=f"040000 tree {tree}\t{'d' * 250}\n")
    checkout = await taken(str(folder / ".git"), git(folder, "commit-tree", "-m", "x", tree))
    sizes: list[int] = []
    original = forge_git.git

    async def measured(*arguments: Any, **options: Any) -> bytes:
        told = await original(*arguments, **options)
        sizes.append(len(told))
        return told

    monkeypatch.setattr(forge_git, "git", measured)
    known = Change("/".join(["d" * 250] * 15) + "/f7", 0o100644, b"*.x\n")
    deep = [Change("/".join("d" * 1_900) + f"/{number}", 0o100644, b"x") for number in range(2_000)]
    wide = [Change(f"{number}/" * 30 + "a.x", 0o100644, b"x") for number in range(2_000)]
    assert await checkout.differing([known, *deep, *wide]) == [*deep, *wide]
    assert max(sizes) < 1 << 20
    asked = request(tmp_path, command=("/bin/sh", "-c", "cat > /dev/null; echo '{}'"), sandbox="auto")
    report = await caged(replace(asked, source=checkout.source))
    assert "the paths of its files have more than 33,554,432 characters together" in str(report.failure)
    await checkout.close()


@pytest.mark.slow
async def test_rules_for_ignoring_that_never_end_have_an_end(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / ".gitignore").write_text("/" + "*a" * 12 + "b\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "rules")
    monkeypatch.setattr(forge_git, "_IGNORE_S", 0.5)
    checkout = await taken(str(repository / ".git"), git(repository, "rev-parse", "HEAD"))
    with pytest.raises(PotatoError, match=r"took more than 0\.5 s"):
        await checkout.differing([Change("a" * 60 + "c", 0o100644, b"x")])
    await checkout.close()


@pytest.mark.slow
async def test_checking_out_is_bound_as_the_agent_is(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, in time, and by who stops the run."""
    (repository / "large").write_bytes(os.urandom(96 << 20))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "large")
    checkout = await taken(str(repository / ".git"), git(repository, "rev-parse", "HEAD"))
    asked = replace(request(tmp_path, command=("/bin/sh", "-c", "echo '{}'"), sandbox="auto"), source=checkout.source)
    small = replace(asked, bounds=Bounds(memory_bytes=48 << 20))
    if os.geteuid() == 0:  # without control groups nobody counts what lies in a file system of memory; that has its own size
        assert (await caged(small)).failure == "it needed more than 50,331,648 bytes of memory"
    assert "cannot be checked out" in str((await caged(replace(asked, bounds=Bounds(disk_bytes=48 << 20)))).failure)
    endless = str(tmp_path / "endless")
    os.mkfifo(endless)
    end = os.open(endless, os.O_RDWR)
    waiting = replace(asked, source=Source(checkout.source.commit, endless))
    monkeypatch.setattr("potato.spokes.cage.process._CHECK_OUT_S", 0.5)
    assert (await caged(waiting)).failure == "it cannot be started: no cage: the commit was not checked out within 0.5 s"
    monkeypatch.setattr("potato.spokes.cage.process._CHECK_OUT_S", 600)
    monkeypatch.setattr("potato.spokes.cage.process._ASK_S", 600)
    running = asyncio.create_task(caged(waiting))
    assert await asyncio.to_thread(wait_until, lambda: bool(survivors(checkout.source.commit)))
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert survivors(checkout.source.commit) == []
    os.close(end)
    await checkout.close()
