"""The REST routes. Each takes what it shows from the running service, in a thread: databases block."""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from potato.errors import PotatoError
from potato.hub.service import Service
from potato.ports.hub import Overview

open_routes: Final = APIRouter()


def authorised(request: Request) -> None:
    """Compares digests, so that neither length nor content of the token can be found by timing. Raises `HTTPException`."""
    token = cast("str | None", request.app.state.token)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = hmac.digest(b"potato", (token or "").encode(), "sha256")
    fits = hmac.compare_digest(expected, hmac.digest(b"potato", given.encode(), "sha256"))
    if not token or scheme.lower() != "bearer" or not fits:
        why = "send the token of POTATO_API_TOKEN as 'Authorization: Bearer ...'." if token else "POTATO_API_TOKEN is not set."
        raise HTTPException(401, why, {"www-authenticate": "Bearer"})


routes: Final = APIRouter(dependencies=[Depends(authorised)])


def _service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


Running = Annotated[Service, Depends(_service)]


@open_routes.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """The process lives."""
    return "ok\n"


@open_routes.get("/readyz", response_class=PlainTextResponse)
async def readyz(service: Running) -> PlainTextResponse:
    """It accepts deliveries: the database answers and every loop goes on."""
    try:
        await asyncio.to_thread(service.parts.roster.all)
    except PotatoError as error:
        return PlainTextResponse(f"{error}\n", 503)
    return PlainTextResponse("ok\n" if service.ready else "not ready\n", 200 if service.ready else 503)


@open_routes.get("/", response_class=HTMLResponse, include_in_schema=False)
async def root() -> str:
    """Where people who open the address in a browser are told what it is."""
    return _ROOT


@routes.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: Running) -> PlainTextResponse:
    """For Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Numbers(service, await asyncio.to_thread(service.parts.queue.overview)))
    return PlainTextResponse(generate_latest(registry), media_type="text/plain; version=0.0.4")


@routes.get("/api/v1/status")
async def status(service: Running) -> dict[str, Any]:
    """What waits, what runs, and how each agent does."""
    return (await asyncio.to_thread(service.parts.queue.overview)).as_json()


@routes.get("/api/v1/runs")
async def runs(service: Running, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
    """Runs, newest first."""
    return [run.as_json() for run in await asyncio.to_thread(service.parts.working.store.runs, limit)]


@routes.get("/api/v1/deliveries/{delivery_id}")
async def delivery(service: Running, delivery_id: str) -> dict[str, Any]:
    """The runs of a delivery, with what they proposed."""
    if not await asyncio.to_thread(service.parts.inbox.has, [delivery_id]):
        raise HTTPException(404, "there is no such delivery.")
    found = await asyncio.to_thread(service.parts.working.store.runs_of, delivery_id)
    return {"delivery_id": delivery_id, "runs": [run.as_json() | {"proposals": [p.as_json() for p in run.proposals]} for run in found]}


@routes.post("/api/v1/runs/{run_id}/cancel")
async def cancel(service: Running, run_id: str) -> dict[str, Any]:
    """Stop a run."""
    run = await asyncio.to_thread(service.parts.queue.stop, run_id, "cancelled", "cancelled through the API")
    if run is None:
        raise HTTPException(404, "there is no such run.")
    return run.as_json()


class _Numbers:
    """What Prometheus asks for."""

    def __init__(self, service: Service, overview: Overview) -> None:
        self._answers = dict(service.intake.answers) if service.intake else {}
        self._overview = overview

    def collect(self) -> list[Metric]:
        """All of them."""
        deliveries = CounterMetricFamily("potato_deliveries", "Requests at the webhook by answer.", labels=["answer"])
        for answer, count in self._answers.items():
            deliveries.add_metric([answer], count)
        states = GaugeMetricFamily("potato_runs", "Runs by state.", labels=["state"])
        for state, count in self._overview.states.items():
            states.add_metric([state], count)
        waiting = GaugeMetricFamily("potato_agent_waiting", "Runs that wait for a slot.", labels=["agent"])
        running = GaugeMetricFamily("potato_agent_running", "Runs that go on.", labels=["agent"])
        oldest = GaugeMetricFamily("potato_agent_queue_age_seconds", "How long the oldest waits.", labels=["agent"])
        for agent in self._overview.agents:
            waiting.add_metric([agent.agent], agent.waiting)
            running.add_metric([agent.agent], agent.running)
            oldest.add_metric([agent.agent], agent.oldest_s or 0.0)
        undecided = GaugeMetricFamily("potato_undecided_deliveries", "Deliveries kept and not decided.", value=self._overview.undecided)
        return [deliveries, states, waiting, running, oldest, undecided]


_ROOT: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Potato</title>
<style>body{font:16px/1.5 system-ui;margin:4rem auto;max-width:40rem;padding:0 1rem}code{background:#eee;padding:.1em .3em}</style>
<h1>Potato</h1><p>The hub is running. Send GitHub's webhooks to <code>/webhooks/github</code>.</p>
<p>Look at it with <code>potato status</code> and <code>potato runs</code>, or at <code>/api/v1/status</code> with your token.</p></html>
"""
