"""pydantic's errors -> problems with places, our codes and suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError

from potato.config.yaml_tree import Path, Tree
from potato.core.text import did_you_mean

M = TypeVar("M", bound=BaseModel)

_TYPES = {
    "list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping", "string_type": "text",
    "int_parsing": "a whole number", "int_type": "a whole number", "bool_parsing": "true or false", "bool_type": "true or false",
    "float_type": "a duration",
}  # fmt: skip

_OWN_CODES = {"unknown-permission": "", "not-supported": "Remove it."}
"""Error types that the models raise themselves, which are our codes -> hint."""


def validate(model: type[M], tree: Tree) -> M | None:
    """The model, or nothing and one problem in `tree` for each mistake."""
    try:
        return model.model_validate(tree.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=True, include_input=True):
            _note(tree, model, cast("Mapping[str, Any]", detail))
        return None


def _key_hint(detail: Mapping[str, Any]) -> str:
    """What a key must be."""
    if detail["type"] == "literal_error":
        return did_you_mean(str(detail.get("input")), _expected(detail)) or f"Known: {', '.join(_expected(detail))}."
    if detail["type"] == "string_pattern_mismatch":
        return f"It must match {detail['ctx']['pattern']}."
    return f"{str(detail['msg']).removeprefix('Value error, ').rstrip('.')}."


def _note(tree: Tree, model: type[BaseModel], detail: Mapping[str, Any]) -> None:
    """`detail` is one of pydantic's error details: https://docs.pydantic.dev/latest/errors/errors/."""
    path = _existing(tree, cast("Path", detail["loc"]))
    kind = str(detail["type"])
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    given = detail.get("input")
    if kind == "extra_forbidden":
        known = _keys(model, path[:-1])
        where = f" of {_shown(path[:-1])}" if path[:-1] else ""
        hint = did_you_mean(name, known) or f"Known: {', '.join(known)}."
        if name in ("permissions", "secrets"):
            hint = "It is granted in the config only, under 'agents:'."
        tree.problem(tree.at(path, key=True), "unknown-key", f"'{name[:60]}' is no key{where}.", hint)
    elif kind == "missing":
        tree.problem(tree.at(path), "missing-key", f"'{name}' is missing{f' in {_shown(path)}' if path else ''}.")
    elif name == "[key]":
        tree.problem(tree.at(path, key=True), "unknown-key", f"'{str(given)[:60]}' is no key of {_shown(path[:-1])}.", _key_hint(detail))
    elif kind == "literal_error":
        hint = did_you_mean(str(given), _expected(detail)) or f"Known: {', '.join(_expected(detail))}."
        tree.problem(tree.at(path), "unknown-value", f"'{str(given)[:60]}' is no {name}.", hint)
    elif kind == "too_short":
        tree.problem(tree.at(path), "bad-value", f"'{_shown(path)}' must name at least one.")
    elif kind in ("greater_than_equal", "less_than_equal", "greater_than"):
        bound = next(iter(detail["ctx"].values()))
        word = {"greater_than_equal": "at least", "less_than_equal": "at most", "greater_than": "more than"}[kind]
        tree.problem(tree.at(path), "bad-value", f"'{_shown(path)}' must be {word} {bound:g}.")
    elif kind in _TYPES:
        found = _found(given)
        tree.problem(
            tree.at(path), "wrong-type", f"'{_shown(path) or 'the document'}' must be {_TYPES[kind]}, found {found}.", _listed(kind, given)
        )
    elif kind == "string_pattern_mismatch":
        code, what = ("bad-value", "no address") if name == "url" else ("bad-name", "no valid name here")
        tree.problem(tree.at(path), code, f"'{str(given)[:60]}' is {what}.", f"It must match {detail['ctx']['pattern']}.")
    elif kind in ("value_error", *_OWN_CODES):
        message = str(detail["msg"]).removeprefix("Value error, ")
        code = kind if kind in _OWN_CODES else "bad-value"
        tree.problem(tree.at(path), code, message if message[-1] in ".?" else f"{message}.", _OWN_CODES.get(kind, ""))
    else:
        tree.problem(tree.at(path), "bad-value", f"'{_shown(path)}': {detail['msg'][:1].lower()}{detail['msg'][1:]}.")


def _listed(kind: str, given: Any) -> str:  # noqa: ANN401 - unvalidated YAML
    return f"Write [{', '.join(given.split())[:80]}]." if kind == "list_type" and isinstance(given, str) and given.strip() else ""


def _found(given: Any) -> str:  # noqa: ANN401 - unvalidated YAML
    if isinstance(given, str):
        return f"'{given[:40]}'"
    return "a list" if isinstance(given, list) else "a mapping" if isinstance(given, dict) else "nothing"


def _expected(detail: Mapping[str, Any]) -> list[str]:
    """The values that a literal can have, out of pydantic's sentence."""
    return [part.strip("'") for part in str(detail["ctx"]["expected"]).replace(" or ", ", ").split(", ")]


def _existing(tree: Tree, loc: Path) -> Path:
    """The location without the names pydantic adds for unions and keys; a missing last part is dropped."""
    path: Path = ()
    for part in loc:
        if (*path, part) in tree.places or (*path, part) in tree.keys:
            path = (*path, part)
    return path


def _shown(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the model at `path` knows."""
    current: Any = model
    for part in path:
        found = [m for m in _models(current) if isinstance(part, str) and part in _aliases(m)]
        current = _aliases(found[0])[str(part)] if found else current
    return sorted({key for found in _models(current) for key in _aliases(found)})


def _aliases(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _models(annotation: Any) -> Iterable[type[BaseModel]]:  # noqa: ANN401 - any type form
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
