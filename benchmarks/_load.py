"""A load generator in a process of its own: so many connections, each sends when it was answered, or at a fixed rate over all.

Arguments: PORT SECRET CONNECTIONS SECONDS RATE(0: as fast as answered) BODY_BYTES MATCHING_SHARE. Prints one JSON object with counts and
latencies in milliseconds. Requests are signed before the time is taken.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import time
import uuid
from functools import cache
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "tests/counterparts/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
_SMALL = 10_000
MOST = 4500
"""Requests made ready for each second, where no rate is given."""


@cache
def template(size: int) -> bytes:
    """A real `pull_request` delivery, cut or padded to about `size` bytes; `%NUMBER%` and `%ACTION%` stand for what changes."""
    examples = next(item["examples"] for item in json.loads(EXAMPLES.read_text()) if item["name"] == "pull_request")
    body = next(example for example in examples if example["action"] == "opened")
    body["number"] = body["pull_request"]["number"] = 12345678
    body["action"] = "%ACTION%"
    if size < _SMALL:
        pull = {key: body["pull_request"][key] for key in ("number", "title", "state", "updated_at", "draft", "labels")}
        ends = {end: {"ref": "x", "sha": "a" * 40, "repo": {"id": 1}} for end in ("head", "base")}
        repository = {"id": 1, "full_name": "octo/demo", "owner": {"login": "octo"}}
        body = {
            "action": "%ACTION%",
            "number": 12345678,
            "pull_request": pull | ends,
            "repository": repository,
            "sender": {"login": "alice"},
        }
    return json.dumps(body, separators=(",", ":")).encode()


def requests(port: int, secret: str, count: int, size: int, matching: float) -> list[bytes]:
    """Signed requests, each another event."""
    raw = template(size)
    made: list[bytes] = []
    offset = int(time.time() * 1000) % 10_000_000 * 10
    for index in range(count):
        action = b"opened" if (index % 1000) < matching * 1000 else b"closed"
        body = raw.replace(b"12345678", str(offset + index).encode()).replace(b"%ACTION%", action)
        signature = hmac.digest(secret.encode(), body, "sha256").hex()
        head = (
            f"POST /webhooks/github HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
            "x-github-event: pull_request\r\n"
            f"x-github-delivery: {uuid.uuid4()}\r\nx-hub-signature-256: sha256={signature}\r\ncontent-length: {len(body)}\r\n"
            "user-agent: GitHub-Hookshot/load\r\naccept: */*\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Connection(asyncio.Protocol):
    """Answers are counted by their status line; their bodies are short and come with it."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """An answer."""
        if self.answer is not None and not self.answer.done() and data.startswith(b"HTTP/1.1 "):
            self.answer.set_result(int(data[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other side."""
        del exc
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(0)


async def main() -> None:
    """Load, then tell."""
    port, secret, connections, seconds, rate, size, matching = (*sys.argv[1:3], *sys.argv[3:8])
    loop = asyncio.get_running_loop()
    wanted = int((float(rate) or MOST) * float(seconds) * 1.1)
    ready = requests(int(port), secret, wanted, int(size), float(matching))
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    position = 0
    begun = time.perf_counter()
    until = begun + float(seconds)

    async def client(number: int) -> None:
        nonlocal position
        _, connection = await loop.create_connection(Connection, "127.0.0.1", int(port))
        interval = int(connections) / float(rate) if float(rate) else 0.0
        due = time.perf_counter() + interval * number / int(connections)
        while position < len(ready):
            now = time.perf_counter()
            if now >= until:
                break
            if interval:
                if due > now:
                    await asyncio.sleep(due - now)
                due += interval
            if position >= len(ready):
                break
            request = ready[position]
            position += 1
            sent = time.perf_counter()
            connection.answer = loop.create_future()
            connection.transport.write(request)
            status = await connection.answer
            statuses[status] = statuses.get(status, 0) + 1
            latencies.append((time.perf_counter() - sent) * 1000)
            if status == 0:
                _, connection = await loop.create_connection(Connection, "127.0.0.1", int(port))
        connection.transport.close()

    await asyncio.gather(*(client(n) for n in range(int(connections))))
    took = time.perf_counter() - begun
    latencies.sort()
    count = len(latencies)
    print(json.dumps({"seconds": took, "statuses": statuses, "count": count, "p50": latencies[count // 2] if count else 0,
                      "p99": latencies[min(count - 1, int(count * 0.99))] if count else 0}))  # fmt: skip


if __name__ == "__main__":
    import uvloop

    asyncio.run(main(), loop_factory=uvloop.new_event_loop) if sys.version_info >= (3, 12) else uvloop.run(main())
