"""The runner `acp`: any agent that speaks the Agent Client Protocol on stdin and stdout.

It gets the hub's tools as an MCP server of its session. What it asks permission for is granted: the cage holds it, and the gate stands
behind the tools, so an agent that does not ask gets no further than one that does.

Source: https://agentclientprotocol.com
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

from potato import __version__
from potato.core.foreign import as_object
from potato.ports import Report, Request
from potato.ports.session import EventKind
from potato.spokes.cage import spec
from potato.spokes.cage.process import OutputError
from potato.spokes.cage.sandbox import Sandbox
from potato.spokes.gate import Gate, Pass
from potato.spokes.runners.coding import SERVER, Coding, Outcome, Program, lines, prompt_of, short
from potato.spokes.runners.command import own_files

_DONE: Final = frozenset({"end_turn"})
_MODES: Final = ("bypassPermissions", "full-access", "yolo", "auto", "build", "code")
"""Modes in which agents do not wait for anybody; the first that there is, is chosen."""

_MOST_MESSAGES: Final = 200_000
_MOST_REQUESTS: Final = 2_000
_MOST_UNREAD: Final = 64
_LONGEST_TEXT: Final = 1 << 20


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
    from pydantic import ValidationError

    client, transport = _Client(request), _Transport(stdin, stdout)
    connection = acp.connect_to_agent(client, transport)
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
        outcome.error = transport.problem or "it ended the conversation"
    except ValidationError as error:
        outcome.error = f"its answer is none of the protocol: {short(str(error.errors()[0].get('msg', '')))}"
    finally:
        await connection.close()
        stdin.close()


class _Transport:
    """Messages as lines. What is none is left out: the library would write each to the hub's log, and bounds nothing.

    `problem` is why it was cut, if it was.
    """

    def __init__(self, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
        self._stdin = stdin
        self._lines = lines(stdout)
        self._messages = self._requests = self._sending = 0
        self.problem: str | None = None

    async def receive(self) -> dict[str, Any] | None:
        """The next; nothing at the end."""
        try:
            async for line in self._lines:
                self._messages += 1
                if self._messages > _MOST_MESSAGES:
                    self.problem = f"it wrote more than {_MOST_MESSAGES:,} messages"
                    return None
                await asyncio.sleep(0)  # what came before is worked on first
                message = _message(line)
                if message is None:
                    continue
                self._requests += "method" in message and "id" in message
                if self._requests > _MOST_REQUESTS:
                    self.problem = f"it asked for more than {_MOST_REQUESTS:,} things"
                    return None
                return message
        except OutputError as error:
            self.problem = str(error)
        return None

    async def send(self, message: dict[str, Any]) -> None:
        """To the agent; one that asks without reading the answers gets no more of them."""
        if self._sending >= _MOST_UNREAD:
            return
        self._sending += 1
        try:
            self._stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            await self._stdin.drain()
        finally:
            self._sending -= 1

    async def close(self) -> None:
        """The process ends it."""


def _message(line: bytes) -> dict[str, Any] | None:
    """A message that the library can take: an answer, a request, or news of the session."""
    from acp.schema import SessionNotification
    from pydantic import ValidationError

    try:
        told = as_object(json.loads(line))
    except (ValueError, RecursionError):
        return None
    method, number = told.get("method"), told.get("id")
    if "id" in told and type(number) not in (int, str):
        return None
    if method is None:
        sound = type(number) is int and ("error" not in told or type(told["error"]) is dict)
        return dict(told) if sound else None
    if "id" in told or type(method) is not str:
        return dict(told) if type(method) is str else None
    try:
        SessionNotification.model_validate(told.get("params"))
    except (ValidationError, RecursionError):
        return None
    return dict(told) if method == "session/update" else None


class _Client:
    """The hub's side of the conversation. What comes in pieces is told when something else comes."""

    def __init__(self, request: Request) -> None:
        self._tell = request.session.tell
        self._pieces: list[str] = []
        self._kind: EventKind = "message"
        self._size = 0
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
                self._piece("message", str(getattr(update.content, "text", "")))
            case "agent_thought_chunk":
                self._piece("reasoning", str(getattr(update.content, "text", "")))
            case "tool_call":
                self.flush()
                if not str(update.title).startswith((SERVER, f"mcp__{SERVER}")):
                    self._tell("tool_call", str(update.title))
            case _:
                pass

    def _piece(self, kind: EventKind, text: str) -> None:
        if kind != self._kind:
            self.flush()
            self._kind = kind
        self._size += len(text)
        if self._size <= _LONGEST_TEXT:
            self._pieces.append(text)

    def flush(self) -> None:
        """What came in pieces is whole."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if text.strip():
            self.last = text if self._kind == "message" else self.last
            self._tell(self._kind, text)

    async def _none(self, *_arguments: Any, **_more: Any) -> Any:  # noqa: ANN401 - the library's face
        """Files and terminals are the agent's own, within its cage."""
        from acp import RequestError

        raise RequestError.method_not_found("the hub offers no files and no terminals")

    write_text_file = read_text_file = create_terminal = terminal_output = release_terminal = wait_for_terminal_exit = kill_terminal = _none
    create_elicitation = complete_elicitation = ext_method = ext_notification = _none
