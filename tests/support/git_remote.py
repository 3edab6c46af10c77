"""The emulated GitHub's repositories for git: its objects, got by the API, written into a bare repository that git's own backend serves."""

from __future__ import annotations

import base64
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from support.github import GitHub


class GitRemote:
    """`folder` holds OWNER/REPO.git."""

    def __init__(self, folder: Path, github: GitHub) -> None:
        self.folder = folder
        self.github = github
        self.path = folder / f"{github.repository}.git"
        self.known: set[str] = set()
        self.git("init", "--bare", "-q", str(self.path))
        self.git("-C", str(self.path), "config", "uploadpack.allowAnySHA1InWant", "true")

    def git(self, *arguments: str, data: bytes = b"") -> str:
        return subprocess.run(["git", *arguments], input=data, capture_output=True, check=True).stdout.decode().strip()

    def write(self, kind: str, data: bytes, expected: str) -> None:
        made = self.git("-C", str(self.path), "hash-object", "-t", kind, "-w", "--stdin", data=data)
        assert made == expected, (kind, data[:300], made, expected)

    def sync(self) -> None:
        """Bring every branch that has a commit beside its first one."""
        for ref in self.github.repo("GET", "/git/matching-refs/heads/"):
            sha = ref["object"]["sha"]
            if not self.github.repo("GET", f"/git/commits/{sha}")["parents"]:
                continue
            self.commit(sha)
            self.git("-C", str(self.path), "update-ref", ref["ref"], sha)

    def commit(self, sha: str) -> None:
        if sha in self.known:
            return
        self.known.add(sha)
        told = self.github.repo("GET", f"/git/commits/{sha}")
        self.tree(told["tree"]["sha"])
        if told["parents"]:
            with (self.path / "shallow").open("a") as shallow:
                shallow.write(f"{sha}\n")  # the first commit of a repository is not to be had: the emulator hashes it its own way
        lines = [f"tree {told['tree']['sha']}", *(f"parent {parent['sha']}" for parent in told["parents"])]
        for who in ("author", "committer"):
            person: dict[str, Any] = told[who]
            at = int(datetime.fromisoformat(person["date"]).timestamp())
            lines.append(f"{who} {person['name']} <{person['email']}> {at} +0000")
        message = told["message"] if told["message"].endswith("\n") else told["message"] + "\n"  # as the emulator hashes it
        self.write("commit", ("\n".join(lines) + "\n\n" + message).encode(), sha)

    def tree(self, sha: str) -> None:
        if sha in self.known:
            return
        self.known.add(sha)
        data = b""
        for entry in self.github.repo("GET", f"/git/trees/{sha}")["tree"]:
            if entry["type"] == "tree":
                self.tree(entry["sha"])
            elif entry["sha"] not in self.known:
                self.known.add(entry["sha"])
                blob = self.github.repo("GET", f"/git/blobs/{entry['sha']}")
                self.write("blob", base64.b64decode(blob["content"]), entry["sha"])
            data += f"{entry['mode'].lstrip('0')} {entry['path']}".encode() + b"\0" + bytes.fromhex(entry["sha"])
        self.write("tree", data, sha)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """One request of git's, by its own backend."""
        if "info/refs" in path:
            self.sync()
        where, _, query = path.partition("?")
        env = {
            "PATH": "/usr/bin:/bin", "GIT_PROJECT_ROOT": str(self.folder), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": method, "PATH_INFO": where,
            "QUERY_STRING": query, "CONTENT_TYPE": headers.get("content-type", ""), "CONTENT_LENGTH": str(len(body)), "REMOTE_USER": "agent",
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""), "GIT_PROTOCOL": headers.get("git-protocol", ""),
            "REMOTE_ADDR": "127.0.0.1", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }  # fmt: skip
        out = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False).stdout
        head, _, answer = out.partition(b"\r\n\r\n")
        told = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(told.pop("Status", "200")[:3])
        return status, told, answer
