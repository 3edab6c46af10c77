"""The model proxy of a run, between a client and a provider that stream over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract.test_mcp import served
from contract.test_runners import request
from support.models import KEY, Models, provider

from potato.config.models import ProviderModel
from potato.core.budget import Limit
from potato.ports import Request
from potato.ports.session import NoSession, Price, Provider
from potato.spokes.gate.gate import Pass

PRICES = {"big": Price(input=1_000_000, cached=100_000, output=10_000_000), "small": Price(input=100_000, output=1_000_000)}
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "responses": ("/openai/v1/responses", {"model": "big", "input": "hi"}),
    "chat": ("/openai/v1/chat/completions", {"model": "big", "messages": [{"role": "user", "content": "hi"}]}),
    "messages": ("/anthropic/v1/messages", {"model": "big", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}),
}
LIMITS = {"responses": "max_output_tokens", "chat": "max_completion_tokens", "messages": "max_tokens"}
EACH = pytest.mark.parametrize("api", QUESTIONS)


class Listening(NoSession):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def tell(self, kind: Any, text: str, **more: Any) -> None:
        self.told.append((kind, text))


@pytest.fixture
def models() -> Iterator[Models]:
    with provider() as running:
        yield running


def asking(
    folder: Path, models: Models, *, allowance: Limit | None = None, keys: dict[str, str] | None = None, model: str | None = None
) -> Request:
    asked = request(folder, model=model, models=("small",) if model else ())
    providers = {name: Provider(name, name, models.url, "A_KEY", PRICES) for name in ("openai", "anthropic")}  # type: ignore[arg-type]
    return replace(
        asked, session=Listening(), providers=providers, keys={"A_KEY": KEY} if keys is None else keys, allowance=allowance or Limit()
    )


async def client(asked: Request) -> AsyncIterator[tuple[Pass, httpx.AsyncClient]]:
    async with served(asked, with_token=False) as (entry, port):
        headers = {"authorization": f"Bearer {entry.token}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=20) as opened:
            yield entry, opened


@EACH
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_comes_through_and_is_counted(api: str, stream: bool, tmp_path: Path, models: Models) -> None:
    path, body = QUESTIONS[api]
    async for entry, opened in client(asking(tmp_path, models)):
        told = await opened.post(path, json={**body, "stream": stream})
        assert told.status_code == 200
        assert models.text in told.text
        usage = entry.models.meter.usage()
        assert usage is not None
        expected = 1050 if stream or api != "messages" else 15
        assert (usage.tokens, usage.model) == (expected, "big")
        assert usage.micros == (1000 + 500 if expected == 1050 else 10 + 50)
        assert entry.token not in json.dumps([one.headers for one in models.asked])
        assert KEY not in told.text + str(told.headers)
        assert isinstance(entry.request.session, Listening)
        assert [kind for kind, _ in entry.request.session.told] == ["model_call"]


async def test_a_stream_comes_as_it_is_made(tmp_path: Path, models: Models) -> None:
    """The first event is there long before the last is made."""
    models.pause_s = 0.3
    path, body = QUESTIONS["responses"]
    async for _, opened in client(asking(tmp_path, models)):
        now = asyncio.get_running_loop().time
        async with opened.stream("POST", path, json={**body, "stream": True}) as told:
            at = [now() async for _chunk in told.aiter_raw()]
        assert len(at) >= 3
        assert at[-1] - at[0] > 0.5


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/openai/v1/responses", b"{", 400, "the body is no JSON"),
        ("POST", "/openai/v1/responses", b"[" * 100_000, 400, "the body is no JSON"),
        ("POST", "/openai/v1/responses", b"[" + b"[]," * 500_000 + b"0]", 413, "a question has at most 400,000 brackets"),
        ("POST", "/openai/v1/responses", b"[]", 400, "no object with a 'model'"),
        ("POST", "/openai/v1/responses", b'{"model": 5}', 400, "no object with a 'model'"),
        ("POST", "/openai/v1/responses", b'{"model": "other"}', 403, "the model 'other' is not among those allowed: big, small"),
        ("POST", "/openai/v1/files", b'{"model": "big"}', 404, "POST /v1/files is not offered here"),
        ("POST", "/openai/v1/messages", b'{"model": "big"}', 404, "is not offered here"),
        ("DELETE", "/openai/v1/responses", b'{"model": "big"}', 404, "DELETE /v1/responses is not offered here"),
        ("POST", "/openai/%2e%2e/anthropic/v1/messages", b'{"model": "big"}', 404, "is not offered here"),
        ("POST", "/elsewhere/v1/responses", b'{"model": "big"}', 404, "there is nothing here"),
        ("POST", "/", b"{}", 404, "there is nothing here"),
        ("GET", "/openai/v1/models", b"", 200, '"big"'),
    ],
)  # fmt: skip
async def test_only_what_is_offered_may_be_asked(
    method: str, path: str, body: bytes, status: int, said: str, tmp_path: Path, models: Models
) -> None:
    async for _, opened in client(asking(tmp_path, models, model="big")):
        told = await opened.request(method, path, content=body)
        assert (told.status_code, said in told.text) == (status, True), told.text
        assert models.asked == []


async def test_a_question_has_a_size(tmp_path: Path, models: Models) -> None:
    async for _, opened in client(asking(tmp_path, models)):
        told = await opened.post("/openai/v1/responses", content=b" " * (17 << 20))
        assert told.status_code == 413
        assert models.asked == []


@EACH
async def test_the_budget_limits_each_answer_and_then_ends_it(api: str, tmp_path: Path, models: Models) -> None:
    path, body = QUESTIONS[api]
    async for entry, opened in client(asking(tmp_path, models, allowance=Limit(tokens=2000))):
        assert (await opened.post(path, json={**body, "stream": True})).status_code == 200
        assert 1900 < models.asked[-1].body[LIMITS[api]] < 2000 if api != "messages" else models.asked[-1].body["max_tokens"] == 100
        assert (await opened.post(path, json={**body, "stream": True})).status_code == 200
        assert models.asked[-1].body[LIMITS[api]] <= 950
        told = await opened.post(path, json={**body, "stream": True})
        assert told.status_code == 403
        assert "the run's budget is used up: 2,100 tokens" in told.text
        assert len(models.asked) == 2
        assert entry.models.meter.tokens == 2100


async def test_money_is_limited_by_prices(tmp_path: Path, models: Models) -> None:
    path, body = QUESTIONS["responses"]
    asked = asking(tmp_path, models, allowance=Limit(micros=600))
    async for _, opened in client(asked):
        assert (await opened.post(path, json=body)).status_code == 200
        assert models.asked[-1].body["max_output_tokens"] < 60
        assert (await opened.post(path, json=body)).status_code == 403
    unpriced = {name: replace(one, prices={}) for name, one in asked.providers.items()}
    async for _, opened in client(replace(asked, providers=unpriced)):
        told = await opened.post(path, json=body)
        assert told.status_code == 403
        assert "the model 'big' has no price" in told.text


async def test_a_question_whose_answer_nobody_waits_for_is_counted(
    tmp_path: Path, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    """As if it had been as long as allowed, also where the run ends before; and the hub's log is none of the agent's business."""
    path, body = QUESTIONS["messages"]
    models.hold = threading.Event()
    entries: list[Pass] = []
    async for entry, opened in client(asking(tmp_path, models)):
        entries.append(entry)
        with pytest.raises(httpx.ReadTimeout):
            await opened.post(path, json=body, timeout=1)
    assert len(models.asked) == 1
    models.hold.set()
    usage = entries[0].models.meter.usage()
    assert usage is not None
    assert 100 < usage.tokens < 200
    assert caplog.records == []


@pytest.mark.parametrize("sent", [
    b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", b"GET http://[::1/ HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /%ff%00 HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 50\r\n\r\nhalf",
])  # fmt: skip
async def test_garbage_writes_nothing_into_the_hubs_log(sent: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with served(request(tmp_path), with_token=False) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert caplog.records == []


async def test_a_bug_of_ours_is_still_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pass, "_known", lambda *_: 1 / 0)
    async with served(request(tmp_path), with_token=False) as (_, port), httpx.AsyncClient(trust_env=False) as opened:
        assert (await opened.get(f"http://127.0.0.1:{port}/")).status_code == 500
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_a_model_whose_name_is_no_text_is_refused(tmp_path: Path, models: Models) -> None:
    asked = asking(tmp_path, models, allowance=Limit(micros=10**6))
    asked = replace(asked, providers={name: replace(one, prices={}) for name, one in asked.providers.items()})
    async for _, opened in client(asked):
        told = await opened.post("/openai/v1/responses", content=b'{"model": "\\ud800", "input": "hi"}')
        assert (told.status_code, "has no price" in told.text) == (403, True)


async def test_what_a_provider_keeps_costs_what_it_asks_for_that(tmp_path: Path, models: Models) -> None:
    """By the defaults of a config: 1.25 times for minutes, twice for an hour."""
    model = ProviderModel.model_validate(
        {"api": "anthropic", "url": models.url, "key": "A_KEY", "prices": {"big": {"input": "3", "output": "15"}}}
    )
    models.kept = {"cache_read_input_tokens": 2000, "cache_creation_input_tokens": 3000,
                   "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000}}  # fmt: skip
    path, body = QUESTIONS["messages"]
    asked = replace(asking(tmp_path, models, allowance=Limit(micros=100_000)), providers={"anthropic": model.read("anthropic")})
    async for entry, opened in client(asked):
        assert (await opened.post(path, json={**body, "stream": True})).status_code == 200
        assert entry.models.meter.micros == 1000 * 3 + 2000 * 3 + 2000 * 15 // 4 + 1000 * 6 + 50 * 15
        assert entry.models.meter.tokens == 6050


async def test_an_answer_without_an_end_is_not_kept(tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("potato.spokes.gate.models._MAX_ANSWER", 100_000)
    models.text = "x" * 200_000
    path, body = QUESTIONS["responses"]
    async for entry, opened in client(asking(tmp_path, models)):
        told = await opened.post(path, json=body)
        assert (told.status_code, "the provider's answer has more than 100,000 bytes" in told.text) == (502, True)
        assert entry.models.meter.tokens > 0
        models.trouble = [(500, {"error": {"message": "x" * 10_000_000}})]
        told = await opened.post(path, json=body)
        assert (told.status_code, len(told.content) < 1000) == (500, True)


@EACH
async def test_no_answer_costs_more_than_its_price_says(api: str, tmp_path: Path, models: Models) -> None:
    """Many answers at once, dearer tiers, or a limit under its older name."""
    path, body = QUESTIONS[api]
    more = {"n": 50, "service_tier": "priority", "speed": "fast"} | ({"max_tokens": 10**6} if api == "chat" else {})
    async for _, opened in client(asking(tmp_path, models, allowance=Limit(tokens=2000))):
        assert (await opened.post(path, json={**body, **more})).status_code == 200
        asked = models.asked[-1].body
        assert not {"n", "service_tier", "speed"} & asked.keys()
        assert [asked[key] <= 2000 for key in ("max_tokens", "max_completion_tokens", "max_output_tokens") if key in asked] == [True]


async def test_questions_side_by_side_share_one_budget(tmp_path: Path, models: Models) -> None:
    models.pause_s = 0.02
    path, body = QUESTIONS["responses"]
    async for entry, opened in client(asking(tmp_path, models, allowance=Limit(tokens=2000))):
        told = await asyncio.gather(*(opened.post(path, json={**body, "stream": True}) for _ in range(8)))
        assert sorted(one.status_code for one in told) == [200, 200, *[403] * 6]
        assert entry.models.meter.tokens == 2100


@EACH
async def test_a_stream_that_breaks_off_is_counted_by_a_guess(api: str, tmp_path: Path, models: Models) -> None:
    models.cut = True
    path, body = QUESTIONS[api]
    async for entry, opened in client(asking(tmp_path, models)):
        await opened.post(path, json={**body, "stream": True})
        usage = entry.models.meter.usage()
        assert usage is not None
        assert usage.tokens > 0


@pytest.mark.parametrize(
    ("status", "seen", "trouble"),
    [(401, 403, "auth"), (403, 403, "auth"), (429, 429, "rate_limited"), (500, 500, "overloaded"), (529, 529, "overloaded"), (400, 400, None)],
)  # fmt: skip
async def test_a_refusal_comes_through_without_the_key(status: int, seen: int, trouble: str | None, tmp_path: Path, models: Models) -> None:
    path, body = QUESTIONS["messages"]
    models.trouble = [(status, {"error": {"message": f"no {KEY}" if status == 401 else "no", "type": "x"}})]
    async for entry, opened in client(asking(tmp_path, models)):
        told = await opened.post(path, json={**body, "stream": True})
        assert (told.status_code, told.headers.get("retry-after"), entry.models.trouble) == (seen, "0", trouble)
        assert KEY not in told.text
        assert (await opened.post(path, json=body)).status_code == 200
        assert entry.models.trouble is None


async def test_without_a_key_or_a_provider(tmp_path: Path, models: Models) -> None:
    path, body = QUESTIONS["chat"]
    async for entry, opened in client(asking(tmp_path, models, keys={})):
        told = await opened.post(path, json=body)
        assert (told.status_code, entry.models.trouble) == (403, "auth")
        assert "there is no key for 'openai': A_KEY is not among the agent's 'secrets'" in told.text
    asked = asking(tmp_path, models, keys={})
    async for _, opened in client(replace(asked, agent=replace(asked.agent, secrets=("A_KEY",)))):
        assert "A_KEY is not set where the hub runs" in (await opened.post(path, json=body)).text
    with socket.create_server(("127.0.0.1", 0)) as free:
        models.url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async for entry, opened in client(asking(tmp_path, models)):
        told = await opened.post(path, json=body)
        assert (told.status_code, entry.models.trouble) == (502, "overloaded")


@pytest.mark.parametrize(
    ("path", "more", "kept"),
    [
        ("/openai/v1/responses", {"tools": [{"type": "web_search"}, {"type": "mcp", "server_url": "https://evil.example"},
                                            {"type": "code_interpreter"}, {"type": "function", "name": "f"}]}, ["function"]),
        ("/anthropic/v1/messages", {"tools": [{"type": "web_fetch_20250910"}, {"type": "web_search_20250305"},
                                              {"type": "code_execution_20250825"}, {"name": "f", "input_schema": {}}]}, [None]),
        ("/openai/v1/chat/completions", {"web_search_options": {}, "tools": [{"type": "function", "function": {"name": "f"}}]}, ["function"]),
        ("/openai/v1/responses", {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}, {"type": "namespace", "name": "n", "tools": [
            {"type": "mcp", "server_label": "evil.example"}]}, {"type": "shell"}]}, ["namespace", "shell"]),
        ("/openai/v1/responses", {"tools": [], "plugins": [{"id": "web"}], "models": ["other"], "input": [
            {"type": "tool_search_output", "tools": [{"type": "web_search", "filters": "evil.example"}]}]}, []),
        ("/anthropic/v1/messages", {"mcp_servers": [{"url": "https://evil.example"}], "container": "x", "tools": []}, []),
    ],
)  # fmt: skip
async def test_tools_that_the_provider_runs_are_taken_out(
    path: str, more: dict[str, Any], kept: list[Any], tmp_path: Path, models: Models
) -> None:
    body = next(known for where, known in QUESTIONS.values() if where == path)
    async for _, opened in client(asking(tmp_path, models)):
        assert (await opened.post(path, json={**body, **more})).status_code == 200
        assert [tool.get("type") for tool in models.asked[-1].body["tools"]] == kept
        assert not {"mcp_servers", "container", "web_search_options", "plugins", "models"} & models.asked[-1].body.keys()
        assert b"evil.example" not in models.asked[-1].raw


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/openai/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://evil.example/?q=secret"}]}]}),
        ("/openai/v1/responses", {"input": [{"type": "mcp_list_tools", "server_url": "https://evil.example"}]}),
        ("/openai/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://evil.example/x"}]}]}),
        ("/openai/v1/chat/completions",
         {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "HTTPS://evil.example/"}}]}]}),
        ("/anthropic/v1/messages",
         {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://evil.example"}}]}]}),
        ("/anthropic/v1/messages",
         {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": [
             {"type": "document", "source": {"type": "url", "url": "http://evil.example"}}]}]}]}),
    ],
)  # fmt: skip
async def test_addresses_that_the_provider_would_fetch_are_refused(path: str, more: dict[str, Any], tmp_path: Path, models: Models) -> None:
    body = next(known for where, known in QUESTIONS.values() if where == path)
    async for _, opened in client(asking(tmp_path, models)):
        told = await opened.post(path, json={**body, **more})
        assert (told.status_code, models.asked) == (400, [])
        assert "the provider would fetch this one from an address" in told.text


async def test_a_question_arrives_as_it_was_asked(tmp_path: Path, models: Models) -> None:
    """In its order, with half characters; of a key that stands twice the last, which is the one that was looked at."""
    raw = b'{"zeta": {"b": 1, "a": [1.5, null]}, "input": "half \\ud800 \xf0\x9f\x8d\xa0", "model": "big", "alpha": 1, "model": "small"}'
    async for _, opened in client(asking(tmp_path, models)):
        assert (await opened.post("/openai/v1/responses", content=raw)).status_code == 200
    (asked,) = models.asked
    assert (list(asked.body), list(asked.body["zeta"]), asked.body["model"]) == (["zeta", "input", "model", "alpha"], ["b", "a"], "small")
    assert asked.body["input"] == "half \ud800 \N{ROASTED SWEET POTATO}"


@pytest.mark.parametrize("more", [{"previous_response_id": "resp_1"}, {"input": [{"type": "item_reference", "id": "msg_1"}]}])
async def test_what_the_provider_keeps_is_not_referred_to(more: dict[str, Any], tmp_path: Path, models: Models) -> None:
    async for _, opened in client(asking(tmp_path, models)):
        told = await opened.post("/openai/v1/responses", json={"model": "big", "input": "hi", **more})
        assert (told.status_code, models.asked) == (400, [])


async def test_an_answer_that_was_cut_is_counted_by_what_came(tmp_path: Path, models: Models) -> None:
    """The first event of a stream tells of one token; what came after it counts, too."""
    models.cut, models.text = True, "word " * 6000
    path, body = QUESTIONS["messages"]
    async for entry, opened in client(asking(tmp_path, models)):
        await opened.post(path, json={**body, "stream": True})
        assert entry.models.meter.tokens > 5000


async def test_odd_requests_are_refused(tmp_path: Path, models: Models) -> None:
    async for entry, opened in client(asking(tmp_path, models)):
        port = opened.base_url.port
        for head in (b"OPTIONS * HTTP/1.1\r\n", b"POST /openai/v1/responses HTTP/1.1\r\nanthropic-version: \xff\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = b'{"model": "big", "input": "hi"}'
            writer.write(
                head
                + b"host: 127.0.0.1\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s" % (entry.token.encode(), len(body), body)
            )
            assert (await reader.readline()).split()[1] in (b"404", b"200")
            writer.close()
            await writer.wait_closed()


async def test_pictures_within_the_question_pass(tmp_path: Path, models: Models) -> None:
    path, body = QUESTIONS["responses"]
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    called = {"type": "function_call", "name": "fetch", "call_id": "c", "arguments": '{"url": "https://example.com"}'}
    async for _, opened in client(asking(tmp_path, models)):
        told = await opened.post(path, json={**body, "input": [{"role": "user", "content": [picture]}, called]})
        assert told.status_code == 200
