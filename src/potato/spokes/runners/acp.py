"""The runner `acp`: any agent that speaks the Agent Client Protocol on stdin and stdout.

It gets the hub's tools as an MCP server of its session. What it asks permission for is granted: the cage holds it, and the gate stands
behind the tools, so an agent that does not ask gets no further than one that does.

Source: https://agentclientprotocol.com
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from potato import __version__
from potato.ports import Report, Request
from potato.spokes.cage import spec
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate, Pass
from potato.spokes.runners.coding import SERVER, Coding, Outcome, Program, prompt_of, short
from potato.spokes.runners.command import own_files

_DONE: Final = frozenset({"end_turn"})
_MODES: Final = ("bypassPermissions", "full-access", "yolo", "auto", "build", "code")
"""Modes in which agents do not wait for anybody; the first that there is, is chosen."""


class AcpRunner:
    """See the port."""

    def __init__(self, gate: Gate, sandbox: Sandbox) -> None:
        self._coding = Coding(gate, sandbox)

    async def run(self, request: Request) -> Report:
        """One prompt of one session."""
        told: dict[str, str] = {}
        caged = request.agent.sandbox != "none"

        def prepare(admitted: Pass, url: str, working: str) -> Program:
            told.update(url=url, token=admitted.token, folder=working)
            own = set(own_files(request.agent.folder, request.agent.command)) if caged else set[str]()
            argv = [os.path.join(spec.CONFIG, part) if os.path.normpath(part) in own else part for part in request.agent.command]
            return Program(argv, _environment(url, admitted.token), files=sorted(own))

        async def read(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, outcome: Outcome) -> None:
            await _converse(request, stdin, stdout, outcome, told)

        return await self._coding.run(request, prepare, read)


def _environment(url: str, token: str) -> dict[str, str]:
    """What many agents look for; others are configured by `environment` and `files`."""
    return {
        "POTATO_MCP_URL": f"{url}/mcp", "POTATO_RUN_TOKEN": token, "OPENAI_BASE_URL": f"{url}/openai/v1", "OPENAI_API_KEY": token,
        "ANTHROPIC_BASE_URL": f"{url}/anthropic", "ANTHROPIC_API_KEY": token,
    }  # fmt: skip


async def _converse(
    request: Request, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, outcome: Outcome, told: dict[str, str]
) -> None:
    import acp
    from acp.schema import ClientCapabilities, FileSystemCapabilities, HttpHeader, HttpMcpServer, Implementation

    client = _Client(request)
    connection = acp.connect_to_agent(client, stdin, stdout)
    try:
        abilities = ClientCapabilities(fs=FileSystemCapabilities(read_text_file=False, write_text_file=False), terminal=False)
        us = Implementation(name="potato", version=__version__)
        greeted = await connection.initialize(acp.PROTOCOL_VERSION, client_capabilities=abilities, client_info=us)
        mcp = greeted.agent_capabilities.mcp_capabilities if greeted.agent_capabilities else None
        if mcp is None or not mcp.http:
            outcome.error = "it takes no MCP server over HTTP, so it could call none of the hub's tools"
            return
        header = HttpHeader(name="Authorization", value=f"Bearer {told['token']}")
        server = HttpMcpServer(type="http", name=SERVER, url=f"{told['url']}/mcp", headers=[header])
        session = await connection.new_session(cwd=told["folder"], mcp_servers=[server])
        modes = {mode.id for mode in session.modes.available_modes} if session.modes else set[str]()
        mode = next((name for name in _MODES if name in modes), None)
        if mode is not None:
            await connection.set_session_mode(session_id=session.session_id, mode_id=mode)
        prompt: list[Any] = [acp.text_block(prompt_of(request, told["folder"]))]
        answer = await connection.prompt(session_id=session.session_id, prompt=prompt)
        client.flush()
        outcome.summary = client.last
        if answer.stop_reason not in _DONE:
            outcome.error = f"it stopped: {answer.stop_reason}"
    except acp.RequestError as error:
        outcome.error = short(str(error))
    except ConnectionError:
        outcome.error = "it ended the conversation"
    finally:
        await connection.close()
        stdin.close()


class _Client:
    """The hub's side of the conversation."""

    def __init__(self, request: Request) -> None:
        self._tell = request.session.tell
        self._message: list[str] = []
        self.last = ""

    def on_connect(self, conn: Any) -> None:  # noqa: ANN401 - the library's face
        """Nothing to prepare."""

    async def request_permission(self, session_id: str, tool_call: Any, options: list[Any], **_more: Any) -> Any:  # noqa: ANN401, ARG002 - the library's face
        """Yes, once: what it may do was decided elsewhere."""
        from acp.schema import AllowedOutcome, DeniedOutcome, RequestPermissionResponse

        allowed = next((option for kind in ("allow_once", "allow_always") for option in options if option.kind == kind), None)
        if allowed is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=allowed.option_id))

    async def session_update(self, session_id: str, update: Any, **_more: Any) -> None:  # noqa: ANN401, ARG002 - the library's face
        """Into the transcript; a message comes in pieces."""
        match update.session_update:
            case "agent_message_chunk":
                self._message.append(str(getattr(update.content, "text", "")))
            case "agent_thought_chunk":
                self._tell("reasoning", str(getattr(update.content, "text", "")))
            case "tool_call":
                self.flush()
                if not str(update.title).startswith((SERVER, f"mcp__{SERVER}")):
                    self._tell("tool_call", str(update.title))
            case _:
                pass

    def flush(self) -> None:
        """A message is whole."""
        text = "".join(self._message)
        self._message.clear()
        if text.strip():
            self.last = text
            self._tell("message", text)

    async def _none(self, *_arguments: Any, **_more: Any) -> Any:  # noqa: ANN401 - the library's face
        """Files and terminals are the agent's own, within its cage."""
        from acp import RequestError

        raise RequestError.method_not_found("the hub offers no files and no terminals")

    write_text_file = read_text_file = create_terminal = terminal_output = release_terminal = wait_for_terminal_exit = kill_terminal = _none
    create_elicitation = complete_elicitation = ext_method = ext_notification = _none
