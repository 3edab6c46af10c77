"""A decision as it is kept, so that it can be explained and decided anew later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from potato.core.event import Facts
from potato.core.foreign import as_list, as_object
from potato.core.routing import Decision
from potato.core.value import UNKNOWN, Partial, Value

EXPLAINED_RULES: Final = 200
"""Tables up to this size are recorded with every rule's explanation; of larger ones only what matched or is unknown."""


def record_of(decision: Decision, facts: Facts) -> dict[str, Any]:
    """The decision and the fetched facts it rests on, as JSON. With the delivery they give the same decision again."""
    whole = len(decision.table.rules) <= EXPLAINED_RULES
    return {
        "rules": [outcome.as_json() for outcome in decision.outcomes(every=whole)],
        "rules_in_all": len(decision.table.rules),
        "assignments": [assignment.as_json() for assignment in decision.assignments],
        "held": [assignment.as_json() for assignment in decision.held],
        "facts": {name: _told(value) for name, value in facts.fields.items() if value is not UNKNOWN},
        "problems": list(facts.problems),
    }


def recorded_facts(body: Mapping[str, Any]) -> Facts:
    """The facts of a recorded decision; those not recorded stay unknown. Values of a wrong shape are left out."""
    fields = {name: value for name, told in as_object(body.get("facts")).items() if (value := _read(told)) is not UNKNOWN}
    return Facts(fields, tuple(str(problem) for problem in as_list(body.get("problems"))))


def _told(value: Value) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Partial):
        return {"known": list(value.values)}
    return list(value) if isinstance(value, tuple) else value


def _read(told: Any) -> Value:  # noqa: ANN401 - JSON
    if isinstance(told, dict):
        return Partial(_texts(as_object(told).get("known")))
    if isinstance(told, list):
        return _texts(told)
    return told if told is None or isinstance(told, (str, int, bool)) else UNKNOWN


def _texts(items: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    return tuple(item for item in as_list(items) if isinstance(item, str))
