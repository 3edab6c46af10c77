"""The small parts of the core: canonical JSON, strict JSON, Merkle tree, printable text, states, secrets, errors."""

from __future__ import annotations

import base64
import hashlib
import pickle
import urllib.parse

import pytest

from potato.core import merkle
from potato.core.canonical import canonical, digest
from potato.core.run import STATES, TERMINAL, may_become
from potato.core.secret_scan import leaked, masked
from potato.core.strict_json import parse_object
from potato.core.text import did_you_mean, printable
from potato.errors import AuthError, ConfigError, PotatoError, Problem, UsageError


def test_canonical_json_is_sorted_and_dense() -> None:
    assert canonical({"b": [1, "ü"], "a": None}) == '{"a":null,"b":[1,"ü"]}'.encode()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Expecting value at line 1 column 1"),
        (b"[1]", "the top level is not an object"),
        (b'"x"', "the top level is not an object"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "is not UTF-8"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"x": [{"a": 1, "a": 2}]}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "wider than 64 bits"),
        (b'{"a": 1180591620717411303424}', "wider than 64 bits"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b'{"a": ' * 200 + b"1" + b"}" * 200, "nested deeper than 128"),
        (b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 128"),
        (b'{"a": ' + b"[" * 100_000, "nested deeper than 128"),
        (b"{} {}", "Extra data"),
        (b'{"a": 1e999}', "too large for a number"),
        (b'{"a": "x\\u0000y"}', "a NUL character"),
        (b'{"a": [' + b"{}," * 300_000 + b"{}]}", "more than 250,000 objects"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_object(data, "it")
    assert said in str(caught.value)
    assert caught.value.code == "malformed-json"


def test_strict_json_takes_what_is_sound() -> None:
    assert parse_object(b'{"a": [1, -2.5, "\\ud83d\\ude00", null, true, {}]}', "it") == {"a": [1, -2.5, "😀", None, True, {}]}


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def test_the_growing_tree_has_the_root_of_the_rfc() -> None:
    frontier: tuple[bytes, ...] = ()
    leaves: list[bytes] = []
    for size in range(70):
        assert merkle.root(frontier) == naive_root(leaves)
        assert len(frontier) == size.bit_count()
        leaves.append(f"entry {size}".encode())
        frontier = merkle.append(frontier, size, merkle.leaf_hash(leaves[-1]))


def test_printable_shows_what_could_act() -> None:
    assert printable("a\x1b[31mb\nc\u202ed\u200be\ufefff") == "a\\x1b[31mb\\nc\\u202ed\\u200be\\ufefff"
    assert printable("ünï 😀") == "ünï 😀"
    assert printable("x" * 10, limit=5) == "xxxx…"


def test_did_you_mean() -> None:
    assert did_you_mean("lable", ["label", "title"]) == "Did you mean 'label'?"
    assert did_you_mean("zzz", ["label"]) == ""


def test_terminal_states_are_left_by_none() -> None:
    assert [(a, b) for a in TERMINAL for b in STATES if may_become(a, b)] == []
    assert may_become("queued", "running")
    assert not may_become("running", "held")


SECRET = "s3cr3t-Value/with+signs"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"prefix{SECRET}suffix",
        SECRET[::-1],
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"x" + SECRET.encode()).decode(),
        base64.b64encode(b"xy" + SECRET.encode() + b"z").decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        urllib.parse.quote(SECRET, safe=""),
        " ".join(SECRET),
        "\u200b".join(SECRET),
        SECRET[:9] + "\n" + SECRET[9:],
        SECRET[7:],
        base64.b64encode(SECRET.encode()).decode()[:12] + "\n" + base64.b64encode(SECRET.encode()).decode()[12:],
        SECRET[:-1],
        SECRET[: len(SECRET) // 2 + 1],
        SECRET[8:],
        ":".join(f"{byte:02x}" for byte in SECRET.encode()),
        "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
        "".join(f"\\u{ord(char):04x}" for char in SECRET),
        "".join(f"&#{ord(char)};" for char in SECRET),
        "".join(f"&#{ord(char):0100d};" for char in SECRET) + "&#" + "9" * 5000 + ";",
        "".join(f"&amp;#{ord(char):010d};&#{'1' * 4301}" for char in SECRET),
        urllib.parse.quote(urllib.parse.quote(SECRET, safe=""), safe=""),
        "".join(f"%{byte:02X}" for byte in SECRET.encode()),
        base64.b64encode(SECRET.encode("utf-16-le")).decode(),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
        base64.b64encode(SECRET.encode()).decode()[::-1],
        base64.b32encode(SECRET.encode()).decode(),
        SECRET.upper(),
        "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in SECRET),
        "_".join(SECRET),
        "\u034f\ufe0f".join(SECRET),
    ],
)
def test_a_secret_is_found_in_its_disguises(text: str) -> None:
    assert leaked(["harmless", text], {"KEY": SECRET, "OTHER": "unrelated-value"}) == ["KEY"]


def test_no_secret_where_there_is_none() -> None:
    assert leaked(["a normal comment about tests and values"], {"KEY": SECRET, "SHORT": "a"}) == []


@pytest.mark.parametrize(
    "error", [PotatoError("a", "b", "c"), UsageError("a", "b"), AuthError("a", "b"), ConfigError((Problem("f", 1, 2, "c", "m"),))]
)
def test_errors_cross_processes(error: PotatoError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code) == (type(error), str(error), error.exit_code)


@pytest.mark.parametrize("length", [8, 40, 400])
def test_a_secret_of_any_length_is_found_and_masked(length: int) -> None:
    secret = "".join(chr(97 + (n * n + n // 7) % 26) for n in range(length))
    for form in (
        secret,
        secret[::-1],
        secret.encode().hex(),
        base64.b64encode(b"x" + secret.encode()).decode(),
        urllib.parse.quote(secret, safe=""),
    ):
        assert leaked([f"before {form} after"], {"KEY": secret}) == ["KEY"]
        assert secret not in masked(f"before {form} after", {"KEY": secret})
    assert leaked(["nothing of it here 0123456789"], {"KEY": secret}) == []
    assert masked("nothing of it here", {"KEY": secret}) == "nothing of it here"
    assert masked(f"first {secret} then", {"KEY": secret}) == "first *** then"


def test_a_secret_split_over_lines_is_withheld() -> None:
    told = masked("\n".join(SECRET), {"KEY": SECRET})
    assert told == "(withheld: it holds the secret KEY)"
