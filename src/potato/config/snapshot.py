"""A config with its files as one thing that can be kept and laid out elsewhere, so that any worker runs what was decided by it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from potato.config.controls import controls_of
from potato.config.loader import Config, load_config
from potato.config.models import Document
from potato.core.routing import RoutingTable
from potato.errors import PotatoError

_PROTECTED: Final = ".potato-protected.json"

NOTHING: Final = Config("", ".", Document(), RoutingTable((), frozenset()), {}, "", (), frozenset(), controls_of(Document(), {}, ()))
"""The config of a process that decides nothing."""


def snapshot(config: Config) -> tuple[str, Mapping[str, bytes]]:
    """The name of the config's own file, and all files by their path in its folder. Raises `PotatoError` if one is gone."""
    file = os.path.relpath(os.path.realpath(config.file), config.folder)
    found: dict[str, bytes] = {_PROTECTED: json.dumps(sorted(config.protected)).encode()}
    for path in (file, *config.files):
        try:
            with open(os.path.join(config.folder, path), "rb") as opened:
                found[path] = opened.read()
        except OSError as error:
            raise PotatoError("config-unreadable", f"'{path}' cannot be read: {error.strerror}.") from None
    return file, found


def restore(folder: str, digest: str, file: str, files: Mapping[str, bytes]) -> Config:
    """Lay it out below `folder` and load it. Raises `PotatoError` if it is not what the digest says."""
    root = os.path.join(folder, digest.removeprefix("sha256:")[:32])
    for path, data in files.items():
        target = os.path.realpath(os.path.join(root, path))
        if os.path.commonpath((target, os.path.realpath(root))) != os.path.realpath(root):
            raise PotatoError("config-unreadable", "a stored config has files outside its folder.")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "wb") as opened:
            opened.write(data)
    config = load_config(os.path.join(root, file)).require()
    if config.digest != digest:
        raise PotatoError("config-unreadable", f"the stored config is not the one with digest {digest}.")
    protected = frozenset[str](json.loads(files[_PROTECTED]))
    return replace(config, protected=protected, controls=controls_of(config.document, config.agents, protected))
