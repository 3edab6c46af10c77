"""Whether agents can be locked up on this machine, tried once."""

from __future__ import annotations

import asyncio
import platform
import sys

from potato.core.text import printable
from potato.ports import Report, Request
from potato.spokes.cage import calls
from potato.spokes.cage.process import Cage, Launch, bubblewrap, launch

_TRY_S = 20.0


class Sandbox:
    """One for a process: the answer does not change while it runs."""

    def __init__(self) -> None:
        self._asked: dict[asyncio.AbstractEventLoop, asyncio.Task[str | None]] = {}

    async def problem(self) -> str | None:
        """Why nothing can be locked up here; nothing if it can."""
        loop = asyncio.get_running_loop()
        if loop not in self._asked:
            self._asked = {loop: asyncio.create_task(_tried())}
        return await asyncio.shield(self._asked[loop])

    async def refusal(self, request: Request) -> Report | None:
        """Why this run cannot be: an untrusted event needs a cage, and so does any that was not told to do without."""
        if request.agent.sandbox == "none":
            if request.trusted:
                return None
            return _refused("the event is untrusted, and 'sandbox: none' would run it without a cage; leave that out to have one")
        problem = await self.problem()
        if problem is None:
            return None
        hint = "Install bubblewrap and allow user namespaces" + ("; or write sandbox: none for this agent" if request.trusted else "")
        return _refused(f"there is no sandbox here ({problem}). {hint}.")


def _refused(why: str) -> Report:
    return Report(failure=f"no-sandbox: {why}", trouble="refused")


async def _tried() -> str | None:
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has none that is known here"
    if not calls.known_machine():
        return f"no filter of system calls is known for {platform.machine()}"
    if bubblewrap() is None:
        return "bubblewrap is not installed"
    ended = await launch(Launch("try", ("/bin/true",), {}, "/", _TRY_S, Cage()), _its_end)
    if ended.failure is None:
        return None
    return printable(ended.failure.removeprefix("it cannot be started: ") + " " + ended.log.decode("utf-8", "replace").strip(), 300).strip()


async def _its_end(_stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
    """It is told nothing and says nothing; to leave it earlier would be to end it, perhaps before it has failed."""
    await stdout.read()
