"""The runner `python`: a Python function, in a process of its own so that it cannot harm the hub.

The function takes the request (the same object a `command` agent reads) and returns the same report.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from potato.ports import Report, Request
from potato.spokes.runners.process import run_process

_CHILD: Final = os.path.join(os.path.dirname(__file__), "python_child.py")


class PythonRunner:
    """`function` is `module:name`, or the name of an entry point in the group `potato.agents`."""

    async def run(self, request: Request) -> Report:
        """See `run_process`."""
        return await run_process(request, (sys.executable, "-P", _CHILD, request.agent.folder, request.agent.function or ""))
