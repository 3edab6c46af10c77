"""The runner `codex`: OpenAI's Codex, without a terminal.

It asks its models and tools at the run's gate, with the run's token: there is nothing else that it could give away. Its own sandbox is off,
for it is in ours; where there is none it keeps its own, which may write to the working folder.

Source: `codex exec --help`, https://developers.openai.com/codex/config-reference
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from potato.core.foreign import as_list, as_object
from potato.ports import Report, Request
from potato.spokes.cage import spec
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate, Pass
from potato.spokes.runners.coding import BINARIES, SERVER, Coding, Outcome, Program, binary, lines, missing, mount, prompt_of, say, short

_TOKEN: Final = "POTATO_RUN_TOKEN"  # noqa: S105 - the variable's name


class CodexRunner:
    """See the port."""

    def __init__(self, gate: Gate, sandbox: Sandbox) -> None:
        self._coding = Coding(gate, sandbox)

    async def run(self, request: Request) -> Report:
        """One turn of Codex to its end."""
        found = binary("codex_cli_bin", "bin", "codex", command=request.agent.command, name="codex")
        if found is None:
            return missing("codex", "codex")
        folder, name = found

        def prepare(admitted: Pass, url: str, working: str) -> Program:
            caged = request.agent.sandbox != "none"
            there = BINARIES if caged else folder
            argv = [os.path.join(there, name), "exec", "--json", "--skip-git-repo-check", "--ephemeral", "-C", working]
            argv += ["--dangerously-bypass-approvals-and-sandbox"] if caged else ["--sandbox", "workspace-write"]
            argv += ["--ignore-user-config", "--ignore-rules", *settings(request, url), "-"]
            return Program(argv, {_TOKEN: admitted.token}, [mount(request, folder, name)])

        async def read(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, outcome: Outcome) -> None:
            await say(stdin, prompt_of(request, spec.WORKSPACE))
            async for line in lines(stdout):
                _event(request, line, outcome)

        return await self._coding.run(request, prepare, read)


def settings(request: Request, url: str) -> list[str]:
    """Everything by argument: no file of the repository and none of a home configures it."""
    values: dict[str, Any] = {
        "approval_policy": "never", "model_provider": "hub", "web_search": "disabled", "project_doc_max_bytes": 0,
        "analytics.enabled": False, "check_for_update_on_startup": False, "history.persistence": "none",
        "shell_environment_policy.inherit": "all", "shell_environment_policy.ignore_default_excludes": True,
        "shell_environment_policy.exclude": [_TOKEN],
        "model_providers.hub.name": "hub", "model_providers.hub.base_url": f"{url}/openai/v1", "model_providers.hub.env_key": _TOKEN,
        "model_providers.hub.wire_api": "responses", "model_providers.hub.request_max_retries": 2,
        "model_providers.hub.stream_max_retries": 2,
        f"mcp_servers.{SERVER}.url": f"{url}/mcp", f"mcp_servers.{SERVER}.bearer_token_env_var": _TOKEN,
        f"mcp_servers.{SERVER}.required": True, f"mcp_servers.{SERVER}.default_tools_approval_mode": "approve",
        f"mcp_servers.{SERVER}.tool_timeout_sec": 120,
    }  # fmt: skip
    if request.agent.model:
        values["model"] = request.agent.model
    return [part for key, value in values.items() for part in ("-c", f"{key}={json.dumps(value)}")]


def _event(request: Request, line: bytes, outcome: Outcome) -> None:
    """One event of its stream, as the transcript has it."""
    try:
        told = as_object(json.loads(line))
    except (ValueError, RecursionError):
        return
    item = as_object(told.get("item"))
    tell = request.session.tell
    match told.get("type"), item.get("type"):
        case "item.completed", "agent_message":
            outcome.summary = str(item.get("text", ""))
            tell("message", outcome.summary)
        case "item.completed", "reasoning":
            tell("reasoning", str(item.get("text", "")))
        case "item.started", "command_execution":
            tell("tool_call", "shell", command=item.get("command"))
        case "item.completed", "command_execution":
            tell("tool_result", str(item.get("aggregated_output", "")), tool="shell", exit=item.get("exit_code"))
        case "item.completed", "file_change":
            tell("tool_call", "change files", changes=_paths(item))
        case ("error", _) | ("turn.failed", _):
            words = told.get("message") or as_object(told.get("error")).get("message")
            outcome.error = short(str(words))
            tell("error", outcome.error)
        case "turn.completed", _:
            outcome.error = None
        case _:
            pass


def _paths(item: Mapping[str, Any]) -> list[str]:
    changes = as_list(item.get("changes"))[:100]
    return [f"{as_object(change).get('kind')} {as_object(change).get('path')}" for change in changes]
