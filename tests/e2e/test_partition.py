"""Two hubs and three workers, each a host of its own (a network namespace); one worker is cut off while it works, and healed."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support.relay
from support.github import wait_until
from support.hub import SECRET, Hub, payload, project, query, ran, started

NET = f"10.77.{os.getpid() % 250}"
GATEWAY = f"{NET}.1"
HOSTS = [f"{NET}.{n}" for n in range(2, 7)]
TAG = f"p{os.getpid() % 10_000}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.allow_hosts([GATEWAY, *HOSTS, "127.0.0.1"]),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2 to make network namespaces"),
]


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Five namespaces on one bridge; their names."""
    bridge = f"{TAG}b"
    names = [f"{TAG}n{n}" for n in range(5)]
    try:
        ip("link", "add", bridge, "type", "bridge")
    except subprocess.CalledProcessError:
        pytest.skip("this machine lets nobody make a bridge")
    try:
        ip("addr", "add", f"{GATEWAY}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for name, address in zip(names, HOSTS, strict=True):
            ip("netns", "add", name)
            ip("link", "add", f"{name}o", "type", "veth", "peer", "name", f"{name}i")
            ip("link", "set", f"{name}o", "master", bridge, "up")
            ip("link", "set", f"{name}i", "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", f"{name}i")
            ip("-n", name, "link", "set", f"{name}i", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)


@contextlib.contextmanager
def relayed(socket_folder: str) -> Iterator[int]:
    """Postgres's Unix socket as a port of the gateway."""
    argv = [sys.executable, support.relay.__file__, GATEWAY, f"{socket_folder}/.s.PGSQL.5432"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def send(address: str, hub: Hub, body: dict[str, Any], delivery_id: str) -> int:
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", "x-github-event": "pull_request", "x-github-delivery": delivery_id,
               "x-hub-signature-256": "sha256=" + hmac.new(SECRET.encode(), data, hashlib.sha256).hexdigest()}  # fmt: skip
    connection = http.client.HTTPConnection(address, hub.port, timeout=20)
    connection.request("POST", "/webhooks/github", data, headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.timeout(240)
def test_a_worker_that_is_cut_off_loses_its_runs_and_comes_back(
    tmp_path: Path, hosts: list[str], postgres: Any, deliveries: dict[str, list[dict[str, Any]]]
) -> None:
    opened = next(example for example in deliveries["pull_request"] if example["action"] == "opened")
    local = postgres.database()
    name = local.split("@/")[1].split("?")[0]
    with relayed(str(postgres.folder)) as port, contextlib.ExitStack() as stack:
        database = f"postgresql://postgres@{GATEWAY}:{port}/{name}"
        folder = project(tmp_path, pause_s=4)
        common = {"worker": False, "host": "0.0.0.0"}  # noqa: S104 - the host is a namespace of ours
        hubs = [stack.enter_context(started(folder, database, "--concurrency", "0", netns=host, **common)) for host in hosts[:2]]
        workers = [stack.enter_context(started(folder, database, "--concurrency", "1", netns=host, worker=True)) for host in hosts[2:]]
        for number in range(1, 4):
            assert send(HOSTS[number % 2], hubs[number % 2], payload(opened, number), f"d{number}") == 202
        assert wait_until(lambda: len(ran(folder)) == 3, 30)
        ip("link", "set", f"{hosts[2]}o", "down")
        ended = "SELECT count(*) FROM run WHERE state = 'succeeded'"
        assert wait_until(lambda: query(local, ended) == [(3,)], 60)
        assert sorted(row[0] for row in query(local, "SELECT attempts FROM run")) == [1, 1, 2]
        assert query(local, "SELECT count(*) FROM effect") == [(6,)]
        ip("link", "set", f"{hosts[2]}o", "up")
        assert wait_until(lambda: workers[0].text().count("working as ") == 2, 60), workers[0].text()
        for number in range(4, 10):
            assert send(HOSTS[number % 2], hubs[number % 2], payload(opened, number), f"d{number}") == 202
        assert wait_until(lambda: query(local, ended) == [(9,)], 90)
        assert query(local, "SELECT count(*) FROM effect") == [(18,)]
        assert len(query(local, "SELECT DISTINCT worker FROM (SELECT id AS worker FROM worker) AS w")) == 5
