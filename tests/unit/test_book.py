"""Which config holds where, when what stands above, below or in GitHub changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from potato.config.loader import load_config
from potato.errors import PotatoError
from potato.hub.book import Book, Keeping
from potato.ports import Entry
from potato.ports.hub import Adoption
from potato.testing import FakeForge, make_event

HUB = "hub: {configuration: {organisation: octo/platform, repositories: ['octo/*']}}\nloops: {depth: 5}\n"


@dataclass
class GitHub:
    """Repositories with one file each, by commit; `away` says that nobody answers."""

    heads: dict[str, str] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    away: bool = False
    asked: int = 0

    def push(self, repository: str, text: str | None) -> str:
        sha = f"{len(self.files):040x}"
        self.heads[repository] = sha
        self.files[repository, sha] = text.encode() if text is not None else b""
        return sha

    async def head(self, repository: str) -> str | None:
        self.asked += 1
        if self.away:
            raise PotatoError("github-unreachable", "nobody answers.")
        return self.heads.get(repository)

    async def file(self, repository: str, path: str, sha: str) -> bytes | None:
        await asyncio.sleep(0)
        return (self.files.get((repository, sha)) or None) if path == "orchestrator.yml" else None

    async def names(self, repository: str, folder: str, sha: str) -> list[str]:
        return []


@dataclass
class Kept:
    """Both `Adoptions` and `Configs`, in memory."""

    rows: dict[str, Adoption] = field(default_factory=dict)
    configs: dict[str, tuple[str, Mapping[str, bytes]]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def since(self, version: int) -> list[Adoption]:
        return sorted((row for row in self.rows.values() if row.version > version), key=lambda row: row.version)

    def put(self, adoption: Adoption, entry: Entry) -> Adoption:
        self.entries.append(entry)
        self.rows[adoption.repository] = replace(adoption, version=len(self.entries))
        return self.rows[adoption.repository]

    def keep(self, digest: str, file: str, files: Mapping[str, bytes]) -> None:
        self.configs[digest] = (file, files)

    def read(self, digest: str) -> tuple[str, Mapping[str, bytes]] | None:
        return self.configs.get(digest)


@dataclass
class World:
    folder: Path
    github: GitHub = field(default_factory=GitHub)
    kept: Kept = field(default_factory=Kept)
    forge: FakeForge = field(default_factory=FakeForge)

    async def book(self, text: str = HUB, *, github: bool = True) -> Book:
        path = self.folder / "orchestrator.yml"
        path.write_text(text)
        laid = self.folder / "laid"
        laid.mkdir(exist_ok=True)
        sources = self.github if github else None
        book = Book(load_config(str(path)).require(), Keeping(sources, self.kept, self.kept, self.forge, str(laid)))
        await book.begin()
        return book

    def problem(self, repository: str) -> str:
        return self.kept.rows[repository].problem

    def told(self) -> list[tuple[str, str | None]]:
        return [(report.repository, report.conclusion) for report in self.forge.reports]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.github.push("octo/platform", "loops: {depth: 3}\n")
    return made


async def depth(book: Book, repository: str = "octo/app") -> int:
    return (await book.get(repository)).controls.caps.depth


async def test_a_reverted_branch_clears_the_problem(world: World) -> None:
    good = world.github.push("octo/app", "loops: {depth: 1}\n")
    book = await world.book()
    assert await depth(book) == 1
    world.github.push("octo/app", "loops: {depth: 9}\n")
    await book.look("octo/app")
    assert "loosens-policy" in world.problem("octo/app")
    assert await depth(book) == 1
    world.github.heads["octo/app"] = good
    await book.look("octo/app")
    assert world.problem("octo/app") == ""
    assert world.told() == [("octo/app", "failure"), ("octo/app", "success")]


async def test_what_is_refused_is_told_once(world: World) -> None:
    world.github.push("octo/app", "loops: {depth: 9}\n")
    for _ in range(2):  # also after a restart
        book = await world.book()
        for _ in range(3):
            await book.look("octo/app")
            assert await depth(book) == 3
    assert world.told() == [("octo/app", "failure")]
    assert [entry.kind for entry in world.kept.entries] == ["config", "config-refused"]


async def test_a_tighter_organisation_puts_out_of_use_what_does_not_fit_and_a_looser_one_takes_it_back(world: World) -> None:
    world.github.push("octo/app", "loops: {depth: 2}\n")
    world.github.push("octo/other", "loops: {depth: 1}\n")
    book = await world.book()
    assert (await depth(book), await depth(book, "octo/other"), await depth(book, "octo/none")) == (2, 1, 3)
    world.github.push("octo/platform", "loops: {depth: 1}\n")
    await book.look("octo/platform")
    assert (await depth(book), await depth(book, "octo/other"), await depth(book, "octo/none")) == (1, 1, 1)
    assert "loosens-policy" in world.problem("octo/app")
    world.github.push("octo/platform", "loops: {depth: 4}\n")
    await book.look("octo/platform")
    assert (await depth(book), await depth(book, "octo/other"), await depth(book, "octo/none")) == (2, 1, 4)
    assert world.problem("octo/app") == ""


async def test_a_commit_that_the_organisation_refused_is_read_again_when_that_changes(world: World) -> None:
    world.github.push("octo/app", "loops: {depth: 1}\n")
    book = await world.book()
    assert await depth(book) == 1
    world.github.push("octo/app", "loops: {depth: 4}\n")
    await book.look("octo/app")
    assert await depth(book) == 1
    world.github.push("octo/platform", "loops: {depth: 5}\n")
    await book.look("octo/platform")
    assert await depth(book) == 4


async def test_an_organisation_that_does_not_fit_the_hub_decides_nothing_and_says_why(world: World) -> None:
    book = await world.book(HUB.replace("depth: 5", "depth: 1"))
    with pytest.raises(PotatoError, match=r"configuration-unavailable: .*loops.depth is more than the config above allows"):
        await book.get("octo/app")
    assert book.known("octo/app") is None
    world.github.push("octo/platform", "loops: {depth: 0}\n")
    await book.look("octo/platform")
    assert await depth(book) == 0


async def test_a_hub_file_that_the_organisation_does_not_fit_is_not_used(world: World) -> None:
    book = await world.book()
    assert await depth(book) == 3
    path = world.folder / "orchestrator.yml"
    path.write_text(HUB.replace("depth: 5", "depth: 1"))
    await book._reload()
    assert "does not go with it" in world.problem("")
    assert await depth(book) == 3
    path.write_text(HUB.replace("depth: 5", "depth: 4, runs_per_head: 7"))
    await book._reload()
    assert world.problem("") == ""
    assert (await book.get("octo/app")).controls.caps.runs_per_head == 7


async def test_the_kept_ones_hold_while_nobody_answers_and_without_any_nothing_is_decided(world: World) -> None:
    world.github.push("octo/app", "loops: {depth: 1}\n")
    assert await depth(await world.book()) == 1
    world.github.away = True
    book = await world.book()
    assert await depth(book) == 1
    with pytest.raises(PotatoError, match="configuration-unavailable: the config of octo/unseen cannot be read: nobody answers"):
        await book.get("octo/unseen")
    offline = await world.book(github=False)  # the command line, which asks nobody
    assert await depth(offline) == 1


async def test_a_repository_that_cannot_be_seen_any_more_keeps_its_config_and_one_that_removed_it_does_not(world: World) -> None:
    world.github.push("octo/app", "loops: {depth: 1}\n")
    book = await world.book()
    assert await depth(book) == 1
    del world.github.heads["octo/app"]
    await book.look("octo/app")
    assert await depth(book) == 1
    assert "cannot be seen" in world.problem("octo/app")
    world.github.push("octo/app", None)
    await book.look("octo/app")
    assert await depth(book) == 3
    assert world.problem("octo/app") == ""


async def test_another_hubs_adoption_is_heard(world: World) -> None:
    one, two = await world.book(), await world.book()
    assert (await depth(one), await depth(two)) == (3, 3)
    world.github.push("octo/app", "loops: {depth: 2}\n")
    await one.look("octo/app")
    await two._hear_of_others()
    assert await depth(two) == 2
    world.github.push("octo/platform", "loops: {depth: 1}\n")
    await one.look("octo/platform")
    await two._hear_of_others()
    assert (await depth(one), await depth(two)) == (1, 1)


async def test_a_change_above_while_one_below_is_read_does_not_leave_the_old_one_above(world: World) -> None:
    for number in range(20):
        world.github.push(f"octo/app{number}", "loops: {runs_per_head: 3}\n")
    book = await world.book()
    await book.get("octo/platform")
    world.github.push("octo/platform", "loops: {depth: 1}\n")
    await asyncio.gather(*(book.get(f"octo/app{number}") for number in range(10)), book.look("octo/platform"),
                         *(book.get(f"octo/app{number}") for number in range(10, 20)))  # fmt: skip
    assert {await depth(book, f"octo/app{number}") for number in range(20)} == {1}


async def test_the_organisations_own_repository_and_foreign_ones_have_its_config_alone(world: World) -> None:
    world.github.push("else/where", "loops: {depth: 1}\n")
    book = await world.book()
    assert await depth(book, "OCTO/Platform") == 3
    assert await depth(book, "else/where") == 3
    assert not book.covers("octo/platform")
    assert book.concerned(make_event(event="push", repository="octo/platform"))
    assert not book.concerned(make_event(event="push", repository="else/where"))
    asked = world.github.asked
    await book.get("else/where")
    assert world.github.asked == asked
