"""Foreign data of any shape, as something one can work with."""

from __future__ import annotations

from typing import Any, cast


def as_object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - foreign data
    """The value if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 - foreign data
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
