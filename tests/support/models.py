"""A model provider on loopback: OpenAI Responses and Chat, Anthropic Messages, streaming and whole. It calls tools by a script.

Each step is the end of a tool's name with its arguments; after as many tool results as there are steps it answers with `text`.
Everything that was asked is kept in `asked`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "made-up-key-of-the-provider-4711"


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes


@dataclass
class Models:
    """`trouble` answers the next questions: (status, body) each. `cut` ends streams in the middle, `pause_s` waits between events."""

    url: str = ""
    script: list[tuple[str, Any]] = field(default_factory=list)
    text: str = "All done."
    asked: list[Asked] = field(default_factory=list)
    trouble: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    cut: bool = False
    pause_s: float = 0.0
    words: int = 1
    hold: threading.Event | None = None
    """What it waits for before it answers."""
    usage: tuple[int, int] = (1000, 50)
    kept: dict[str, Any] = field(default_factory=dict[str, Any])
    """What Messages tells of its caches, beside `usage`."""

    def step(self, done: int, names: list[tuple[str, str | None]]) -> tuple[str, str | None, Any] | None:
        """The tool to call next, if there is one: (name, namespace, arguments)."""
        if done >= len(self.script):
            return None
        wanted, arguments = self.script[done]
        for name, space in names:
            if name.endswith(wanted):
                return name, space, arguments
        return "no-such-tool", None, arguments


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models: Models

    def log_message(self, *args: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.whole({"object": "list", "data": []})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw or b"{}")
        path = self.path.split("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.models.asked.append(Asked(path, headers, body, raw))
        if self.models.hold is not None:
            self.models.hold.wait(60)
        if KEY not in (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key")):
            self.whole({"error": {"message": f"wrong key {headers.get('authorization')}", "type": "auth"}}, 401)
        elif self.models.trouble:
            status, said = self.models.trouble.pop(0)
            self.whole(said, status, {"retry-after": "0"})
        elif path.endswith("/responses"):
            self.answer_responses(body)
        elif path.endswith("/chat/completions"):
            self.answer_chat(body)
        elif path.endswith("/count_tokens"):
            self.whole({"input_tokens": 10})
        else:
            self.answer_messages(body)

    def whole(self, answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, events: list[Any], *, named: bool = True) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events[: len(events) // 2] if self.models.cut else events:
            head = f"event: {event['type']}\n" if named else ""
            self.wfile.write(f"{head}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())
            self.wfile.flush()
            if self.models.pause_s:
                time.sleep(self.models.pause_s)
        self.close_connection = True

    def answer_responses(self, body: Any) -> None:
        items = body["input"] if isinstance(body["input"], list) else []
        done = sum(1 for item in items if str(item.get("type", "")).endswith("_call_output"))
        names: list[tuple[str, str | None]] = []
        for tool in body.get("tools", []):
            if tool.get("type") == "namespace":
                names += [(inner["name"], tool["name"]) for inner in tool["tools"]]
            else:
                names.append((tool.get("name", tool.get("type", "")), None))
        called = self.models.step(done, names)
        number = len(self.models.asked)
        if called is None:
            content = [{"type": "output_text", "text": self.models.text, "annotations": []}]
            item = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": content}
        else:
            name, space, arguments = called
            item = {
                "type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name, "status": "completed",
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments), **({"namespace": space} if space else {}),
            }  # fmt: skip
        usage = {"input_tokens": self.models.usage[0], "output_tokens": self.models.usage[1], "total_tokens": sum(self.models.usage),
                 "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
        answer = {
            "id": f"resp_{number}",
            "object": "response",
            "status": "completed",
            "model": body["model"],
            "output": [item],
            "usage": usage,
        }
        if not body.get("stream"):
            self.whole(answer)
            return
        deltas = [{"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0, "delta": "word "}
                  for _ in range(self.models.words if called is None and self.models.words > 1 else 0)]  # fmt: skip
        self.stream([
            {"type": "response.created", "response": {**answer, "status": "in_progress", "output": [], "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": item}, *deltas,
            {"type": "response.output_item.done", "output_index": 0, "item": item}, {"type": "response.completed", "response": answer},
        ])  # fmt: skip

    def answer_chat(self, body: Any) -> None:
        done = sum(1 for message in body["messages"] if message["role"] == "tool")
        called = self.models.step(done, [(tool["function"]["name"], None) for tool in body.get("tools", [])]) if body.get("tools") else None
        number = len(self.models.asked)
        if called is None:
            delta: dict[str, Any] = {"content": self.models.text}
        else:
            function = {"name": called[0], "arguments": json.dumps(called[2])}
            delta = {"tool_calls": [{"index": 0, "id": f"call_{number}", "type": "function", "function": function}]}
        ended = "stop" if called is None else "tool_calls"
        usage = {"prompt_tokens": self.models.usage[0], "completion_tokens": self.models.usage[1], "total_tokens": sum(self.models.usage)}
        base = {"id": f"c{number}", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": None, **delta}, "finish_reason": ended}
            self.whole({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        counted = [{**base, "choices": [], "usage": usage}] if (body.get("stream_options") or {}).get("include_usage") else []
        self.stream([
            {**base, "choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}]},
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": ended}]}, *counted, "[DONE]",
        ], named=False)  # fmt: skip

    def answer_messages(self, body: Any) -> None:
        results = [part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
                   if part.get("type") == "tool_result"]  # fmt: skip
        called = (
            self.models.step(len(results), [(tool.get("name", ""), None) for tool in body.get("tools", [])]) if body.get("tools") else None
        )
        number = len(self.models.asked)
        block: dict[str, Any]
        if called is None:
            block, delta, ended = {"type": "text", "text": ""}, {"type": "text_delta", "text": self.models.text}, "end_turn"
        else:
            block = {"type": "tool_use", "id": f"toolu_{number:04d}", "name": called[0], "input": {}}
            delta, ended = {"type": "input_json_delta", "partial_json": json.dumps(called[2])}, "tool_use"
        message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": body["model"], "content": [], "stop_reason": None,
                   "stop_sequence": None, "usage": {"input_tokens": self.models.usage[0], "output_tokens": 1, **self.models.kept}}  # fmt: skip
        if not body.get("stream"):
            content = {**block, "text": self.models.text} if called is None else {**block, "input": called[2]}
            self.whole({**message, "content": [content], "stop_reason": ended, "usage": {"input_tokens": 10, "output_tokens": 5}})
            return
        self.stream([
            {"type": "message_start", "message": message}, {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta}, {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": ended, "stop_sequence": None}, "usage": {"output_tokens": self.models.usage[1]}},
            {"type": "message_stop"},
        ])  # fmt: skip


@contextlib.contextmanager
def provider(**settings: Any) -> Iterator[Models]:
    """A provider until the end of the block."""
    models = Models(**settings)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            """An agent that was killed is no error of ours."""

    server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"models": models}))
    server.daemon_threads = True
    models.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield models
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
