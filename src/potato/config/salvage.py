"""What can still be checked of a config that has the wrong shape somewhere, so that all mistakes come at once."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, ValidationError

from potato.config.models import AgentModel, Defaults, Document, ForgeModel, Policies, RuleModel
from potato.config.yaml_tree import Tree
from potato.core.foreign import as_list, as_object

_MANY: Final = 1000

M = TypeVar("M", bound=BaseModel)


class _Rules(BaseModel):
    """The rules alone, read up to the first mistake."""

    model_config = ConfigDict(defer_build=True)
    routing: Annotated[list[RuleModel], FailFast()]


def salvage(data: Any) -> Document:  # noqa: ANN401 - unvalidated YAML
    """A document with every part that is sound by itself; broken rules keep their expression and names."""
    parts = as_object(data)
    return Document.model_construct(
        routing=[_rule(item) for item in as_list(parts.get("routing"))],
        agents={name: model for name, item in as_object(parts.get("agents")).items() if (model := _sound(AgentModel, item))},
        policies=_sound(Policies, parts.get("policies")) or _policies(as_object(parts.get("policies"))),
        defaults=_sound(Defaults, parts.get("defaults")) or Defaults(),
        forge=_sound(ForgeModel, parts.get("forge")) or ForgeModel(),
    )


def _policies(parts: dict[str, Any]) -> Policies:
    forbid, require = ([item for item in as_list(parts.get(key)) if isinstance(item, str)] for key in ("forbid", "require"))
    return Policies.model_construct(node_version=None, python_version=None, forbid=forbid, require=require)


def bound(tree: Tree) -> None:
    """Keep a config of a million mistakes from taking a minute: past the first thousand unsound rules, none is read.

    Many sound rules are replaced by their models, so that they are validated once.
    """
    rules = as_list(as_object(tree.data).get("routing"))
    if len(rules) <= _MANY:
        return
    try:
        rules[:] = _Rules.model_validate({"routing": rules}).routing
    except ValidationError:
        pass
    else:
        return
    unsound = 0
    for index, item in enumerate(rules):
        unsound += _sound(RuleModel, item) is None
        if unsound >= _MANY:
            tree.unlisted += len(rules) - index - 1
            del rules[index + 1 :]
            return


def _rule(item: Any) -> RuleModel:  # noqa: ANN401 - unvalidated YAML
    sound = _sound(RuleModel, item)
    if sound:
        return sound
    parts = as_object(item)
    names = [name for name in as_list(parts.get("run")) if isinstance(name, str)]
    return RuleModel.model_construct(if_=parts.get("if"), run=names, name=None, priority="normal", stop=False)


def _sound(model: type[M], item: Any) -> M | None:  # noqa: ANN401 - unvalidated YAML
    try:
        return model.model_validate(item)
    except ValidationError:
        return None
