"""The runner `command`: any program, JSON on stdin and stdout."""

from __future__ import annotations

from potato.ports import Report, Request
from potato.spokes.runners.process import run_process


class CommandRunner:
    """argv comes from the config only; nothing of the event is ever part of it."""

    async def run(self, request: Request) -> Report:
        """See `run_process`."""
        return await run_process(request, request.agent.command)
