"""Globs whose whole meaning is one look-up: shape and key.

A glob such as `src/**/*.py` says: some path lies below `src/` and its extension is `.py`. So it has a *shape*
(`below-ext`) and a *key* (the directory and the extension), and it matches exactly if its key is among the keys that the
event's paths have in that shape. An event's keys are made once; after that each glob costs one hash look-up, and many
thousand globs cost the intersection of two sets. Any other glob has no shape and is matched text by text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from potato.core.expression.pattern import is_literal

ShapeName = Literal["exact", "below", "inside", "within", "below-ext", "inside-ext", "below-name", "prefix", "suffix"]

MAX_LENGTH: Final = 256
MAX_LEVELS: Final = 16
_JOIN: Final = "\0"


class Shape(NamedTuple):
    """`key` is what must be among the keys of an event's values for the glob to match one of them."""

    name: ShapeName
    key: str


def shape_of(glob: str, *, in_path: bool) -> Shape | None:
    """The shape of a glob, if it has one: exactly the texts that have its key match it."""
    if is_literal(glob):
        return Shape("exact", glob)
    if "?" in glob or len(glob) > MAX_LENGTH:
        return None
    return _path_shape(glob) if in_path else _text_shape(glob)


def _text_shape(glob: str) -> Shape | None:
    body = glob.strip("*")
    if "*" in body or not body:
        return None
    if glob.startswith("*"):
        return None if glob.endswith("*") else Shape("suffix", body)
    return Shape("prefix", body)


def _path_shape(glob: str) -> Shape | None:
    """`directory` is the literal front with its last slash, or empty for the root."""
    star = glob.index("*")
    directory = glob[: glob.rfind("/", 0, star) + 1]
    rest = glob[len(directory) :]
    if directory.count("/") > MAX_LEVELS:
        return None
    if rest == "**":
        return Shape("below", directory)
    if rest == "*":
        return Shape("inside", directory)
    below = rest.startswith("**/")
    name = rest[3:] if below else rest
    if not directory and below and name.endswith("/**") and is_literal(name[:-3]) and "/" not in name[:-3] and name[:-3]:
        return Shape("within", name[:-3])
    if "/" in name:
        return None
    if is_literal(name):
        return Shape("below-name", f"{directory}{_JOIN}{name}") if below else None
    extension = name[1:]
    if name[0] == "*" and is_literal(extension) and extension.startswith(".") and extension.count(".") == 1:
        return Shape("below-ext" if below else "inside-ext", f"{directory}{_JOIN}{extension}")
    return None


class Places:
    """Where some paths lie: the directories by extension, each with its last slash, and what is above each."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = paths
        self.by_extension = places_of(paths)
        self.directories = frozenset[str]().union(*self.by_extension.values())
        self.above = {directory: ancestors_of(directory) for directory in self.directories}


def places_of(paths: Iterable[str]) -> dict[str, set[str]]:
    """Extension -> directories. It starts at the last dot of the last part; without a dot it is empty, as no key's is."""
    places: dict[str, set[str]] = {}
    for path in paths:
        end = path.rfind("/") + 1
        dot = path.rfind(".", end)
        extension = path[dot:] if dot >= 0 else ""
        try:
            places[extension].add(path[:end])
        except KeyError:
            places[extension] = {path[:end]}
    return places


def keys_of(name: ShapeName, places: Places) -> frozenset[str]:
    """The keys that the paths have in one of the shapes of paths."""
    above = places.above
    match name:
        case "inside":
            return places.directories
        case "below":
            return frozenset[str]().union(*above.values())
        case "within":
            return frozenset({part for directory in places.directories for part in directory.split("/")})
        case "inside-ext":
            return frozenset({f"{directory}{_JOIN}{tail}" for tail, found in places.by_extension.items() for directory in found})
        case _:
            by_tail = places.by_extension if name == "below-ext" else _by_name(places.paths)
            return frozenset(
                {f"{each}{_JOIN}{tail}" for tail, found in by_tail.items() for directory in found for each in above[directory]}
            )


def _by_name(paths: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in paths:
        end = path.rfind("/") + 1
        found.setdefault(path[end:], set()).add(path[:end])
    return found


def ancestors_of(directory: str) -> list[str]:
    """The directory and all above it, the root included; what is too deep or long to stand in a glob with a shape is left out.

    The bounds keep the work linear in the size of the paths, which strangers choose.
    """
    if len(directory) > MAX_LENGTH or directory.count("/") > MAX_LEVELS:
        directory = _bounded(directory)
    found = [directory]
    while directory:
        directory = directory[: directory.rfind("/", 0, -1) + 1]
        found.append(directory)
    return found


def _bounded(directory: str) -> str:
    cut = directory[: directory.rfind("/", 0, MAX_LENGTH) + 1]
    return cut[: len(cut) - len(cut.split("/", MAX_LEVELS)[-1])]
