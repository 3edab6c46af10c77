"""What can still be checked of a config that has the wrong shape somewhere, so that all mistakes come at once."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from potato.config.models import AgentModel, Defaults, Document, ForgeModel, Policies, RuleModel

M = TypeVar("M", bound=BaseModel)


def salvage(data: Any) -> Document:  # noqa: ANN401 - unvalidated YAML
    """A document with every part that is sound by itself; broken rules keep their expression and names."""
    parts: dict[str, Any] = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    routing: Any = parts.get("routing")
    agents: Any = parts.get("agents")
    return Document.model_construct(
        routing=[_rule(item) for item in routing] if isinstance(routing, list) else [],
        agents={name: model for name, item in agents.items() if (model := _sound(AgentModel, item))}
        if isinstance(agents, dict)
        else {},
        policies=_sound(Policies, parts.get("policies")) or Policies(),
        defaults=_sound(Defaults, parts.get("defaults")) or Defaults(),
        forge=_sound(ForgeModel, parts.get("forge")) or ForgeModel(),
    )


def _rule(item: Any) -> RuleModel:  # noqa: ANN401 - unvalidated YAML
    sound = _sound(RuleModel, item)
    if sound:
        return sound
    parts: dict[str, Any] = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
    run: Any = parts.get("run")
    names = [name for name in run if isinstance(name, str)] if isinstance(run, list) else []
    return RuleModel.model_construct(if_=parts.get("if"), run=names, name=None, priority="normal", stop=False)


def _sound(model: type[M], item: Any) -> M | None:  # noqa: ANN401 - unvalidated YAML
    try:
        return model.model_validate(item)
    except ValidationError:
        return None
