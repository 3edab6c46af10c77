"""The whole application: the webhook's raw route first, everything else by FastAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from potato import __version__
from potato.api import control
from potato.api.routes import open_routes, routes
from potato.api.webhook import Receive, Scope, Send, Webhook
from potato.errors import PotatoError
from potato.hub.service import Service

PATH: Final = "/webhooks/github"
_PROBLEM: Final = "application/problem+json"
_TYPES: Final = "https://potato-orchestrator.github.io/problems/"
_KINDS: Final = {401: "unauthorized", 403: "forbidden", 404: "not-found", 409: "approval-refused"}
_SAFE: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store",
}  # fmt: skip

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_app(service: Service, secrets: Sequence[bytes], token: str | None) -> App:
    """The ASGI application of a started hub. Without a token the API answers 401."""
    assert service.intake is not None  # noqa: S101 - a hub has one once it is started
    webhook = Webhook(service.intake, secrets)
    rest = make_api(service, token)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await webhook(scope, receive, send)
        else:
            await rest(scope, receive, send)  # type: ignore[arg-type] # starlette's messages are mutable mappings

    return app


def make_api(service: Service, token: str | None) -> FastAPI:
    """The REST API."""
    api = FastAPI(title="Potato", version=__version__, openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    api.state.service, api.state.token = service, token
    api.include_router(open_routes)
    api.include_router(routes)
    api.include_router(control.routes)
    api.middleware("http")(_hardened)
    api.add_exception_handler(HTTPException, _refused)
    api.add_exception_handler(PotatoError, _troubled)
    api.add_exception_handler(RequestValidationError, _malformed)
    return api


async def _hardened(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_SAFE)
    return response


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return _problem(error.status_code, str(error.detail), dict(error.headers or {}), _KINDS.get(error.status_code, "refused"))


async def _malformed(_request: Request, error: Exception) -> Response:
    """Where, and what; never what was sent."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    return _problem(422, told, {}, "malformed")


async def _troubled(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PotatoError)  # noqa: S101 - registered for it
    return _problem(503, error.message, {"retry-after": "5"}, error.code)


def _problem(status: int, detail: str, headers: dict[str, str], kind: str) -> JSONResponse:
    """Source: https://www.rfc-editor.org/rfc/rfc9457."""
    body: dict[str, Any] = {"type": f"{_TYPES}{kind}", "title": kind.replace("-", " "), "status": status, "detail": detail}
    return JSONResponse(body, status, headers, _PROBLEM)
