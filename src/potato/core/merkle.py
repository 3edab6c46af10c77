"""The Merkle tree of RFC 6962: leaf and node hashes, and a tree that grows by appending.

Source: https://www.rfc-editor.org/rfc/rfc6962#section-2.1
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of one entry: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(frontier: Sequence[bytes], size: int, leaf: bytes) -> tuple[bytes, ...]:
    """Add one leaf hash to a tree of `size` leaves.

    `frontier` holds the roots of the perfect subtrees, largest first: one for each 1 in the binary
    form of `size`. Returns the frontier of `size + 1` leaves.
    """
    roots = [*frontier, leaf]
    while size & 1:
        right = roots.pop()
        roots.append(node_hash(roots.pop(), right))
        size >>= 1
    return tuple(roots)


def root(frontier: Sequence[bytes]) -> bytes:
    """The tree's root hash, of the frontier that `append` gave."""
    if not frontier:
        return EMPTY_ROOT
    result = frontier[-1]
    for left in reversed(frontier[:-1]):
        result = node_hash(left, result)
    return result
