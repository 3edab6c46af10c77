"""The runner `python`: a Python function, in a process of its own so that it cannot harm the hub.

The function takes the request (the same object a `command` agent reads) and returns the same report.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

from potato.ports import Report, Request
from potato.spokes.cage import spec
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate
from potato.spokes.runners.command import CommandRunner

_CHILD: Final = os.path.join(os.path.dirname(__file__), "python_child.py")
_CHILD_INSIDE: Final = "/run/python_child.py"


class PythonRunner:
    """`function` is `module:name`, or the name of an entry point in the group `potato.agents`."""

    def __init__(self, gate: Gate | None = None, sandbox: Sandbox | None = None) -> None:
        self._command = CommandRunner(gate, sandbox)

    async def run(self, request: Request) -> Report:
        """As a command. Caged, it sees the module, our Python, and what `files:` names."""
        caged = request.agent.sandbox != "none"
        folder = spec.CONFIG if caged else request.agent.folder
        argv = (sys.executable, "-P", _CHILD_INSIDE if caged else _CHILD, folder, request.agent.function or "")
        mounts = (*spec.interpreter(), spec.Mount(_CHILD, _CHILD_INSIDE))
        return await self._command.run_program(request, argv, mounts, list(_module(request)))


def _module(request: Request) -> Iterator[str]:
    """The files of the function's module in the config's folder: one file, or a package."""
    module = (request.agent.function or "").partition(":")[0]
    if ":" not in (request.agent.function or ""):
        return
    base = os.path.join(request.agent.folder, *module.split("."))
    if os.path.isfile(f"{base}.py"):
        yield f"{base}.py"
    top = os.path.join(request.agent.folder, module.split(".", maxsplit=1)[0])
    for folder, _, names in os.walk(top):
        paths = [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
        yield from (path for path in paths if path != f"{base}.py")
