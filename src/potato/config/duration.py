"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Final

_FORM: Final = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> float:
    """Seconds of `5s`, `10m`, `2h` or `3d`. Raises `ValueError` with a message fit to show."""
    match = _FORM.fullmatch(text)
    if match is None:
        message = f"'{text[:40]}' is no duration; write 5s, 10m, 2h or 3d"
        raise ValueError(message)
    return float(int(match[1]) * _SECONDS[match[2]])
