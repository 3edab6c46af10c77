"""The shape of `loops`, `budgets`, `guards` and `approvals`: how automation is kept in hand."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from potato.config.calendar import DAYS, Freeze, Span, Weekly
from potato.config.shape import AgentName, Duration, Strict
from potato.core.approval import EXPIRES_S, ApprovalRule
from potato.core.budget import MICROS, Budgets, Limit
from potato.core.hold import Reach
from potato.core.infrastructure import CLASSES, Health
from potato.core.lineage import DEPTH, RUNS_PER_HEAD, Caps
from potato.core.permission import Kind

MOST_MICROS: Final = 10**9 * MICROS
MOST_TOKENS: Final = 10**12
_COUNT: Final = re.compile(r"([0-9]{1,15})([kM]?)")
_TIMES: Final = {"": 1, "k": 1000, "M": 1_000_000}
_WEEKLY: Final = re.compile(r"(mon|tue|wed|thu|fri|sat|sun) ([01][0-9]|2[0-3]):([0-5][0-9])")


def _tokens(value: Any) -> Any:  # noqa: ANN401 - before validation
    match = _COUNT.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) * _TIMES[match[2]] if match else value


def _micros(value: Any) -> int:  # noqa: ANN401 - before validation
    try:
        amount = Decimal(str(value)) * MICROS
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount != amount.to_integral_value() or not 0 <= amount <= MOST_MICROS:
        message = f"'{str(value)[:40]}' is no amount of money from 0 to 1,000,000,000 with at most six decimals, such as 2.50"
        raise ValueError(message)
    return int(amount)


def _time(value: Any) -> datetime:  # noqa: ANN401 - before validation
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        message = f"'{str(value)[:40]}' is no time with a zone, such as 2026-12-20T18:00:00Z"
        raise ValueError(message)
    return at.astimezone(UTC)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        message = f"'{value[:60]}' is no time zone, such as Europe/Berlin"
        raise ValueError(message) from None
    return value


_Runs = Annotated[int, Field(ge=0, le=1_000_000_000)]
_Tokens = Annotated[
    int,
    BeforeValidator(_tokens),
    Field(ge=0, le=MOST_TOKENS, json_schema_extra={"type": ["integer", "string"], "pattern": "^[0-9]{1,15}[kM]?$"}),
]
Money = Annotated[
    int, BeforeValidator(_micros), Field(json_schema_extra={"type": ["number", "string"], "pattern": "^[0-9]+([.][0-9]{1,6})?$"})
]
_Time = Annotated[datetime, BeforeValidator(_time)]
_Login = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}(\[bot\])?$")]
_Team = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
RepositoryPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*?_.-]{1,100}/[A-Za-z0-9*?_.-]{1,100}$")]
_Weekday = Annotated[str, Field(pattern=_WEEKLY.pattern.join("^$"))]


class LoopsModel(Strict):
    """Where chains and repetitions of runs are cut."""

    depth: Annotated[int, Field(ge=0, le=100, description="How many runs may have caused each other before one more.")] = DEPTH
    runs_per_head: Annotated[int, Field(ge=1, le=10_000, description="How often one agent may run on one commit, whatever came of it.")] = (
        RUNS_PER_HEAD
    )

    def read(self) -> Caps:
        """As the core takes it."""
        return Caps(self.depth, self.runs_per_head)


class SpendModel(Strict):
    """What one run may need at most: so much is reserved before it starts."""

    tokens: Annotated[_Tokens | None, Field(description="Tokens, such as 200k.")] = None
    cost: Annotated[Money | None, Field(description="Money, such as 1.50.")] = None

    def read(self) -> Limit:
        """As the core takes it."""
        return Limit(None, self.tokens, self.cost)


class LimitModel(SpendModel):
    """At most so much."""

    runs: Annotated[_Runs | None, Field(description="Runs.")] = None

    def read(self) -> Limit:
        """As the core takes it."""
        return Limit(self.runs, self.tokens, self.cost)


class BudgetsModel(Strict):
    """What runs may use. Reserved before a run starts and settled when it ends."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="Of every cost.")] = "USD"
    run: Annotated[SpendModel, Field(description="What one run may need at most, where its agent's `budget` says nothing.")] = SpendModel()
    pull_request: Annotated[LimitModel | None, Field(description="For each pull request or issue, for ever.")] = None
    repository: Annotated[LimitModel | None, Field(description="For each repository and UTC day.")] = None
    organisation: Annotated[LimitModel | None, Field(description="For each owner of repositories and UTC day.")] = None
    day: Annotated[LimitModel | None, Field(description="For the whole hub and UTC day.")] = None

    @model_validator(mode="after")
    def _reservable(self) -> BudgetsModel:
        for measure in ("tokens", "cost"):
            for scope in ("pull_request", "repository", "organisation", "day"):
                limit = getattr(self, scope)
                if limit is not None and getattr(limit, measure) is not None and getattr(self.run, measure) is None:
                    message = f"{scope} limits {measure}, so 'run: {{{measure}: ...}}' must say what is reserved for a run"
                    raise ValueError(message)
        return self

    def read(self, agents: dict[str, Limit]) -> Budgets:
        """As the core takes it."""
        scopes = {
            name: limit.read() if (limit := getattr(self, name)) is not None else None
            for name in ("pull_request", "repository", "organisation", "day")
        }
        return Budgets(self.currency, self.run.read(), agents, **scopes)


class InfraHealthModel(Strict):
    """Hold while CI itself is ill."""

    window: Annotated[Duration, Field(ge=60, le=86_400, description="Over how long failures are counted.")] = 900.0
    failures: Annotated[int, Field(ge=1, le=10_000, description="Infrastructure failures at least.")] = 3
    share: Annotated[float, Field(ge=0, le=1, description="Their share of all CI runs that ended, at least.")] = 0.3
    classes: Annotated[list[str], Field(min_length=1, description="Which failures count.", json_schema_extra={
        "items": {"type": "string", "enum": list(CLASSES)}})] = list(CLASSES)  # fmt: skip
    status: Annotated[
        str | None,
        Field(pattern=r"^https?://[^\s]+$", description="A Statuspage summary that is asked too: its major and critical incidents hold."),
    ] = None

    @model_validator(mode="after")
    def _known(self) -> InfraHealthModel:
        unknown = sorted(set(self.classes) - set(CLASSES))
        if unknown:
            message = f"'{unknown[0][:40]}' is no class of failure; known: {', '.join(CLASSES)}"
            raise ValueError(message)
        return self

    def read(self) -> Health:
        """As the core takes it."""
        return Health(self.window, self.failures, self.share, frozenset(self.classes))


class FreezeModel(Strict):
    """Start nothing for a time: once with times, or weekly with weekdays."""

    begin: Annotated[_Time | _Weekday, Field(description="Such as 2026-12-20T18:00:00Z, or fri 18:00.")]
    end: Annotated[_Time | _Weekday, Field(description="Such as 2027-01-04T06:00:00Z, or mon 06:00.")]
    timezone: Annotated[str, AfterValidator(_zone), Field(description="Of weekdays.")] = "UTC"

    @model_validator(mode="after")
    def _ordered(self) -> FreezeModel:
        if isinstance(self.begin, str) != isinstance(self.end, str):
            message = "begin and end must both be times, or both weekdays"
            raise ValueError(message)
        if not isinstance(self.begin, str) and not isinstance(self.end, str) and self.end <= self.begin:
            message = "it ends before it begins"
            raise ValueError(message)
        if self.begin == self.end:
            message = "it ends when it begins"
            raise ValueError(message)
        return self

    def read(self) -> Freeze:
        """As the core takes it."""
        if isinstance(self.begin, datetime) and isinstance(self.end, datetime):
            return Span(self.begin, self.end)
        first, last = _WEEKLY.fullmatch(str(self.begin)), _WEEKLY.fullmatch(str(self.end))
        if first is None or last is None:
            raise AssertionError
        return Weekly(DAYS.index(first[1]), int(first[2]), int(first[3]), DAYS.index(last[1]), int(last[2]), int(last[3]), self.timezone)


class GuardModel(Strict):
    """A guard of the hub itself: it keeps runs from starting while something holds, and lets them go by itself."""

    name: Annotated[_Name, Field(description="Its name, in reasons and overrides.")]
    infra_health: Annotated[InfraHealthModel | None, Field(description="Hold while CI fails for reasons of its own.")] = None
    freeze: Annotated[FreezeModel | None, Field(description="Hold for a time.")] = None
    repositories: Annotated[list[RepositoryPattern], Field(description="Patterns such as octo/*. Default: all.")] = []
    agents: Annotated[list[AgentName], Field(description="Whom it holds. Default: all.")] = []
    note: Annotated[str, Field(max_length=300, description="Said with every hold.")] = ""

    @model_validator(mode="after")
    def _one(self) -> GuardModel:
        if (self.infra_health is None) == (self.freeze is None):
            message = "a guard has either infra_health or freeze"
            raise ValueError(message)
        return self

    def reach(self) -> Reach:
        """Whom it concerns."""
        return Reach(tuple(self.repositories), tuple(self.agents))


class ApprovalModel(Strict):
    """Which proposals need people, and whom."""

    name: Annotated[_Name | None, Field(description="Default: approvals-<number>.")] = None
    kinds: Annotated[list[Kind], Field(description="Kinds of proposals. Default: those that need a human anyway.")] = []
    agents: Annotated[list[AgentName], Field(description="Agents. Default: all.")] = []
    required: Annotated[int, Field(ge=1, le=20, description="How many people must say yes.")] = 1
    teams: Annotated[list[_Team], Field(description="Only members of one of these, such as octo/platform.")] = []
    users: Annotated[list[_Login], Field(description="Only these, beside the teams' members.")] = []
    expires: Annotated[Duration, Field(ge=60, le=31_536_000, description="How long there is to answer.")] = EXPIRES_S

    def read(self, number: int) -> ApprovalRule:
        """As the core takes it."""
        return ApprovalRule(
            self.name or f"approvals-{number}", frozenset(self.kinds), frozenset(self.agents), self.required, frozenset(self.teams),
            frozenset(self.users), self.expires,
        )  # fmt: skip
