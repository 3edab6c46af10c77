"""A column of bytes that is kept compressed: deliveries are most of a hub's database, and JSON shrinks to a sixth.

Source of the frame's first bytes: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
"""

from __future__ import annotations

import threading
from typing import Any, Final

import zstandard
from sqlalchemy import LargeBinary
from sqlalchemy.types import TypeDecorator

_FRAME: Final = b"\x28\xb5\x2f\xfd"
_LEVEL: Final = 1
_MOST: Final = 64 * 1024 * 1024


class _Local(threading.local):
    """A compressor belongs to one thread."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_LOCAL: Final = _Local()


def pack(data: bytes) -> bytes:
    """What is kept of it."""
    return _LOCAL.pack(data)


def unpack(kept: bytes) -> bytes:
    """What was packed. Bytes that are no frame were kept as they are by versions before; a damaged frame is empty, as its digest tells."""
    if not kept.startswith(_FRAME):
        return kept
    try:
        if zstandard.frame_content_size(kept) > _MOST:
            return b""
        return _LOCAL.unpack(kept, max_output_size=_MOST)
    except zstandard.ZstdError:
        return b""


class Packed(TypeDecorator[bytes]):
    """Packs what is written and unpacks what is read. Statements given to the driver as text pack for themselves."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Any) -> bytes | None:  # noqa: ARG002, ANN401 - SQLAlchemy's face
        """See SQLAlchemy."""
        return None if value is None else pack(value)

    def process_result_value(self, value: bytes | None, dialect: Any) -> bytes | None:  # noqa: ARG002, ANN401 - SQLAlchemy's face
        """See SQLAlchemy."""
        return None if value is None else unpack(bytes(value))
