"""The runner `builtin`: our own deterministic agents, in process."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from potato.ports import Report, Request


class BuiltinRunner:
    """Each built-in agent is a module `potato.spokes.builtin.NAME` with `work(request) -> Report`."""

    async def run(self, request: Request) -> Report:
        """Run it. A mistake of ours ends the run, not the hub."""
        module = importlib.import_module(f"potato.spokes.builtin.{request.agent.builtin}")
        work: Callable[[Request], Report] = module.work
        try:
            return work(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, this run fails and the rest goes on
            return Report(failure=f"built-in agent '{request.agent.builtin}' failed: {type(error).__name__}")
