"""What the models of the config share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from potato.config.duration import parse_duration
from potato.core.expression.pattern import PatternError, compile_pattern

AGENT_NAME = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
AgentName = Annotated[str, Field(pattern=AGENT_NAME)]


def _seconds(value: Any) -> Any:  # noqa: ANN401 - before validation
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(_seconds), Field(json_schema_extra={"type": "string", "pattern": "^[0-9]+[smhd]$"})]


_SIZE = re.compile(r"([0-9]{1,6})(kB|MB|GB)")
_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def _bytes(value: Any) -> Any:  # noqa: ANN401 - before validation
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        message = f"'{value[:40]}' is no size; write 512MB or 4GB"
        raise ValueError(message)
    return int(match[1]) * _UNITS[match[2]]


Size = Annotated[int, BeforeValidator(_bytes), Field(json_schema_extra={"type": "string", "pattern": "^[0-9]+(kB|MB|GB)$"})]


def _glob(value: str) -> str:
    try:
        compile_pattern(value, in_path=True)
    except PatternError as error:
        message = f"'{value[:80]}' is no pattern of paths: {error}"
        raise ValueError(message) from None
    return value


def _host(value: str) -> str:
    if _HOST.fullmatch(value) is None:
        message = f"'{value[:80]}' is no host; write pypi.org, or *.example.com for all below it"
        raise ValueError(message)
    return value


def _folder(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or value.rstrip("/") in _NEVER or value.startswith(("/proc", "/sys", "/dev")):
        message = f"'{value[:80]}' is no folder that agents may see; write an absolute path such as /opt/node"
        raise ValueError(message)
    return value


_HOST = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}")
_NEVER = frozenset({"", "/etc", "/home", "/root", "/run", "/tmp", "/usr", "/var", "/workspace", "/agent"})  # noqa: S108 - names, not files
PathGlob = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_glob)]
HostName = Annotated[str, AfterValidator(_host)]
Folder = Annotated[str, Field(max_length=300), AfterValidator(_folder)]


class Strict(BaseModel):
    """Unknown keys are errors, and nothing changes once read."""

    # deferred: most models are only ever validated as parts of Document, so their own validators are never needed
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, defer_build=True)
