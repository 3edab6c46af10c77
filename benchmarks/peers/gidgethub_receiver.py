"""A bare receiver on gidgethub and Starlette: verifies, parses, answers 202, and keeps nothing. Arguments: PORT SECRET."""

from __future__ import annotations

import sys

import uvicorn
from gidgethub import routing, sansio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = sys.argv[2]
router = routing.Router()


@router.register("pull_request", action="opened")
async def opened(_event: sansio.Event) -> None:
    """Nothing to do."""


async def receive(request: Request) -> Response:
    """One delivery."""
    body = await request.body()
    event = sansio.Event.from_http(request.headers, body, secret=SECRET)
    await router.dispatch(event)
    return Response(status_code=202)


if __name__ == "__main__":
    app = Starlette(routes=[Route("/webhooks/github", receive, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
