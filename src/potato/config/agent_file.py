"""An agent's markdown file: optional YAML front matter between `---` lines, then the prompt."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import Final

from potato.config.yaml_tree import Tree, read_tree

MAX_BYTES: Final = 1024 * 1024
_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)

_OPENER: Final = re.compile(r"\s*---[ \t]*\r?\n[ \t]*[a-z_]+[ \t]*:")


@dataclass(frozen=True, slots=True)
class AgentFile:
    """`tree` is the front matter, absent where there is none; `raw` is what the config digest covers."""

    tree: Tree | None
    prompt: str
    raw: bytes


def confined(folder: str, ref: str) -> str:
    """The absolute path of a file inside `folder`. Raises `ValueError` with the reason.

    Refused: absolute paths, `..` leading out, a symbolic link anywhere on the way, what is no plain file.
    """
    if os.path.isabs(ref) or "\0" in ref or "\\" in ref:
        message = f"'{ref[:200]}' is not a relative path"
        raise ValueError(message)
    parts = os.path.normpath(ref).split(os.sep)
    if parts[0] == "..":
        message = f"'{ref}' leads out of the config's folder"
        raise ValueError(message)
    path, mode = folder, 0
    for part in parts:
        path = os.path.join(path, part)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            message = f"'{ref}' does not exist beside the config"
            raise ValueError(message) from None
        if stat.S_ISLNK(mode):
            message = f"'{ref}' is or goes through a symbolic link"
            raise ValueError(message)
    if not stat.S_ISREG(mode):
        message = f"'{ref}' is not a plain file"
        raise ValueError(message)
    return path


def read_agent_file(path: str, shown: str) -> AgentFile:
    """Read a confined file; `shown` is its name in messages. Raises `ValueError` with the reason."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        message = f"'{shown}' is larger than {MAX_BYTES:,} bytes"
        raise ValueError(message)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"'{shown}' is not UTF-8 at byte {error.start}"
        raise ValueError(message) from None
    front = _FRONT.match(text)
    if front is None:
        if _OPENER.match(text):
            message = f"'{shown}' has front matter that does not start on the first line, or is never closed by '---'"
            raise ValueError(message)
        return AgentFile(None, text, raw)
    head = front[1]
    tree = read_tree(shown, head.encode(), base_line=1) if head.strip() else None
    return AgentFile(tree, text[front.end() :].lstrip("\n"), raw)
