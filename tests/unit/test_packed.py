"""What is kept of a delivery's body, and what comes back."""

from __future__ import annotations

import pytest

from potato.store.packed import pack, unpack

BODY = b'{"action":"opened","labels":[' + b'{"name":"codex:route"},' * 400 + b"{}]}"


@pytest.mark.parametrize("body", [BODY, b"{}", b"", b"\x28\xb5\x2f\xfd is how a frame begins", bytes(range(256)) * 40])
def test_what_was_packed_comes_back(body: bytes) -> None:
    assert unpack(pack(body)) == body


def test_json_shrinks_and_what_an_older_version_kept_is_read() -> None:
    assert len(pack(BODY)) * 20 < len(BODY)
    assert unpack(BODY) == BODY


@pytest.mark.parametrize("damage", [slice(0, -3), slice(0, 6), slice(0, 4)])
def test_a_damaged_frame_is_empty_and_no_error(damage: slice) -> None:
    assert unpack(pack(BODY)[damage]) == b""


def test_a_frame_that_claims_to_be_huge_is_not_unpacked() -> None:
    assert unpack(pack(bytes(65 * 1024 * 1024))) == b""
