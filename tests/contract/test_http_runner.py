"""An agent somewhere else, on a real server. Row S01 of the threats."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from contract.test_runners import request

from potato.ports import Report
from potato.spokes.gate import egress
from potato.spokes.runners.http import HttpRunner

KEY = "made-up-signing-secret"
REPORT = {"proposals": [{"kind": "comment", "body": "from afar"}], "summary": "done"}


@dataclass
class Remote:
    """Answers as told; keeps what it was asked."""

    port: int = 0
    status: int = 200
    body: bytes = json.dumps(REPORT).encode()
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextlib.contextmanager
def remote_server() -> Iterator[Remote]:
    """One until the end of the block."""
    known = Remote()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(known.wait_s)
            self.send_response(known.status)
            for name, value in known.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(known.body)

        do_GET = do_POST

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            """Who hangs up early is no error of ours."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    known.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def remote() -> Iterator[Remote]:
    with remote_server() as running:
        yield running


async def ask(
    folder: Path, remote: Remote, *, host: str = "127.0.0.1", internal: bool = True, keys: Any = None, timeout_s: float = 10
) -> Report:
    url = f"http://{host}:{remote.port}/agents/far"
    asked = request(folder, url=url, signing_secret="SIGNING", internal=internal, timeout_s=timeout_s)
    return await HttpRunner().run(replace(asked, keys={"SIGNING": KEY} if keys is None else keys))


async def test_it_gets_the_signed_request_and_its_report_comes_back(tmp_path: Path, remote: Remote) -> None:
    report = await ask(tmp_path, remote)
    assert (report.failure, list(report.proposals), report.summary) == (None, REPORT["proposals"], "done")
    ((headers, body),) = remote.asked
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    told = json.loads(body)
    assert (told["run_id"], told["agent"], headers["webhook-id"]) == ("run_1", "a", "run_1")
    assert KEY.encode() not in body
    assert "value-of-key" not in body.decode()


@pytest.mark.parametrize(
    ("status", "said", "trouble"),
    [
        (401, "it answered 401", "auth"), (403, "it answered 403", "auth"), (429, "it answered 429", "rate_limited"),
        (500, "it answered 500", "overloaded"), (503, "it answered 503", "overloaded"), (504, "it answered 504", "timeout"),
        (404, "it answered 404", None), (302, "it answered 302 and redirects, which are not followed", None),
        (307, "it answered 307 and redirects, which are not followed", None),
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_told(status: int, said: str, trouble: str | None, tmp_path: Path, remote: Remote) -> None:
    """A redirect is never followed, wherever it points to."""
    remote.status, remote.headers = status, {"location": "http://169.254.169.254/latest/meta-data/"} if status < 400 else {}
    report = await ask(tmp_path, remote)
    assert (report.failure, report.trouble) == (said, trouble)
    assert len(remote.asked) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"proposals": 5}', b"[" * 200_000])
async def test_what_is_no_report_is_told(body: bytes, tmp_path: Path, remote: Remote) -> None:
    remote.body = body
    report = await ask(tmp_path, remote)
    assert str(report.failure).startswith("its answer is no report: "), report.failure


async def test_it_is_bounded_in_size_and_time(tmp_path: Path, remote: Remote) -> None:
    remote.body = b'{"summary": "' + b"x" * (20 << 20) + b'"}'
    report = await ask(tmp_path, remote)
    assert "it is longer than" in str(report.failure)
    remote.wait_s = 3
    report = await ask(tmp_path, remote, timeout_s=0.5)
    assert (report.failure, report.trouble) == ("it ran longer than 0.5 s", "timeout")


async def test_without_its_secret_nothing_is_sent(tmp_path: Path, remote: Remote) -> None:
    report = await ask(tmp_path, remote, keys={})
    assert (report.failure, report.trouble) == ("it cannot be asked: SIGNING, which signs requests, is not set", "auth")
    assert remote.asked == []


async def test_nobody_there(tmp_path: Path, remote: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        remote.port = free.getsockname()[1]
    report = await ask(tmp_path, remote)
    assert (report.failure, report.trouble) == ("it cannot be reached (ConnectError)", "overloaded")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
async def test_addresses_that_are_not_public_are_refused(host: str, tmp_path: Path, remote: Remote) -> None:
    report = await ask(tmp_path, remote, host=host, internal=False)
    assert str(report.failure).startswith("its address is refused: it is at "), report.failure
    assert remote.asked == []


async def test_the_address_is_asked_for_once_and_kept(tmp_path: Path, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a second answer, which might be another, is never asked for; here the loopback plays the public internet."""
    answers = iter(["127.0.0.1"])
    real = socket.getaddrinfo

    def resolved(host: str, port: int, *rest: Any, **more: Any) -> Any:
        return real(next(answers) if host == "rebinding.example" else host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(egress, "is_public", lambda _address: True)
    report = await ask(tmp_path, remote, host="rebinding.example", internal=False)
    assert report.failure is None
    assert remote.asked[0][0]["host"] == f"rebinding.example:{remote.port}"
