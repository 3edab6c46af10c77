"""The model proxy of one run: it holds the provider's key, lets only allowed models be asked, counts, and passes answers on as they come.

A model is a way out, too: tools that a provider runs itself, and pictures that it fetches, would carry data to any address. Such tools are
taken out of a question, and such questions refused.

Sources: https://platform.openai.com/docs/api-reference/responses, https://platform.openai.com/docs/api-reference/chat and
https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from potato.core.canonical import canonical
from potato.core.foreign import as_list, as_object
from potato.core.text import printable
from potato.ports import Request
from potato.ports.session import Price, Provider, Trouble
from potato.spokes.gate.meter import Meter, Tokens, guess, told_by_anthropic, told_by_openai, used_up

if TYPE_CHECKING:
    import httpx

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_MAX_QUESTION: Final = 16 << 20
_SIDE_BY_SIDE: Final = 8
_MOST_BRACKETS: Final = 400_000
_PATHS: Final = {
    ("openai", "/v1/responses"): "max_output_tokens",
    ("openai", "/v1/chat/completions"): "max_completion_tokens",
    ("anthropic", "/v1/messages"): "max_tokens",
    ("anthropic", "/v1/messages/count_tokens"): "",
}
"""What may be asked -> the field that limits its answer."""

_LEFT_OUT: Final = (
    "mcp_servers", "container", "web_search_options", "background", "prompt", "conversation",  # run or kept by the provider
    "models", "fallbacks", "plugins", "route", "provider", "transforms",  # other models and tools, where the provider is a router
    "n", "service_tier", "speed", "inference_geo",  # several answers, or dearer ones than their price says
)  # fmt: skip

_OWN_TOOLS: Final = frozenset({"function", "custom", "namespace", "local_shell", "shell", "apply_patch", "tool_search"})
_OWN_TOOLS_ANTHROPIC: Final = ("bash_", "text_editor_", "computer_", "memory_")
_PASSED: Final = frozenset({b"content-type", b"accept", b"openai-beta", b"anthropic-version", b"anthropic-beta"})
_RETURNED: Final = frozenset({"content-type", "retry-after", "request-id", "x-request-id"})
_TROUBLE: Final[dict[int, Trouble]] = {401: "auth", 403: "auth", 429: "rate_limited", 529: "overloaded"}
_FETCHED: Final = frozenset({"image_url", "file_url", "url", "server_url"})
_MAX_LINE: Final = 8 << 20
_MAX_ANSWER: Final = 32 << 20
_MAX_WORDS: Final = 64_000


@dataclass(slots=True)
class _Question:
    """What is asked. `limit` is the field that limits the answer."""

    provider: Provider
    path: str
    body: dict[str, Any]
    model: str
    size: int
    limit: str

    @property
    def price(self) -> Price:
        return self.provider.prices.get(self.model, Price())

    @property
    def longest(self) -> int:
        """How many tokens its answer may have; nothing where it does not say."""
        told = [self.body[key] for key in (self.limit, "max_tokens") if type(self.body.get(key)) is int]
        return told[0] if told else 0


class _Refused(Exception):  # noqa: N818 - it names what became of it
    """Why a question is not asked: status and words."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        super().__init__(words)


class Models:
    """Of one run. `trouble` is the last that a provider made."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.meter = Meter(request.allowance)
        self.trouble: Trouble | None = None
        self._client: httpx.AsyncClient | None = None
        self._one_at_a_time = asyncio.Lock()
        self._side_by_side = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def close(self) -> None:
        """Give back connections."""
        if self._client is not None:
            await self._client.aclose()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI application below `/openai` and `/anthropic`."""
        try:
            provider, path = self._whom(str(scope["path"]))
            if scope["method"] == "GET" and path == "/v1/models":
                await self._list(provider, send)
                return
            async with self._side_by_side:
                question = self._question(provider, path, str(scope["method"]), await _body(receive))
                async with self._one_at_a_time if self.meter.limited else contextlib.nullcontext():
                    await self._ask(question, scope, send)
        except _Refused as refused:
            self._request.session.tell("model_call", f"refused: {refused}", status=refused.status)
            await _say(send, refused.status, str(refused))

    def _whom(self, whole: str) -> tuple[Provider, str]:
        """The provider and the path below its name. Raises `_Refused`."""
        _, name, *rest = whole.split("/", 2) if whole.startswith("/") else ("", "")
        provider = self._request.providers.get(name)
        if provider is None:
            raise _Refused(404, "there is nothing here")
        return provider, f"/{rest[0]}" if rest else ""

    async def _list(self, provider: Provider, send: Send) -> None:
        models = [{"id": name, "object": "model", "owned_by": provider.name} for name in self.allowed(provider)]
        await _send(send, 200, {"object": "list", "data": models, "models": [], "has_more": False})

    def allowed(self, provider: Provider) -> list[str]:
        """Models that it may ask, in order: those that its agent names, else those that have a price; nothing means any."""
        agent = self._request.agent
        own = [name for name in (agent.model, *agent.models) if name]
        return own or sorted(provider.prices)

    # the question

    def _question(self, provider: Provider, path: str, method: str, raw: bytes) -> _Question:
        """Raises `_Refused`."""
        if method != "POST" or (provider.api, path) not in _PATHS:
            raise _Refused(404, f"{printable(method, 20)} {printable(path, 100)} is not offered here")
        if raw.count(b"[") + raw.count(b"{") > _MOST_BRACKETS:
            raise _Refused(413, f"a question has at most {_MOST_BRACKETS:,} brackets: the hub would stand still over more")
        try:
            body: Any = json.loads(raw)
        except (ValueError, RecursionError):
            raise _Refused(400, "the body is no JSON") from None
        if not isinstance(body, dict) or not isinstance(cast("dict[str, Any]", body).get("model"), str):
            raise _Refused(400, "the body is no object with a 'model'")
        asked = cast("dict[str, Any]", body)
        model = str(asked["model"])
        allowed = self.allowed(provider)
        if allowed and model not in allowed:
            raise _Refused(403, f"the model '{printable(model, 100)}' is not among those allowed: {', '.join(allowed)}")
        unpriced = used_up(provider.prices, model, self._request.allowance)
        if unpriced:
            raise _Refused(403, unpriced)
        _take_ways_out(provider.api, asked)
        return _Question(provider, path, asked, model, len(raw), _PATHS[provider.api, path])

    def _headers(self, provider: Provider, scope: MutableMapping[str, Any]) -> dict[str, str]:
        headers = {name.decode("latin-1"): value.decode("ascii", "ignore") for name, value in scope["headers"] if name in _PASSED}
        key = self._request.keys.get(provider.key, "")
        if not key:
            self.trouble = "auth"
            listed = provider.key in self._request.agent.secrets
            why = "is not set where the hub runs" if listed else "is not among the agent's 'secrets'"
            raise _Refused(403, f"there is no key for '{provider.name}': {provider.key} {why}")
        own = {"authorization": f"Bearer {key}"} if provider.api == "openai" else {"x-api-key": key}
        return {**headers, **own, "accept-encoding": "identity"}

    # the answer

    async def _ask(self, question: _Question, scope: MutableMapping[str, Any], send: Send) -> None:
        import httpx

        headers = self._headers(question.provider, scope)
        room = self.meter.room(question.size, question.price)
        if room is not None and question.limit:
            if room == 0:
                raise _Refused(
                    403, f"the run's budget is used up: {self.meter.tokens:,} tokens, {self.meter.micros / 1e6:.4f} of its money"
                )
            name = "max_tokens" if "max_tokens" in question.body and question.limit not in question.body else question.limit
            wanted = question.body.get(name)
            question.body[name] = min(room, wanted) if type(wanted) is int else room
        if question.path == "/v1/chat/completions" and question.body.get("stream"):
            question.body["stream_options"] = {"include_usage": True}
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(600, connect=15), follow_redirects=False, trust_env=False)
        url = question.provider.url.rstrip("/").removesuffix("/v1") + question.path
        counter = _Counter(question)
        content = json.dumps(question.body, separators=(",", ":")).encode()
        pending = bool(question.limit)
        try:
            async with self._client.stream("POST", url, content=content, headers=headers) as told:
                pending = False
                if told.status_code >= 400:  # noqa: PLR2004 - HTTP
                    await self._pass_error(question, told, send)
                    return
                self.trouble = None
                try:
                    await _pass_on(told, counter, send)
                finally:
                    if question.limit:
                        self._count(question, counter)
        except httpx.HTTPError as error:
            pending = pending and not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            self.trouble = "overloaded"
            self._request.session.tell("model_call", f"{question.model}: {type(error).__name__}", status=0)
            if not counter.begun:
                await _say(send, 502, f"the provider cannot be reached ({type(error).__name__})")
        finally:
            if pending:  # it was asked, and whoever asked did not wait: what is thought out then is paid for all the same
                counter.told = Tokens(output=question.longest)
                self._count(question, counter)

    def _count(self, question: _Question, counter: _Counter) -> None:
        tokens = counter.told if counter.told and counter.final else _more(counter.told or Tokens(), guess(question.size, counter.size))
        self.meter.count(question.model, tokens, question.price)
        told = "" if counter.final else " (guessed: the answer broke off)"
        self._request.session.tell(
            "model_call", f"{question.model}: {tokens.input} tokens in, {tokens.output} out{told}", status=200, input=tokens.input,
            cached=tokens.cached, cache_write=tokens.cache_write + tokens.cache_write_1h, output=tokens.output,
        )  # fmt: skip

    async def _pass_error(self, question: _Question, told: httpx.Response, send: Send) -> None:
        """Status and what is said, without anything of ours in it."""
        status = told.status_code
        self.trouble = _TROUBLE.get(status) or ("overloaded" if status >= 500 else self.trouble)  # noqa: PLR2004 - HTTP
        words = _words(await _read(told, _MAX_WORDS))
        self._request.session.tell("model_call", f"{question.model}: HTTP {status}: {words}", status=status)
        if status in (401, 403):
            status, words = 403, "the provider refused the hub's key"
        after = told.headers.get("retry-after")
        kept = ((b"retry-after", after.encode("latin-1")),) if after else ()
        await _say(send, status, words, kept)


class _Counter:
    """Reads along."""

    def __init__(self, question: _Question) -> None:
        self._api = question.provider.api
        self._rest = b""
        self.told: Tokens | None = None
        self.size = 0
        self.begun = self.final = False

    def line(self, line: bytes) -> None:
        """One line of a stream of events: `data: {...}` where there is usage in it."""
        if line.startswith(b"data:") and b'"usage"' in line:
            with contextlib.suppress(ValueError, RecursionError):
                self.whole(json.loads(line[5:]))

    def whole(self, value: Any) -> None:  # noqa: ANN401 - a provider's JSON
        """A whole answer, or one event of a stream."""
        told = as_object(value)
        usage = told.get("usage") or as_object(told.get("response")).get("usage") or as_object(told.get("message")).get("usage")
        if usage:
            self.told = told_by_openai(usage) if self._api == "openai" else told_by_anthropic(usage, self.told or Tokens())
            self.final = self._api == "openai" or told.get("type") in ("message", "message_delta")

    def feed(self, chunk: bytes) -> None:
        """More of a stream."""
        self.size += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-_MAX_LINE:]
        for line in lines:
            self.line(line)


def _more(told: Tokens, guessed: Tokens) -> Tokens:
    """Of an answer that broke off when a part of its usage had been told: at least that, and at least what it looks like."""
    return replace(told, input=max(told.input, guessed.input), output=max(told.output, guessed.output))


async def _pass_on(told: httpx.Response, counter: _Counter, send: Send) -> None:
    """As it comes; read along."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in told.headers.items() if name in _RETURNED]
    start = {"type": "http.response.start", "status": told.status_code, "headers": headers}
    if not told.headers.get("content-type", "").startswith("text/event-stream"):
        data = await _read(told, _MAX_ANSWER)
        counter.size = len(data)
        if counter.size > _MAX_ANSWER:
            raise _Refused(502, f"the provider's answer has more than {_MAX_ANSWER:,} bytes")
        with contextlib.suppress(ValueError, RecursionError):
            counter.whole(json.loads(data))
        counter.begun = True
        await send(start)
        await send({"type": "http.response.body", "body": data})
        return
    counter.begun = True
    await send(start)
    async for chunk in told.aiter_raw():
        counter.feed(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _read(told: httpx.Response, most: int) -> bytes:
    """Its body, or a little more than `most` of it."""
    data = bytearray()
    async for chunk in told.aiter_bytes():
        data += chunk
        if len(data) > most:
            break
    return bytes(data)


def _take_ways_out(api: str, body: dict[str, Any]) -> None:
    """Take out tools that the provider itself would run. Raises `_Refused` for what it would fetch."""
    for key in _LEFT_OUT:
        body.pop(key, None)
    if "previous_response_id" in body or _refers(body.get("input")):
        raise _Refused(400, "a question must hold all that it asks about: what the provider keeps is not to be referred to")
    _keep_own_tools(body, _is_own if api == "openai" else _is_own_anthropic)
    if _fetches(body.get("input")) or _fetches(body.get("messages")) or _fetches(body.get("system")):
        raise _Refused(400, "pictures and files must be part of the question: the provider would fetch this one from an address")


def _keep_own_tools(body: dict[str, Any], keep: Callable[[Mapping[str, Any]], bool]) -> None:
    """Wherever there is a list of them: in the question, in namespaces, in items that bring more of them."""
    todo: list[Any] = [body]
    while todo:
        here = todo.pop()
        if isinstance(here, list):
            todo += cast("list[Any]", here)
        elif isinstance(here, dict):
            part = cast("dict[str, Any]", here)
            for key, value in part.items():
                if key in ("tools", "additional_tools") and isinstance(value, list):
                    part[key] = [tool for tool in as_list(value) if keep(as_object(tool))]
            todo += part.values()


def _refers(items: Any) -> bool:  # noqa: ANN401 - foreign JSON
    return any(as_object(item).get("type") == "item_reference" for item in as_list(items))


def _is_own(tool: Mapping[str, Any]) -> bool:
    local = as_object(tool.get("environment")).get("type", "local") == "local"
    return tool.get("type") in _OWN_TOOLS and local and "server_url" not in tool


def _is_own_anthropic(tool: Mapping[str, Any]) -> bool:
    kind = tool.get("type", "custom")
    return kind == "custom" or (isinstance(kind, str) and kind.startswith(_OWN_TOOLS_ANTHROPIC))


def _fetches(value: Any) -> bool:  # noqa: ANN401 - foreign JSON
    """Whether there is a part of a message that names an address. What tools were called with is text and is left alone."""
    todo = [value]
    while todo:
        here = todo.pop()
        if isinstance(here, list):
            todo += cast("list[Any]", here)
        elif isinstance(here, dict):
            part = cast("dict[str, Any]", here)
            if part.get("type") in ("tool_use", "function_call", "mcp_call"):
                continue
            for key, item in part.items():
                address = as_object(item).get("url", item) if key == "image_url" else item
                if key in _FETCHED and isinstance(address, str) and not address.startswith("data:"):
                    return True
                todo.append(item)
    return False


def _words(data: bytes) -> str:
    """What a provider says about its refusal; printable."""
    with contextlib.suppress(ValueError, RecursionError):
        told = as_object(as_object(json.loads(data)).get("error")).get("message")
        if isinstance(told, str):
            return printable(told, 500)
    return "the provider refused"


async def _body(receive: Receive) -> bytes:
    """Raises `_Refused` over the limit."""
    parts = bytearray()
    async for chunk in _chunks(receive):
        parts += chunk
        if len(parts) > _MAX_QUESTION:
            raise _Refused(413, f"a question has at most {_MAX_QUESTION:,} bytes")
    return bytes(parts)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _say(send: Send, status: int, words: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """An error as both kinds of provider tell them."""
    kind = {400: "invalid_request_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}.get(status, "api_error")
    await _send(send, status, {"type": "error", "error": {"type": kind, "message": words, "code": kind}}, headers)


async def _send(send: Send, status: int, body: Mapping[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    data = canonical(body)
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": data})
