"""The runner `claude`: Anthropic's Claude Code, without a terminal.

It asks its models and tools at the run's gate, with the run's token: there is nothing else that it could give away. `tools` are those of
its own that it may use (`Read`, `Edit`, `Bash` ...): in its cage all of them are harmless.

Source: `claude --help`, https://docs.anthropic.com/en/docs/claude-code/headless
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from potato.core.foreign import as_list, as_object
from potato.ports import Report, Request
from potato.spokes.cage import spec
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate, Pass
from potato.spokes.runners.coding import BINARIES, SERVER, Coding, Outcome, Program, binary, lines, missing, mount, prompt_of, say, short

_READS: Final = ("Read", "Bash")
_CHANGES: Final = (*_READS, "Edit")


class ClaudeRunner:
    """See the port."""

    def __init__(self, gate: Gate, sandbox: Sandbox) -> None:
        self._coding = Coding(gate, sandbox)

    async def run(self, request: Request) -> Report:
        """One conversation to its end."""
        found = binary("claude_agent_sdk", "_bundled", "claude", command=request.agent.command, name="claude")
        if found is None:
            return missing("claude", "claude")
        folder, name = found

        def prepare(admitted: Pass, url: str, _working: str) -> Program:
            caged = request.agent.sandbox != "none"
            server = {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": "Bearer ${POTATO_RUN_TOKEN}"}, "alwaysLoad": True}
            own = _own_tools(request, caged=caged)
            argv = [
                os.path.join(BINARIES if caged else folder, name), "--bare", "-p", "--output-format", "stream-json", "--verbose",
                "--strict-mcp-config", "--mcp-config", json.dumps({"mcpServers": {SERVER: server}}),
                "--allowedTools", ",".join([*(f"mcp__{SERVER}__{tool.name}" for tool in request.session.tools), *own]),
                "--tools", ",".join(own), "--no-session-persistence", "--permission-mode", "dontAsk",
                *(("--model", request.agent.model) if request.agent.model else ()),
            ]  # fmt: skip
            return Program(argv, _environment(request, admitted, url), [mount(request, folder, name)])

        async def read(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, outcome: Outcome) -> None:
            await say(stdin, prompt_of(request, spec.WORKSPACE))
            ours: set[str] = set()
            wanted = _own_tools(request, caged=request.agent.sandbox != "none")
            async for line in lines(stdout):
                _event(request, line, outcome, ours, wanted)

        return await self._coding.run(request, prepare, read)


def _own_tools(request: Request, *, caged: bool) -> tuple[str, ...]:
    """Those that its config names; else what fits its workspace. Without a cage it gets none that nobody named."""
    if request.agent.tools:
        return request.agent.tools
    if not caged or request.source is None:
        return ()
    return _CHANGES if {"open_pr", "push_branch"} & request.agent.permissions else _READS


def _environment(request: Request, admitted: Pass, url: str) -> dict[str, str]:
    environment = {
        "ANTHROPIC_BASE_URL": f"{url}/anthropic", "ANTHROPIC_API_KEY": admitted.token, "POTATO_RUN_TOKEN": admitted.token,
        "CLAUDE_CONFIG_DIR": f"{spec.HOME}/.claude" if request.agent.sandbox != "none" else "", "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1",
        "MCP_TIMEOUT": "30000", "MCP_TOOL_TIMEOUT": "120000", "IS_SANDBOX": "1",
    }  # fmt: skip
    if request.agent.model:
        environment |= dict.fromkeys(("ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL"), request.agent.model)
    return {name: value for name, value in environment.items() if value}


def _event(request: Request, line: bytes, outcome: Outcome, told_already: set[str], wanted: Sequence[str]) -> None:
    """One event of its stream, as the transcript has it."""
    try:
        told = as_object(json.loads(line))
    except (ValueError, RecursionError):
        return
    if told.get("type") == "result":
        words = str(told.get("result") or ", ".join(map(str, as_list(told.get("errors")))))
        if told.get("is_error") or told.get("subtype") not in ("success", None):
            outcome.error = short(words or str(told.get("subtype")))
        else:
            outcome.summary, outcome.error = words, None
        return
    if told.get("subtype") == "init":
        offered = as_list(told.get("tools"))
        lacking = [name for name in wanted if name not in offered]
        if lacking:
            outcome.warnings.append(f"Claude Code, as it is started here, has no tool {', '.join(lacking)}; it has Bash, Edit and Read")
        return
    content: list[Any] = as_list(as_object(told.get("message")).get("content"))
    for part in map(as_object, content):
        _part(request, part, told_already)


def _part(request: Request, part: Mapping[str, Any], told_already: set[str]) -> None:
    """`told_already` are the calls of the hub's own tools, which the session has told."""
    tell = request.session.tell
    match part.get("type"):
        case "text":
            tell("message", str(part.get("text", "")))
        case "thinking":
            tell("reasoning", str(part.get("thinking", "")))
        case "tool_use" if str(part.get("name", "")).startswith(f"mcp__{SERVER}__"):
            told_already.add(str(part.get("id")))
        case "tool_use":
            tell("tool_call", str(part.get("name")), arguments=part.get("input"))
        case "tool_result" if str(part.get("tool_use_id")) not in told_already:
            content = part.get("content")
            text = content if isinstance(content, str) else "\n".join(str(as_object(item).get("text", "")) for item in as_list(content))
            tell("tool_result", text, refused=bool(part.get("is_error")))
        case _:
            pass
