"""The REST routes of control: pauses, guards that are set aside, and answers to what waits for people."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from potato.api.routes import Running, authorised
from potato.errors import AuthError, PotatoError
from potato.ports.control import Override, Pause

_YEAR_S: Final = 366 * 86_400
routes: Final = APIRouter(dependencies=[Depends(authorised)], prefix="/api/v1")


class NewPause(BaseModel):
    """What to hold; everything without repository and agent."""

    model_config = ConfigDict(extra="forbid")
    note: Annotated[str, Field(min_length=1, max_length=500)]
    repository: Annotated[str | None, Field(pattern=r"^[^/\s]{1,100}/[^/\s]{1,100}$")] = None
    agent: Annotated[str | None, Field(max_length=80)] = None
    mode: Literal["hold", "drain", "cancel"] = "hold"
    seconds: Annotated[float | None, Field(ge=1, le=_YEAR_S)] = None


class NewOverride(BaseModel):
    """For how long a guard is set aside, and why."""

    model_config = ConfigDict(extra="forbid")
    note: Annotated[str, Field(min_length=1, max_length=500)]
    seconds: Annotated[float, Field(ge=1, le=_YEAR_S)] = 3600


class NewAnswer(BaseModel):
    """A person's answer."""

    model_config = ConfigDict(extra="forbid")
    answer: Literal["approve", "deny"]


@routes.get("/pauses")
async def pauses(service: Running) -> list[dict[str, Any]]:
    """What is paused now."""
    return [pause.as_json() for pause in await asyncio.to_thread(service.parts.switch.pauses)]


@routes.post("/pauses", status_code=201)
async def pause(service: Running, wanted: NewPause) -> dict[str, Any]:
    """Hold from now on."""
    now = datetime.now(UTC)
    until = now.timestamp() + wanted.seconds if wanted.seconds else None
    note = " ".join(wanted.note.split())
    new = Pause(f"pause_{uuid.uuid4().hex[:12]}", wanted.repository, wanted.agent, wanted.mode, note, "the API", now.isoformat(), until)
    stopped = await asyncio.to_thread(service.parts.switch.pause, new)
    return new.as_json() | {"stopped": [run.id for run in stopped]}


@routes.delete("/pauses/{pause_id}")
async def resume(service: Running, pause_id: str) -> dict[str, Any]:
    """End a pause."""
    ended = await asyncio.to_thread(service.parts.switch.resume, None, None, "the API", pause_id)
    if not ended:
        raise HTTPException(404, "there is no such pause.")
    return ended[0].as_json()


@routes.post("/guards/{guard:path}/override", status_code=201)
async def override(service: Running, guard: str, wanted: NewOverride) -> dict[str, Any]:
    """Set a guard aside for a time."""
    until = time.time() + wanted.seconds
    one = Override(guard[:300], "the API", " ".join(wanted.note.split()), datetime.now(UTC).isoformat(), until)
    await asyncio.to_thread(service.parts.switch.override, one)
    return {name: getattr(one, name) for name in one.__slots__}


@routes.get("/approvals")
async def approvals(service: Running) -> list[dict[str, Any]]:
    """What waits for people."""
    return [waiting.as_json() for waiting in await asyncio.to_thread(service.parts.approvals.waiting)]


@routes.post("/approvals/{digest}")
async def answer(service: Running, digest: str, wanted: NewAnswer, x_github_token: Annotated[str, Header()]) -> dict[str, Any]:
    """Answer as the person whose GitHub token `X-GitHub-Token` is: it is used to ask GitHub who that is, and for nothing else."""
    if service.desk is None or service.parts.identify is None:
        raise HTTPException(404, "this process decides nothing.")
    try:
        login = await service.parts.identify(x_github_token, os.environ)
        waiting, told = await service.desk.answer(digest, login, wanted.answer, "the API")
    except AuthError:
        raise HTTPException(403, "GitHub does not know this token.") from None
    except PotatoError as error:
        raise HTTPException(409 if error.code == "approval-refused" else 503, str(error)) from None
    return waiting.as_json() | {"answer": wanted.answer, "told": told}
