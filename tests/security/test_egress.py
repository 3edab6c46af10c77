"""Hosts that an agent may reach, and those that it may not. Rows A12 and S01 of the threats."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.test_mcp import served
from contract.test_runners import PYTHON, request
from security.test_cage import caged

from potato.spokes.gate import egress
from potato.spokes.gate.egress import Unreachable, is_public, listed, public_address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.2.1",
        "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::", "2001:0:0:0:0:0:80ff:fffe", "2001:db8::1",
    ],
)  # fmt: skip
def test_these_are_not_of_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_these_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "169.254.169.254",
        "",
        "a" * 300,
        "\x00",
        "1.1.1.1\x00.example.com",
        "xn--\xff",
    ],
)
async def test_whatever_the_writing_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(Unreachable):
        await public_address(host, 443)


async def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: answers)
    with pytest.raises(Unreachable, match=r"it is at 10\.0\.0\.1, which is not of the public internet"):
        await public_address("two.example", 443)


def test_a_list_of_hosts() -> None:
    allowed = ("pypi.org", "*.example.com")
    assert [host for host in ("pypi.org", "PyPI.org.", "a.example.com", "a.b.EXAMPLE.com") if not listed(host, allowed)] == []
    assert [host for host in ("example.com", "xpypi.org", "pypi.org.evil.example", "evilexample.com", "", "*.example.co", "a.example.com@evil.example")
            if listed(host, allowed)] == []  # fmt: skip


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A host that plays `pypi.org`: the loopback counts as public, its port as 443."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data[::-1])
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        over.set()

    over = asyncio.Event()

    async def start() -> tuple[asyncio.Server, asyncio.Event]:
        server = await asyncio.start_server(answered, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        real = socket.getaddrinfo
        names = {"pypi.org": ["127.0.0.1"]}

        def resolved(host: str, at: int, *rest: Any, **more: Any) -> Any:
            return real(names[host].pop() if host in names else host, at, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        monkeypatch.setattr(egress, "is_public", lambda _address: True)
        monkeypatch.setattr(egress, "_PORTS", frozenset({port}))
        return server, over

    return start


async def connect(port: int, head: bytes, then: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = await reader.readuntil(b"\r\n\r\n")
    if then and b" 200 " in answer.splitlines()[0]:
        writer.write(then)
        answer += await reader.readexactly(len(then))
    elif b" 200 " not in answer.splitlines()[0]:
        answer += await reader.read()
    writer.close()
    return answer


def asked(host: str, token: str, *, scheme: str = "Basic") -> bytes:
    word = base64.b64encode(f"run:{token}".encode()).decode() if scheme == "Basic" else token
    return f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: {scheme} {word}\r\n\r\n".encode()


async def test_a_tunnel_to_a_listed_host(tmp_path: Path, echo: Any) -> None:
    """Its name is asked for once: a second answer, which there is none of here, might be another."""
    server, over = await echo()
    async with server, served(request(tmp_path, egress=("pypi.org",)), with_token=False) as (entry, port):
        host = f"pypi.org:{server.sockets[0].getsockname()[1]}"
        told = await connect(port, asked(host, entry.token), b"to and fro")
        assert told == b"HTTP/1.1 200 Connection established\r\n\r\norf dna ot"
        await over.wait()


@pytest.mark.parametrize(
    ("head", "status", "said"),
    [
        (lambda t: asked("evil.example:443", t), b"403", b"it is not among the hosts (at port 443) that 'egress' lists"),
        (lambda t: asked("1.1.1.1\0.example.com:443", t), b"403", b"it is not among the hosts"),
        (lambda t: asked("a b.example.com:443", t), b"403", b"it is not among the hosts"),
        (lambda t: asked("\xe9.example.com:443", t), b"403", b"it is not among the hosts"),
        (lambda t: asked("pypi.org:22", t), b"403", b"it is not among the hosts (at port 443) that 'egress' lists"),
        (lambda t: asked("pypi.org", t), b"403", b"it is not among the hosts"),
        (lambda t: asked("127.0.0.1:443", t), b"403", b"it is not among the hosts"),
        (lambda t: asked("localhost.example:443", t), b"403", b"it has no address"),
        (lambda t: asked("pypi.org:443", "of-another-run"), b"407", b"this is not the token of this run"),
        (lambda t: asked("pypi.org:443", t, scheme="Bearer x"), b"407", b"this is not the token of this run"),
        (lambda _: b"CONNECT pypi.org:443 HTTP/1.1\r\n\r\n", b"407", b"this is not the token of this run"),
        (lambda _: b"CONNECT pypi.org:443 HTTP/1.1\r\nProxy-Authorization: Basic \xff\xff\r\n\r\n", b"407", b"token"),
        (lambda _: b"CONNECT " + b"x" * 20_000, b"431", b"the head is too long"),
        (lambda t: b"CONNECT \r\nProxy-Authorization: Basic " + base64.b64encode(f"run:{t}".encode()) + b"\r\n\r\n", b"403", b"it is not among"),
    ],
)  # fmt: skip
async def test_any_other_tunnel_is_refused(head: Any, status: bytes, said: bytes, tmp_path: Path) -> None:
    async with served(request(tmp_path, egress=("pypi.org", "localhost.example", "*.example.com")), with_token=False) as (entry, port):
        told = await connect(port, head(entry.token))
        assert told.split(b" ")[1] == status, told
        assert said in told
        assert entry.token.encode() not in told


async def test_an_agent_in_its_cage_finds_the_tunnel_by_the_usual_variables(tmp_path: Path) -> None:
    """Without `egress` there are none, and with it only what is listed is reached."""
    code = (
        "import json, os, urllib.request\n"
        "try: said = str(urllib.request.urlopen('https://evil.example/', timeout=5).status)\n"
        "except Exception as error: said = str(error)\n"
        "print(json.dumps({'proposals': [], 'summary': os.environ.get('HTTPS_PROXY', 'none').partition('@')[2] + ' ' + said}))"
    )
    report = await caged(request(tmp_path, command=(PYTHON, "-c", code), sandbox="auto", egress=("pypi.org",)))
    assert report.summary.startswith("127.0.0.1:4180 ")
    assert "403" in report.summary
    report = await caged(request(tmp_path, command=(PYTHON, "-c", code), sandbox="auto"))
    assert report.summary.strip().startswith("<urlopen error [Errno -2]"), report
