"""Which files belong to a config, found without having them: what must be fetched before it can be loaded."""

from __future__ import annotations

import re
from typing import Any, Final

from potato.config.yaml_tree import read_tree
from potato.core.foreign import as_list, as_object

_FRONT: Final = re.compile(rb"---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)


def references(raw: bytes) -> list[str]:
    """Paths that a config names, relative to its folder, each once; those of programs may not exist. What is malformed names none."""
    agents = as_object(as_object(read_tree("", raw).data).get("agents"))
    found = [path for model in map(as_object, agents.values()) for path in (*_text(model.get("ref")), *_execution(model))]
    return [path for path in dict.fromkeys(found) if not path.startswith("builtin:")]


def references_of_agent(raw: bytes) -> list[str]:
    """Paths that an agent's file names in its front matter."""
    front = _FRONT.match(raw)
    return list(dict.fromkeys(_execution(as_object(read_tree("", front[1]).data)))) if front else []


def references_of_tests(raw: bytes) -> list[str]:
    """Paths of payloads that a file of tests names, relative to it."""
    tests = as_list(as_object(read_tree("", raw).data).get("tests"))
    return list(dict.fromkeys(path for test in map(as_object, tests) for path in _text(test.get("payload"))))


def is_agent_file(path: str) -> bool:
    """Whether it may have front matter."""
    return path.endswith((".md", ".markdown"))


def _execution(model: dict[str, Any]) -> list[str]:
    """Files that it may see, and arguments that may name a program beside the config."""
    parts = [part for key in ("files", "command") for item in as_list(model.get(key)) for part in _text(item)]
    return [part for part in parts if re.fullmatch(r"[\w./-]*[./][\w./-]*", part)]


def _text(value: Any) -> list[str]:  # noqa: ANN401 - unvalidated YAML
    return [value] if isinstance(value, str) else []
