"""Run the tests of rules: decide each event, and say what is otherwise than expected. Touches nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potato.config.config import Config
from potato.config.rule_tests import RuleTest, RuleTestSource, failures
from potato.core.event import Event, with_facts
from potato.core.fields import FIELDS, LACKING
from potato.core.routing import Decision, decide
from potato.core.value import UNKNOWN, Value
from potato.errors import UsageError
from potato.ports import Forge

Normalise = Callable[[str, bytes, str], Event]
"""(event, payload, what it is called in messages) -> the event."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One test, what was decided, and what of that is otherwise than expected."""

    test: RuleTest
    decision: Decision
    failures: list[str]

    def as_json(self) -> dict[str, Any]:
        """The shape of `tests[]` in `potato test --json`."""
        return {
            "name": self.test.name,
            "file": self.test.file,
            "line": self.test.line,
            "passed": not self.failures,
            "failures": self.failures,
        }


async def run_tests(config: Config, sources: Sequence[RuleTestSource], forge: Forge, normalise: Normalise,
                    read: Callable[[str], bytes]) -> AsyncIterator[Finished]:  # fmt: skip
    """Each test, finished. `forge` answers what a payload alone tells, `read` gives a payload. Raises `UsageError` for a bad payload."""
    for source in sources:
        for test in source.tests:
            decision = decide(await _fields(test, forge, normalise, read), config.table)
            missing = "nothing is expected; --update writes what is found"
            yield Finished(test, decision, [missing] if test.expect is None else failures(test.expect, decision))


async def _fields(test: RuleTest, forge: Forge, normalise: Normalise, read: Callable[[str], bytes]) -> Mapping[str, Value]:
    """What the rules see: of the payload and its facts where there is one, then what stands in the test."""
    if test.payload is None:
        lacking = {
            name: UNKNOWN for name, field in FIELDS.items()
            if field.fact in ("paths", "jobs") and test.event in LACKING[field.fact] & field.events
        }  # fmt: skip
        return {"event": test.event, "trusted": True, **lacking, **test.fields}
    try:
        normal = normalise(test.event, read(test.payload), f"the payload '{test.payload}'")
    except UsageError as error:
        raise UsageError(error.code, f"{test.file}:{test.line}: {error.message}", error.hint) from None
    return {**with_facts(normal, await forge.fetch_facts(normal, frozenset(LACKING))), **test.fields}
