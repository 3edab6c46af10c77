"""The hub's MCP server, tried by the conformance suite of the Model Context Protocol and by its own client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract.test_runners import request
from support.github import COUNTERPARTS

from potato.ports import Request
from potato.ports.session import Answer, NoSession, Tool
from potato.spokes.gate import Gate
from potato.spokes.gate.front import Front
from potato.spokes.gate.gate import Pass

SUITE = COUNTERPARTS / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
NOT_OFFERED = Path(__file__).with_name("mcp_not_offered.yml")
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
ADDRESS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": False,
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
}  # fmt: skip


class Fixtures(NoSession):
    """The tools that the suite asks for, of those kinds that a run has."""

    tools: Sequence[Tool] = (
        Tool("test_simple_text", "Says a text.", NOTHING, reads=True),
        Tool("test_error_handling", "Refuses.", NOTHING, reads=False),
        Tool("json_schema_2020_12_tool", "Has a schema.", ADDRESS, reads=False),
    )

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        if name == "test_error_handling":
            return Answer("This tool intentionally returns an error for testing", refused=True)
        return Answer("This is a simple text response for testing.")


@contextlib.asynccontextmanager
async def served(asked: Request, *, with_token: bool) -> AsyncIterator[tuple[Pass, int]]:
    """The gate of one run at a port of the loopback; `with_token` for a client that cannot be told one."""
    gate = Gate()
    entry = gate.admit(asked)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if with_token:
            scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {entry.token}".encode())]
        await entry(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        front = Front(app, entry.egress)
        server = await asyncio.get_running_loop().create_server(front.protocol, sock=listener)
        try:
            yield entry, listener.getsockname()[1]
        finally:
            server.close()
            await front.close()
            await entry.models.close()
            await gate.close()


def conformance(port: int, folder: Path, *which: str) -> subprocess.CompletedProcess[str]:
    command = ["node", str(SUITE), "server", "--url", f"http://127.0.0.1:{port}/mcp", *which, "--output-dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={"PATH": os.environ["PATH"]})


@pytest.mark.slow
async def test_conformance(tmp_path: Path) -> None:
    """What is not offered is listed, each with its reason; all else passes, and nothing passes that is listed."""
    async with served(replace(request(tmp_path), session=Fixtures()), with_token=True) as (_, port):
        done = await asyncio.to_thread(conformance, port, tmp_path, "--suite", "active", "--expected-failures", str(NOT_OFFERED))
        schema = await asyncio.to_thread(conformance, port, tmp_path, "--scenario", "json-schema-2020-12")
    assert schema.returncode == 0, schema.stdout + schema.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    passed = set(re.findall(r"^✓ ([a-z0-9-]+)", done.stdout, re.MULTILINE))
    assert passed >= {
        "server-initialize",
        "ping",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "dns-rebinding-protection",
    }, done.stdout


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer of-another-run"}, 401),
        ({"authorization": "Bearer \xff"}, 401),
        ({"authorization": "OURS", "host": "evil.example"}, 403),
        ({"authorization": "OURS", "host": "127.0.0.1.evil.example:80"}, 403),
        ({"authorization": "OURS", "origin": "https://evil.example"}, 403),
        ({"authorization": "OURS", "origin": "null"}, 403),
        ({"authorization": "OURS"}, 200),
        ({"x-api-key": "OURS", "host": "localhost:1"}, 200),
    ],
)
async def test_only_the_run_itself_comes_in(headers: dict[str, str], status: int, tmp_path: Path) -> None:
    async with served(request(tmp_path), with_token=False) as (entry, port):
        given = {
            name: value.replace("OURS", entry.token if name == "x-api-key" else f"Bearer {entry.token}") for name, value in headers.items()
        }
        raw = [
            (name.encode(), value.encode("latin-1")) for name, value in {"accept": "application/json, text/event-stream", **given}.items()
        ]
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://127.0.0.1:{port}/mcp", json=body, headers=raw)
    assert answer.status_code == status, answer.text


HEAD = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"POST /", b"x" * 65536), (HEAD + b"x: ", b"x" * 65536), (HEAD, b"x: y\r\n" * 8192),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"x" * 65536), (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1;" + b"e" * 65536),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 8192),
    ],
)  # fmt: skip
async def test_what_never_ends_is_cut(first: bytes, more: bytes, tmp_path: Path) -> None:
    """Heads, trailers and frames of chunks without end; the next connection is served."""
    async with served(replace(request(tmp_path), session=Fixtures()), with_token=True) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 32 << 20:
                writer.write(more)
                await writer.drain()
                sent += len(more)
                await asyncio.sleep(0)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        assert sent < 32 << 20
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(f"http://127.0.0.1:{port}/nothing")).status_code == 404


async def test_who_asks_without_end_is_answered_at_a_pace(tmp_path: Path) -> None:
    async with served(request(tmp_path), with_token=False) as (_, port), httpx.AsyncClient(trust_env=False) as client:
        now = asyncio.get_running_loop().time
        began = now()
        for _ in range(300):
            assert (await client.post(f"http://127.0.0.1:{port}/mcp")).status_code == 401
        assert now() - began >= 0.9


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": 5}', 400),
     (b"\xff\xfe", 400), (b"[" * 100_000, 400), (b'{"a": "' + b"x" * (5 << 20) + b'"}', 413)],
)  # fmt: skip
async def test_what_is_no_message_is_refused_and_the_next_one_answered(body: bytes, status: int, tmp_path: Path) -> None:
    async with (
        served(replace(request(tmp_path), session=Fixtures()), with_token=True) as (_, port),
        httpx.AsyncClient(trust_env=False) as client,
    ):
        url, headers = f"http://127.0.0.1:{port}/mcp", {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        assert (await client.post(url, content=body, headers=headers)).status_code == status
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "test_simple_text", "arguments": {}}}
        told = (await client.post(url, json=call, headers=headers)).json()
        assert told["result"]["content"][0]["text"] == "This is a simple text response for testing."
