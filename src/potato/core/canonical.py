"""Canonical JSON and digests: the same fact always gives the same bytes.

Source: the ordering and separators of RFC 8785 for the types used here (no floats are digested).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """UTF-8 JSON with sorted keys and no white space."""
    return _ENCODE(value).encode()


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """`sha256:` and the hash of the canonical form."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """`sha256:` and the hash of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
