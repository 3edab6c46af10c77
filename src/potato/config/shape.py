"""What the models of the config share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from potato.config.duration import parse_duration

AGENT_NAME = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
AgentName = Annotated[str, Field(pattern=AGENT_NAME)]


def _seconds(value: Any) -> Any:  # noqa: ANN401 - before validation
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(_seconds), Field(json_schema_extra={"type": "string", "pattern": "^[0-9]+[smhd]$"})]


class Strict(BaseModel):
    """Unknown keys are errors, and nothing changes once read."""

    # deferred: most models are only ever validated as parts of Document, so their own validators are never needed
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, defer_build=True)
