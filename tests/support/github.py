"""The emulated GitHub, a recording proxy with faults in front of it, and prism with GitHub's official OpenAPI."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

COUNTERPARTS = Path(__file__).parents[1] / "counterparts"
BOBS_TOKEN = "made-up-token-of-bob"
TOKEN = "tok_alice"


APP_ID = 4711


def app_key(folder: Path) -> str:
    """A GitHub App's private key, kept in `app.pem` of the folder."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (folder / "app.pem").write_bytes(pem)
    return pem.decode()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def node(script: Path, *args: str, ready: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A node process until the end of the block; it has printed `ready` before the block starts."""
    process = subprocess.Popen(["node", str(script), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    seen: list[str] = []
    try:
        for line in process.stdout:
            seen.append(line)
            if ready in line:
                break
        else:
            raise AssertionError("".join(seen))
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        yield process
    finally:
        process.terminate()
        process.wait(10)
        drain.join(10)
        process.stdout.close()


@contextlib.contextmanager
def emulator(folder: Path, repositories: int = 60) -> Iterator[str]:
    """A GitHub with alice (who owns the repositories and the token), bob, carol and mallory."""
    seed = {
        "tokens": {TOKEN: {"login": "alice", "scopes": ["repo", "user"]}, BOBS_TOKEN: {"login": "bob", "scopes": ["repo", "user"]}},
        "github": {
            "users": [{"login": "alice"}, {"login": "bob"}, {"login": "carol"}, {"login": "mallory"}],
            "apps": [
                {
                    "app_id": APP_ID,
                    "slug": "potato-app",
                    "name": "Potato",
                    "private_key": app_key(folder),
                    "permissions": {"contents": "read", "issues": "write", "pull_requests": "write", "metadata": "read"},
                    "installations": [{"installation_id": 100, "account": "alice", "repository_selection": "all"}],
                }
            ],
            "repos": [{"owner": "alice", "name": f"demo{n}", "auto_init": True} for n in range(repositories)],
        },
    }
    (folder / "seed.json").write_text(json.dumps(seed))
    port = free_port()
    with node(COUNTERPARTS / "emulate_github.mjs", str(port), str(folder / "seed.json"), ready="ready"):
        yield f"http://127.0.0.1:{port}"


@dataclass
class Call:
    method: str
    path: str
    body: bytes
    status: int
    violations: list[dict[str, Any]]


@dataclass
class Fault:
    """Answers the first `times` requests that match, instead of GitHub; `after` lets GitHub do it first, then fails."""

    method: str
    path: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"message": "made to fail"}'
    times: int = 1
    after: bool = False
    drop: bool = False


class Proxy:
    """Records every call; answers as told by faults; adds what the emulator lacks by `extra`: path regex -> JSON or text."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.extra: dict[str, Any] = {}
        self.git: Any = None  # what answers git, where a test has it
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None: ...

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, answer = proxy.answer(self.command, self.path, dict(self.headers), body)
                if status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_one

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: Any) -> None:
                """A client that was killed is no error of ours."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        fault = next((f for f in self.faults if f.times and f.method == method and re.search(f.path, path)), None)
        if fault and not fault.after:
            fault.times -= 1
            self.calls.append(Call(method, path, body, 0 if fault.drop else fault.status, []))
            return (0, {}, b"") if fault.drop else (fault.status, {"content-type": "application/json", **fault.headers}, fault.body)
        if self.git is not None and re.match(r"/[^/]+/[^/]+\.git/", path):
            status, answered, answer = self.git.answer(method, path, {name.lower(): value for name, value in headers.items()}, body)
            self.calls.append(Call("GET", path, body, status, []))
            return status, answered, answer
        added = next((value for pattern, value in self.extra.items() if method == "GET" and re.search(pattern, path)), None)
        if added is not None:
            self.calls.append(Call(method, path, body, 200, []))
            text = isinstance(added, str)
            return 200, {"content-type": "text/plain" if text else "application/json"}, (added if text else json.dumps(added)).encode()
        status, answered, answer = self.forward(method, path, headers, body)
        if fault:
            fault.times -= 1
            return (0, {}, b"") if fault.drop else (fault.status, {"content-type": "application/json", **fault.headers}, fault.body)
        return status, answered, answer

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        kept = {k: v for k, v in headers.items() if k.lower() not in ("host", "connection", "accept-encoding", "content-length")}
        connection.request(method, path, body=body or None, headers=kept)
        response = connection.getresponse()
        answer = response.read()
        names = ("content-type", "link", "location", "retry-after")
        kept = {name: value.replace(f"http://{self.upstream}", self.url) for name in names if (value := response.headers.get(name))}
        violations = json.loads(response.headers.get("sl-violations") or "[]")
        connection.close()
        self.calls.append(Call(method, path, body, response.status, violations))
        return response.status, kept, answer

    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.method != "GET"]


@contextlib.contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()


def trim_openapi(target: Path) -> None:
    """GitHub's official OpenAPI with the paths that we use, and what they refer to: prism loads it in seconds, not a minute."""
    spec = json.loads((COUNTERPARTS / "node_modules/@octokit/openapi/generated/api.github.com.json").read_text())
    used = re.compile(
        r"^/(user|app|app/installations/\{installation_id\}/access_tokens|repos/\{owner\}/\{repo\}(/(pulls|issues|labels|check-runs|commits"
        r"|contents|git|collaborators|installation|actions/(runs|jobs|workflows)|compare)(/.*)?)?)$"
    )
    spec["paths"] = {path: item for path, item in spec["paths"].items() if used.match(path)}
    spec.pop("x-webhooks", None)
    kept: set[str] = set()
    todo: list[Any] = [spec["paths"]]
    while todo:
        node_ = todo.pop()
        if isinstance(node_, dict):
            reference = node_.get("$ref")
            if isinstance(reference, str) and reference not in kept:
                kept.add(reference)
                part: Any = spec
                for key in reference[2:].split("/"):
                    part = part[key]
                todo.append(part)
            todo += node_.values()
        elif isinstance(node_, list):
            todo += node_
    spec["components"] = {
        section: {name: item for name, item in items.items() if f"#/components/{section}/{name}" in kept}
        for section, items in spec["components"].items()
    }
    target.write_text(json.dumps(spec))


@contextlib.contextmanager
def prism(upstream: str, folder: Path) -> Iterator[str]:
    """Prism between us and `upstream`: notes each violation of GitHub's OpenAPI in a header."""
    trim_openapi(folder / "github.json")
    port = free_port()
    script = COUNTERPARTS / "node_modules/@stoplight/prism-cli/dist/index.js"
    args = ("proxy", "-h", "127.0.0.1", "-p", str(port), str(folder / "github.json"), upstream)
    with node(script, *args, ready="Prism is listening"):
        yield f"http://127.0.0.1:{port}"


class GitHub:
    """What a test does to the emulated GitHub as alice."""

    def __init__(self, url: str, repository: str) -> None:
        self.url = url.removeprefix("http://")
        self.repository = repository

    def call(self, method: str, path: str, data: Any = None) -> Any:
        connection = http.client.HTTPConnection(self.url, timeout=30)
        body = None if data is None else json.dumps(data)
        connection.request(method, path, body=body, headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        assert response.status < 300, (method, path, response.status, answer[:300])
        return json.loads(answer) if answer else None

    def repo(self, method: str, path: str, data: Any = None) -> Any:
        return self.call(method, f"/repos/{self.repository}{path}", data)

    def commit(self, branch: str, path: str, content: str) -> None:
        """Put one file on a branch, which is made from main if need be."""
        refs = [ref["ref"] for ref in self.repo("GET", "/git/matching-refs/heads/")] if branch != "main" else ["refs/heads/main"]
        if f"refs/heads/{branch}" not in refs:
            sha = self.repo("GET", "/git/ref/heads/main")["object"]["sha"]
            self.repo("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": sha})
        tree = self.repo("GET", f"/git/trees/{branch}?recursive=1")["tree"]
        known = next((item["sha"] for item in tree if item["path"] == path), None)
        encoded = base64.b64encode(content.encode()).decode()
        self.repo(
            "PUT",
            f"/contents/{path}",
            {"message": f"Write {path}", "content": encoded, "branch": branch, **({"sha": known} if known else {})},
        )

    def remove(self, branch: str, path: str) -> None:
        """Commit the removal of a file to a branch that exists."""
        head = self.repo("GET", f"/git/ref/heads/{branch}")["object"]["sha"]
        base = self.repo("GET", f"/git/commits/{head}")["tree"]["sha"]
        gone = [{"path": path, "mode": "100644", "type": "blob", "sha": None}]
        tree = self.repo("POST", "/git/trees", {"base_tree": base, "tree": gone})["sha"]
        commit = self.repo("POST", "/git/commits", {"message": f"Remove {path}", "tree": tree, "parents": [head]})["sha"]
        self.repo("PATCH", f"/git/refs/heads/{branch}", {"sha": commit})

    def pull_request(self, title: str, files: dict[str, str | None], *, labels: tuple[str, ...] = (), body: str = "") -> dict[str, Any]:
        branch = re.sub(r"[^a-z0-9]+", "-", title.lower())
        for path, content in files.items():
            if content is None:
                self.remove(branch, path)
            else:
                self.commit(branch, path, content)
        pull = self.repo("POST", "/pulls", {"title": title, "head": branch, "base": "main", "body": body})
        if labels:
            self.repo("POST", f"/issues/{pull['number']}/labels", {"labels": list(labels)})
        return self.repo("GET", f"/pulls/{pull['number']}")

    def event(self, pull: dict[str, Any], action: str) -> dict[str, Any]:
        """The delivery that GitHub would send for the pull request as it is."""
        pull = self.repo("GET", f"/pulls/{pull['number']}")
        return {
            "action": action,
            "number": pull["number"],
            "pull_request": pull,
            "repository": self.call("GET", f"/repos/{self.repository}"),
            "sender": self.call("GET", "/user"),
        }


def wait_until(condition: Any, timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
