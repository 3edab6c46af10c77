"""W01-W20: what strangers can do to the webhook. One hub for all; nothing of this may be kept, or end it."""

from __future__ import annotations

import ast
import gzip
import hashlib
import hmac
import json
import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import octokit_examples
from support.hub import SECRET, Hub, payload, project, query, started

from potato.core.strict_json import parse_object, require_object
from potato.errors import UsageError
from potato.forges.github.webhook import Refused, read_head, verify

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def opened() -> dict[str, Any]:
    return next(example for example in octokit_examples()["pull_request"] if example["action"] == "opened")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("webhook"))


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[Hub]:
    with started(folder, f"sqlite:///{folder / 'potato.db'}", env={"POTATO_WEBHOOK_SECRET": f"{SECRET}, the-old-one"}) as running:
        yield running
        assert running.request("GET", "/readyz")[0] == 200


def kept(folder: Path) -> int:
    return query(f"sqlite:///{folder / 'potato.db'}", "SELECT count(*) FROM delivery")[0][0]


def memory_mib(hub: Hub) -> float:
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def signature(data: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-hub-signature-256": None}, 401),
        ({"x-hub-signature-256": None, "x-hub-signature": "sha1=" + "0" * 40}, 401),
        ({"x-hub-signature-256": "sha256=" + "0" * 64}, 401),
        ({"x-hub-signature-256": "sha256="}, 401),
        ({"x-hub-signature-256": "sha256=" + "A" * 64}, 401),
        ({"x-hub-signature-256": "sha256=" + "0" * 10_000}, 401),
        ({"x-hub-signature-256": "sha256=" + "\xe9" * 64}, 401),
        ({"x-hub-signature-256": ""}, 401),
        ({"content-encoding": "gzip"}, 415),
        ({"content-encoding": "br"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-type": None}, 415),
        ({"x-github-event": None}, 400),
        ({"x-github-event": "Pull Request"}, 400),
        ({"x-github-event": "x" * 65}, 400),
        ({"x-github-delivery": None}, 400),
        ({"x-github-delivery": "a b"}, 400),
        ({"x-github-delivery": "x" * 201}, 400),
        ({"x-github-event": "issues"}, 400),
        ({"x-github-event": "pull_request_target"}, 400),
        ({"x-github-event": "schedule"}, 400),
    ],
)
def test_requests_that_are_no_delivery_are_refused_and_nothing_is_kept(
    hub: Hub, folder: Path, opened: dict[str, Any], headers: dict[str, str | None], status: int
) -> None:
    """W01, W03, W09, W10: never 500, never kept."""
    before = kept(folder)
    assert hub.send(payload(opened, 1), headers=headers) == status
    assert kept(folder) == before


def test_a_signature_is_of_the_raw_bytes(hub: Hub, opened: dict[str, Any]) -> None:
    """W02: white space changed, and one byte of the body."""
    body = json.dumps(payload(opened, 2)).encode()
    spaced = json.dumps(payload(opened, 2), indent=1).encode()
    for altered in (spaced, body[:-1] + b" }", body.replace(b"opened", b"0pened", 1)):
        assert hub.send(altered, headers={"x-hub-signature-256": signature(body)}) == 401


def test_two_signatures_are_refused(opened: dict[str, Any]) -> None:
    """W03: whichever of them would fit."""
    body = json.dumps(opened).encode()
    head = [(b"content-type", b"application/json"), (b"x-github-event", b"pull_request"), (b"x-github-delivery", b"1")]
    good = (b"x-hub-signature-256", signature(body).encode())
    assert verify(read_head([*head, good]), body, [SECRET.encode()]).event == "pull_request"
    with pytest.raises(Refused) as refused:
        read_head([*head, good, (b"x-hub-signature-256", b"sha256=" + b"0" * 64)])
    assert refused.value.status == 400


def test_nothing_is_parsed_before_the_signature_fits(monkeypatch: pytest.MonkeyPatch, opened: dict[str, Any]) -> None:
    """W01: verification does not even look at the body's content."""
    monkeypatch.setattr("potato.core.strict_json.require_object", lambda *_: pytest.fail("parsed"))
    head = read_head(
        [
            (b"content-type", b"application/json"),
            (b"x-github-event", b"pull_request"),
            (b"x-github-delivery", b"1"),
            (b"x-hub-signature-256", b"sha256=" + b"0" * 64),
        ]
    )
    with pytest.raises(Refused):
        verify(head, b"{", [b"x"])


def test_both_secrets_fit_while_rotating_and_no_other(hub: Hub, opened: dict[str, Any]) -> None:
    """W18."""
    assert hub.send(payload(opened, 3), secret="the-old-one") == 202
    assert hub.send(payload(opened, 4), secret=SECRET) == 202
    assert hub.send(payload(opened, 5), secret="an-older-one") == 401
    assert hub.send(payload(opened, 5), secret="") == 401


@pytest.mark.parametrize(
    "body",
    [
        b"{" * 100_000, b'{"a":' * 100_000, b"[" * 200_000, b'{"a": NaN}', b'{"a": Infinity}', b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1180591620717411303424}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"a": "\\ud800"}', b'{"a": "\\u0000"}', b'{"a": "\xff"}',
        b'{"action": "opened", "action": "closed"}', b'{"x": [{"a": 1, "a" : 2}]}', b"null", b"[]", b"", b'"x"', b"{}",
    ],
    ids=range(19),
)  # fmt: skip
def test_signed_nonsense_is_400_at_once(hub: Hub, folder: Path, body: bytes) -> None:
    """W11, W13, W14."""
    before = kept(folder)
    begun = time.monotonic()
    assert hub.send(body) == 400
    assert time.monotonic() - begun < 1
    assert kept(folder) == before


def test_the_fast_way_through_json_accepts_what_the_strict_way_does() -> None:
    """Mutations of real payloads, and every trap above."""
    traps = [b'{"a":1,"a":2}', b'{"a" :1,"a":2}', b'{"a\\":":1,"b" :2,"b" :3}', b'{"\\u0061":1,"a":2}', b'{"a":"x\\":","a":1}', b'{"a":1e400}',
             b'{"a":-9223372036854775809}', b'{"a":18446744073709551615}', b'{"a":01}', b'{"a":1.}', b'{"a":"\\uDFFF"}', b'{"a":"\\u00001"}',
             b"{" * 130 + b"}" * 130, b'{"a":' * 127 + b"{}" + b"}" * 127, b'{"a":' * 128 + b"{}" + b"}" * 128, b'{"a":\x0b1}', b'{"a":1}x']  # fmt: skip
    dice = random.Random(7)
    bodies = [json.dumps(example).encode() for examples in octokit_examples().values() for example in examples[:2]]
    for body in bodies:
        for _ in range(12):
            at = dice.randrange(len(body))
            traps.append(
                body[:at]
                + dice.choice([b'"', b"{", b"}", b":", b" :", b"\\u0000", b"9" * 20, b",", b"\x00", b'"a":1,', b"\xff", b""])
                + body[at + 1 :]
            )

    def verdict(check: Any, body: bytes) -> bool:
        try:
            check(body, "it")
        except UsageError:
            return False
        return True

    for body in [*traps, *bodies]:
        assert verdict(require_object, body) == verdict(parse_object, body), body[:200]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(hub: Hub) -> None:
    """W08: told by its length, without one, and lying about it."""
    before = memory_mib(hub)
    assert hub.request("POST", "/webhooks/github", headers={"content-length": str(26 * MIB)})[0] == 413
    for head in (b"transfer-encoding: chunked", b"content-length: 10"):
        with socket.create_connection(("127.0.0.1", hub.port), timeout=20) as connection:
            common = (
                b"host: x\r\ncontent-type: application/json\r\nx-github-event: push\r\nx-github-delivery: 1\r\nx-hub-signature-256: sha256="
                + b"0" * 64
            )
            connection.sendall(b"POST /webhooks/github HTTP/1.1\r\n" + common + b"\r\n" + head + b"\r\n\r\n")
            chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
            answer = b""
            try:
                for _ in range(40):
                    connection.sendall(chunk)
                connection.sendall(b"0\r\n\r\n")
            except OSError:
                pass
            try:
                answer = connection.recv(100)
            except ConnectionResetError:
                answer = b"HTTP/1.1 413 "
            assert answer[9:12] in (b"413", b"401", b"400")
    assert memory_mib(hub) - before < 60


def test_a_compressed_bomb_is_not_decoded(hub: Hub) -> None:
    """W09."""
    bomb = gzip.compress(b" " * 50 * MIB)
    before = memory_mib(hub)
    assert hub.send(bomb, headers={"content-encoding": "gzip"}) == 415
    assert memory_mib(hub) - before < 8


@pytest.mark.slow
def test_idle_and_slow_connections_are_closed_and_harm_nobody(hub: Hub, opened: dict[str, Any]) -> None:
    """W15: a thousand that send nothing, some that send a head's first bytes, some that stop within the body."""
    idle = [socket.create_connection(("127.0.0.1", hub.port)) for _ in range(1000)]
    for connection in idle[:100]:
        connection.sendall(b"POST /webhooks/github HTTP/1.1\r\nhost:")
    head = b"POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: push\r\nx-github-delivery: 1\r\ncontent-length: 100\r\nx-hub-signature-256: sha256="
    for connection in idle[100:110]:
        connection.sendall(head + b"0" * 64 + b"\r\n\r\n{")
    times: list[float] = []
    for number in range(50):
        begun = time.monotonic()
        assert hub.send(payload(opened, 100 + number)) == 202
        times.append(time.monotonic() - begun)
    assert statistics.median(times) < 0.25
    deadline = time.monotonic() + 15
    left = list(idle)
    while left and time.monotonic() < deadline:
        time.sleep(0.5)
        left = [connection for connection in left if not _ended(connection)]
    for connection in idle:
        connection.close()
    assert left == []


def _ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        data = connection.recv(1000)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return data == b"" or _ended(connection)


def test_the_same_delivery_from_32_threads_is_one(hub: Hub, folder: Path, opened: dict[str, Any]) -> None:
    """W04."""
    before = kept(folder)
    statuses: list[int] = []
    body = payload(opened, 70)
    threads = [threading.Thread(target=lambda: statuses.append(hub.send(body, delivery_id="same"))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 32
    assert kept(folder) == before + 1


def test_a_signed_body_is_not_replayed_under_another_event(hub: Hub, folder: Path, opened: dict[str, Any]) -> None:
    """The event's name is not signed."""
    body = payload(opened, 71)
    assert hub.send(body) == 202
    before = kept(folder)
    assert hub.send(body, event="pull_request_review_thread") == 202
    assert kept(folder) == before


@pytest.mark.slow
def test_refusals_are_in_the_log_together(hub: Hub, folder: Path, opened: dict[str, Any]) -> None:
    """W01: 'rejected', without a row each for a flood of them."""
    for _ in range(200):
        hub.send(payload(opened, 80), secret="wrong")
    database = f"sqlite:///{folder / 'potato.db'}"
    deadline = time.monotonic() + 15
    count = 0
    while count < 200 and time.monotonic() < deadline:
        rows = query(database, "SELECT leaf FROM audit_entry WHERE kind = 'rejected'")
        count = sum(json.loads(row[0])["body"]["requests"].get("bad-signature", 0) for row in rows)
        time.sleep(0.2)
    assert count >= 200
    assert len(rows) < 60


def test_signatures_are_compared_in_constant_time_everywhere() -> None:
    """W17: where requests are checked, no secret or signature is compared by `==`."""
    source = Path(__file__).parents[2] / "src/potato"
    for path in [*(source / "api").rglob("*.py"), source / "forges/github/webhook.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
                    n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
                }
                assert not names & {"signature", "secret", "token", "hmac", "hexdigest"}, f"{path}:{node.lineno}"
