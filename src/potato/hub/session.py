"""What the hub does for one agent while it runs: its tools, judged by the gate at each call and once more after the run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from potato.core.gate import Grant, Setting, judge
from potato.core.hidden import without_hidden, without_shapeless
from potato.core.prompt import marked
from potato.core.secret_scan import masked
from potato.core.text import did_you_mean
from potato.core.tools import PATCHES, READING_TOOLS, REPORT, proposing, writing
from potato.errors import PotatoError
from potato.hub.transcript import Transcript
from potato.ports import MAX_PROPOSALS, Forge
from potato.ports.session import Answer, EventKind, Piece, Tool

_MAX_ANSWER: Final = 200_000
_MAX_SUMMARY: Final = 4_000
_MOST_CALLS: Final = 500
_PLACEHOLDER: Final = [{"path": "placeholder", "content": ""}]
"""Stands for the files of a patch until the run is over: what the workspace holds then is judged after it."""


class RunSession:
    """See the port `Session`. `proposals` are the calls that were not refused, `summary` the last report."""

    def __init__(self, forge: Forge, grant: Grant, setting: Setting, transcript: Transcript, *, workspace: bool) -> None:
        self._forge = forge
        self._grant = grant
        self._setting = setting
        self._transcript = transcript
        self._workspace = workspace
        self._calls = 0
        self._one_at_a_time = asyncio.Lock()
        self.proposals: list[dict[str, Any]] = []
        self.summary = ""
        self.tools: Sequence[Tool] = self._granted()

    def _granted(self) -> list[Tool]:
        found: list[Tool] = []
        for name, (permission, told, properties) in READING_TOOLS.items():
            if permission in self._grant.permissions:
                required = [key for key in properties if key == "path"]
                schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
                found.append(Tool(name, told, schema, reads=True))
        for kind in writing(self._grant) if not self._setting.reading_only else ():
            told, schema = proposing(kind, self._grant, workspace=self._workspace)
            found.append(Tool(kind, told, schema, reads=False))
        text = {"type": "object", "properties": {"summary": {"type": "string", "maxLength": _MAX_SUMMARY}}, "required": ["summary"],
                "additionalProperties": False}  # fmt: skip
        return [
            *found,
            Tool(REPORT, "Say in a few sentences what you did and found, for people. Call it once, at the end.", text, reads=False),
        ]

    def tell(self, kind: EventKind, text: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """See the port."""
        self._transcript.add(kind, text, more)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        """See the port."""
        self._calls += 1
        self.tell("tool_call", name, arguments=arguments)
        answer = (
            await self._answered(name, arguments)
            if self._calls <= _MOST_CALLS
            else Answer(f"a run has at most {_MOST_CALLS} calls", refused=True)
        )
        self.tell("tool_result", answer.text, tool=name, refused=answer.refused)
        return answer

    async def _answered(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            names = [tool.name for tool in self.tools]
            why = self._setting.reading_only
            refused = f"there is no tool '{name[:60]}' for this run. {did_you_mean(name, names) or 'There are: ' + ', '.join(names) + '.'}"
            return Answer(f"{refused} ({why})" if why else refused, refused=True)
        unknown = sorted(set(map(str, arguments)) - set(tool.schema["properties"]))
        if unknown:
            hint = did_you_mean(unknown[0], tool.schema["properties"])
            return Answer(f"'{unknown[0][:60]}' is no argument of {name}. {hint}".rstrip(), refused=True)
        if name == REPORT:
            return self._report(arguments.get("summary"))
        if tool.reads:
            return await self._read(name, arguments)
        async with self._one_at_a_time:
            return await self._propose(name, arguments)

    def _report(self, summary: Any) -> Answer:  # noqa: ANN401 - an agent's word
        if not isinstance(summary, str):
            return Answer("'summary' must be text", refused=True)
        self.summary = summary[:_MAX_SUMMARY]
        return Answer("thank you")

    async def _read(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        try:
            _check(name, arguments)
            pieces = await self._forge.consult(self._setting.event, name, arguments)
        except PotatoError as error:
            return Answer(f"{error.message} {error.hint}".rstrip(), refused=True)
        text = marked([_shown(piece) for piece in pieces])
        return Answer(await asyncio.to_thread(masked, text[:_MAX_ANSWER], self._setting.secrets))

    async def _propose(self, kind: str, arguments: Mapping[str, Any]) -> Answer:
        raw = {"kind": kind, **arguments}
        if len(self.proposals) >= MAX_PROPOSALS:
            return Answer(f"a run has at most {MAX_PROPOSALS} proposals", refused=True)
        batch = [self._whole(one) for one in (*self.proposals, raw)]
        verdict = (await asyncio.to_thread(judge, batch, self._lenient(), self._setting))[-1]  # a large one is long to look through
        if verdict.answer == "deny":
            reason = verdict.reason.removeprefix("the whole batch is refused: ")
            before = "; what you proposed before stands" if self.proposals else ""
            return Answer(f"refused: {reason}{before}", refused=True)
        self.proposals.append(raw)
        if verdict.answer == "needs_approval":
            return Answer(f"proposed; a person must allow it first: {verdict.reason}")
        return Answer("proposed; it is applied when you are done")

    def _whole(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "files": _PLACEHOLDER} if self._workspace and raw["kind"] in PATCHES and "files" not in raw else raw

    def _lenient(self) -> Grant:
        """Of a patch that is not there yet, the paths are not asked."""
        return replace(self._grant, paths=()) if self._workspace else self._grant


def _check(name: str, arguments: Mapping[str, Any]) -> None:
    """Raises `PotatoError` for arguments that are not what the tool takes."""
    number, path = arguments.get("number"), arguments.get("path")
    if number is not None and (type(number) is not int or not 1 <= number < 2**31):
        raise PotatoError("bad-argument", "'number' must be a whole number above 0.")
    if name == "read_file" and not (isinstance(path, str) and path):
        raise PotatoError("bad-argument", "'path' must be the path of a file.")


def _shown(piece: Piece) -> dict[str, Any]:
    """A piece with its author and trust, and nothing hidden in it."""
    text = without_hidden(piece.text) if piece.markdown else without_shapeless(piece.text)
    who = (
        {"author": piece.author, "trust": "may write here" if piece.trusted else "may not write here"}
        if piece.author
        else {"trust": "untrusted"}
    )
    return {"what": piece.what, **who, **{key: _plain(value) for key, value in piece.more.items()}, "text": text}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return without_shapeless(value)
    return [_plain(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value
