"""A config with its files, and those above it, as one thing to keep and lay out elsewhere: any worker runs what was decided by it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from potato.config.config import Config, Layer
from potato.config.controls import controls_of
from potato.config.loader import load_config
from potato.config.models import Document
from potato.core.routing import RoutingTable
from potato.errors import PotatoError

_PROTECTED: Final = ".potato-protected.json"
_LAYERS: Final = ".potato-layers.json"

NOTHING: Final = Config("", ".", Document(), RoutingTable((), frozenset()), {}, "", (), frozenset(), controls_of(Document(), {}, ()))
"""The config of a process that decides nothing."""


def snapshot(config: Config) -> tuple[str, Mapping[str, bytes]]:
    """The path of the config's own file, and all files by their paths. Raises `PotatoError` if one is gone.

    A config below others comes with theirs: each in a folder of its own, the uppermost first.
    """
    if config.above is None:
        file, found = _files(config)
        return file, {**found, _PROTECTED: json.dumps(sorted(config.protected)).encode()}
    parts: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for number, part in enumerate(_from_above(config)):
        file, found = _files(part)
        at = os.path.relpath(part.folder, os.path.realpath(part.layer.root)) if part.layer else "."
        prefix = os.path.normpath(os.path.join(str(number), at))
        files |= {os.path.join(prefix, path): data for path, data in found.items()}
        layer = {"kind": part.layer.kind, "repository": part.layer.repository} if part.layer else {"protected": sorted(part.protected)}
        parts.append({"root": str(number), "file": os.path.join(prefix, file), **layer})
    return _LAYERS, {**files, _LAYERS: json.dumps(parts).encode()}


def _from_above(config: Config) -> Iterator[Config]:
    if config.above is not None:
        yield from _from_above(config.above)
    yield config


def _files(config: Config) -> tuple[str, dict[str, bytes]]:
    file = os.path.relpath(os.path.realpath(config.file), config.folder)
    found: dict[str, bytes] = {}
    for path in (file, *config.files):
        try:
            with open(os.path.join(config.folder, path), "rb") as opened:
                found[path] = opened.read()
        except OSError as error:
            raise PotatoError("config-unreadable", f"'{path}' cannot be read: {error.strerror}.") from None
    return file, found


def lay_out(root: str, files: Mapping[str, bytes]) -> None:
    """Write files below a folder. Raises `PotatoError` for one that would lie outside."""
    inside = os.path.realpath(root)
    for path, data in files.items():
        target = os.path.realpath(os.path.join(root, path))
        if os.path.commonpath((target, inside)) != inside:
            raise PotatoError("config-unreadable", "a stored config has files outside its folder.")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "wb") as opened:
            opened.write(data)


def restore(folder: str, digest: str, file: str, files: Mapping[str, bytes]) -> Config:
    """Lay it out below `folder` and load it. Raises `PotatoError` if it is not what the digest says."""
    root = os.path.join(folder, digest.removeprefix("sha256:")[:32])
    lay_out(root, files)
    config = (
        _layered(root, json.loads(files[_LAYERS])) if file == _LAYERS else _top(os.path.join(root, file), json.loads(files[_PROTECTED]))
    )
    if config.digest != digest:
        raise PotatoError("config-unreadable", f"the stored config is not the one with digest {digest}.")
    return config


def _top(path: str, protected: list[str]) -> Config:
    config = load_config(path).require()
    return replace(config, protected=frozenset(protected), controls=controls_of(config.document, config.agents, protected))


def _layered(root: str, parts: list[dict[str, Any]]) -> Config:
    config = _top(os.path.join(root, parts[0]["file"]), parts[0]["protected"])
    for part in parts[1:]:
        layer = Layer(part["kind"], part["repository"], os.path.join(root, part["root"]))
        config = load_config(os.path.join(root, part["file"]), config, layer).require()
    return config
