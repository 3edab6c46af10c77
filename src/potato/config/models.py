"""The shape of `orchestrator.yml` and of an agent's front matter; the JSON Schema is made from it.

Values arrive as text (YAML's own typing is not used), so numbers and booleans are read from text here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, LiteralString, cast

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from potato.config.control import ApprovalModel, BudgetsModel, GuardModel, LoopsModel, Money, RepositoryPattern, SpendModel
from potato.config.shape import AgentName, Duration, Folder, HostName, PathGlob, Size, Strict
from potato.core.permission import PERMISSIONS, Kind, Role
from potato.core.text import did_you_mean
from potato.ports import Bounds
from potato.ports.session import Price, Provider

RUNNERS = ("builtin", "command", "python", "http", "acp", "codex", "claude")
RunnerName = Literal["builtin", "command", "python", "http", "acp", "codex", "claude"]
PriorityName = Literal["critical", "high", "normal", "low"]

_RESERVED = re.compile(
    r"GITHUB_.*|GH_TOKEN|ACTIONS_.*|RUNNER_.*|POTATO_.*|LD_.*|DYLD_.*|PYTHON.*|NODE_OPTIONS|BASH_ENV|ENV|IFS|PATH|HOME|TMPDIR|LANG|SHELL"
)


def is_reserved(name: str) -> bool:
    """Names that are the hub's own or change how programs run: never an agent's secret."""
    return _RESERVED.fullmatch(name) is not None


def _not_reserved(name: str) -> str:
    if is_reserved(name):
        message = f"'{name}' cannot be an agent's: it is the hub's own or changes how programs run"
        raise ValueError(message)
    return name


def _argument(text: str) -> str:
    if "\0" in text or len(text.encode()) > 100_000:  # noqa: PLR2004 - Linux takes 128 kB an argument
        message = "an argument holds a NUL or is longer than 100,000 bytes"
        raise ValueError(message)
    return text


_Argument = Annotated[str, AfterValidator(_argument)]
_SecretName = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,127}$"), AfterValidator(_not_reserved)]


def _refused(code: str, message: str) -> PydanticCustomError:
    """An error whose type is our own code."""
    return PydanticCustomError(cast("LiteralString", code), "{message}", {"message": message})


def _version(value: Any) -> Any:  # noqa: ANN401 - before validation
    if value not in (1, "1"):
        message = f"'{str(value)[:40]}' is no version of this format; write version: 1"
        raise ValueError(message)
    return value


def _one_of(known: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            message = f"'{value}' is no permission. {did_you_mean(value, known) or 'Known: ' + ', '.join(known) + '.'}"
            raise _refused("unknown-permission", message)
        return value

    return AfterValidator(check)


_SORTED = tuple(sorted(PERMISSIONS))
_Permission = Annotated[str, _one_of(_SORTED), Field(json_schema_extra={"enum": list(_SORTED)})]
_Limits = dict[Kind, Annotated[int, Field(ge=0, le=1000)]]


class AnyOf(Strict):
    """Equals: one of them runs."""

    any_of: Annotated[list[AgentName], Field(min_length=1, description="Agents of which one runs.")]


_RunItem = Annotated[
    Annotated[AgentName, Tag("name")] | Annotated[AnyOf, Tag("any_of")],
    Discriminator(lambda item: "any_of" if isinstance(item, (dict, AnyOf)) else "name"),
]


class RuleModel(Strict):
    """One routing rule."""

    if_: Annotated[str, Field(alias="if", description="When the rule matches; see the rule language.")]
    run: Annotated[list[_RunItem], Field(min_length=1, description="Agents to run; guards among them run first.")]
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$", description="Default: r<line>.")] = None
    priority: Annotated[PriorityName, Field(description="Higher priorities run first.")] = "normal"
    stop: Annotated[bool, Field(description="If it matches, later rules are not considered.")] = False
    delay: Annotated[Duration | None, Field(gt=0, le=604_800, description="How long its runs wait before they start, such as 5m.")] = None


class Execution(Strict):
    """How an agent is run: in the config or in the agent file's front matter; the config wins."""

    role: Annotated[Role | None, Field(description="Caps the permissions. Default: orchestrator.")] = None
    runner: Annotated[RunnerName | None, Field(description="How the agent is executed.")] = None
    command: Annotated[list[_Argument] | None, Field(min_length=1, description="argv for the runner `command`; no shell.")] = None
    function: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$|^[A-Za-z_][\w-]*$",
              description="For the runner `python`: an entry point of the group `potato.agents`, or module:function."),
    ] = None  # fmt: skip
    model: Annotated[str | None, Field(description="The model, for runners that take one.")] = None
    timeout: Annotated[Duration | None, Field(gt=0, le=86_400, description="Such as 30s, 10m or 2h. Default: 10m.")] = None
    limits: Annotated[
        _Limits | None, Field(description="How much of each kind one run may propose; over it, the whole batch is refused.")
    ] = None
    models: Annotated[list[str] | None, Field(description="More models that it may ask, beside `model`.")] = None
    tools: Annotated[list[str] | None, Field(description="Tools of the agent's own, for the runner `claude`, such as Read.")] = None
    sandbox: Annotated[Literal["auto", "none"] | None, Field(description="How process agents are caged.")] = None
    files: Annotated[list[str] | None, Field(description="More files of the config's folder the agent may see.")] = None


class FrontMatter(Execution):
    """The head of an agent file. Permissions and secrets are granted in the config only."""

    name: str | None = None
    description: str | None = None


class RateModel(Strict):
    """So many starts in so much time."""

    runs: Annotated[int, Field(ge=1, le=100_000, description="Starts.")]
    per: Annotated[Duration, Field(gt=0, le=604_800, description="Within this time, such as 1h.")]


class AgentModel(Execution):
    """One agent. Permissions are those listed here and no others."""

    ref: Annotated[str | None, Field(description="The agent's markdown file, or builtin:NAME.")] = None
    secrets: Annotated[list[_SecretName], Field(description="The only secrets its environment gets.")] = []
    permissions: Annotated[list[_Permission] | None, Field(description="What it may propose and read.")] = None
    concurrency: Annotated[int | None, Field(ge=1, le=1000, description="Runs of it at once. Default: as many as there are slots.")] = None
    rate: Annotated[RateModel | None, Field(description="How often it may start.")] = None
    cooldown: Annotated[Duration | None, Field(gt=0, le=604_800, description="Least time between two starts on one subject.")] = None
    budget: Annotated[SpendModel | None, Field(description="What one run of it may need at most.")] = None
    paths: Annotated[list[PathGlob] | None, Field(min_length=1, description="All that its patches may touch, such as tests/**.")] = None
    egress: Annotated[list[HostName], Field(description="Hosts it may reach at port 443, such as pypi.org or *.example.com.")] = []
    url: Annotated[str | None, Field(pattern=r"^https?://[^\s]+$", description="For the runner `http`: where it is.")] = None
    signing_secret: Annotated[_SecretName | None, Field(description="For the runner `http`: the variable whose value signs requests.")] = (
        None
    )
    environment: Annotated[
        dict[_SecretName, _Argument], Field(description="Variables for its process, for all to read; secrets have a list of their own.")
    ] = {}
    internal: Annotated[bool, Field(description="For the runner `http`: its address may be one of a private network.")] = False
    description: Annotated[str | None, Field(description="For people.")] = None


class Policies(Strict):
    """Organisational rules on content and environment."""

    node_version: Annotated[str | None, Field(description="Such as 20.x.")] = None
    python_version: Annotated[str | None, Field(description="Such as 3.11.")] = None
    forbid: Annotated[list[str], Field(description="Identifiers of forbidden content.")] = []
    require: Annotated[list[str], Field(description="Identifiers of required properties, or tool>=version.")] = []


class Defaults(Strict):
    """What agents get that say nothing themselves."""

    runner: RunnerName | None = None
    timeout: Annotated[Duration | None, Field(gt=0, le=86_400)] = None
    sandbox: Literal["auto", "none"] | None = None


class ForgeModel(Strict):
    """Where effects go: `local` stages them."""

    kind: Literal["github", "local"] | None = None


class Concurrency(Strict):
    """How many runs go on at once, whatever the number of slots."""

    everywhere: Annotated[int | None, Field(ge=1, le=100_000, description="In all.")] = None
    organisation: Annotated[int | None, Field(ge=1, le=100_000, description="For each owner of repositories.")] = None
    repository: Annotated[int | None, Field(ge=1, le=100_000, description="For each repository.")] = None


_Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_.-]{1,100}$")]


def _cron(value: str) -> str:
    from croniter import croniter

    if len(value.split()) != 5 or not croniter.is_valid(value):  # noqa: PLR2004 - minute, hour, day, month, weekday
        message = f"'{value[:60]}' is no cron expression of five fields, such as 0 */6 * * *"
        raise ValueError(message)
    return value


class ScheduleModel(Strict):
    """A `schedule` event that the hub makes itself."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$", description="Its name.")]
    cron: Annotated[str, AfterValidator(_cron), Field(description="Five fields, in UTC.")]
    repository: Annotated[_Repository, Field(description="What the event is about.")]


class BackfillModel(Strict):
    """Looking for what GitHub could not deliver."""

    every: Annotated[Duration, Field(ge=1, le=86_400, description="How often.")] = 300.0
    repositories: Annotated[list[_Repository], Field(description="Whose hooks and open pull requests are looked at.")] = []
    app: Annotated[bool, Field(description="Whether the App's own deliveries are looked at.")] = True


class ConfigurationModel(Strict):
    """Where the hub finds more configuration: each file may add to the ones above it, and of what they say only tighten."""

    organisation: Annotated[_Repository | None, Field(description="A repository whose config stands above those of all others.")] = None
    repositories: Annotated[list[RepositoryPattern], Field(description="Whose own config is read, such as octo/*. Default: none.")] = []
    every: Annotated[Duration, Field(ge=1, le=604_800, description="How often they are looked at, beside at every push.")] = 3600.0


_PROVIDER = r"^[a-z][a-z0-9-]{0,39}$"


class PriceModel(Strict):
    """What a million tokens cost, in the currency of the budgets."""

    input: Annotated[Money, Field(description="Of a question.")]
    output: Annotated[Money, Field(description="Of an answer.")]
    cached: Annotated[Money | None, Field(description="Of a question's part that the provider had kept. Default: as `input`.")] = None
    cache_write: Annotated[Money | None, Field(description="Of one that it keeps for minutes. Default: 1.25 times `input`.")] = None
    cache_write_1h: Annotated[Money | None, Field(description="Of one that it keeps for an hour. Default: twice `input`.")] = None

    def read(self, api: str) -> Price:
        """As runners take it. Only one kind of provider tells what it keeps, and takes more for it."""
        told = api == "anthropic"
        write = self.input * (5 if told else 4) // 4 if self.cache_write is None else self.cache_write
        write_1h = self.input * (2 if told else 1) if self.cache_write_1h is None else self.cache_write_1h
        return Price(self.input, self.input if self.cached is None else self.cached, self.output, write, write_1h)


class ProviderModel(Strict):
    """Who answers for models. The hub asks for the agents; they never see the key."""

    api: Annotated[Literal["openai", "anthropic"], Field(description="Which of the two ways to ask it speaks.")]
    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", description="Its address, without the version.")]
    key: Annotated[_SecretName, Field(description="The variable of the hub that holds its key; agents that list it may ask.")]
    prices: Annotated[dict[str, PriceModel], Field(description="Models and their prices; all that agents without `model` may ask.")] = {}

    def read(self, name: str) -> Provider:
        """As runners take it."""
        return Provider(name, self.api, self.url, self.key, {model: price.read(self.api) for model, price in self.prices.items()})


DEFAULT_PROVIDERS = {
    "openai": ProviderModel(api="openai", url="https://api.openai.com", key="CODEX_API_KEY"),
    "anthropic": ProviderModel(api="anthropic", url="https://api.anthropic.com", key="ANTHROPIC_API_KEY"),
}
"""Those of the names `openai` and `anthropic`, where the config does not say otherwise."""


class CageModel(Strict):
    """What a caged agent may use at most, and what it sees of the machine."""

    memory: Annotated[Size, Field(ge=16 << 20, description="Such as 4GB, with what it writes.")] = 4 << 30
    disk: Annotated[Size, Field(ge=1 << 20, description="Workspace, home and temporary files together; they lie in memory.")] = 2 << 30
    processes: Annotated[int, Field(ge=8, le=100_000, description="At once, threads included.")] = 512
    cpus: Annotated[float, Field(gt=0, le=1024, description="Processors.")] = 2.0
    cpu_time: Annotated[Duration, Field(gt=0, le=864_000, description="Of all processors together.")] = 3600.0
    read: Annotated[list[Folder], Field(description="More folders of the machine that it sees, read-only, such as /opt/node.")] = []

    def read_bounds(self) -> Bounds:
        """As runners take it."""
        return Bounds(self.memory, self.disk, self.processes, self.cpus, self.cpu_time, tuple(self.read))


class HubModel(Strict):
    """What the hub does with its events; for `potato serve`."""

    url: Annotated[str | None, Field(pattern=r"^https?://[^\s]+$", description="Where people reach it; linked from check runs.")] = None
    concurrency: Annotated[Concurrency, Field(description="Limits over agents.")] = Concurrency()
    keep: Annotated[Duration, Field(ge=3600, le=315_360_000, description="How long deliveries, decisions and runs are kept.")] = 7_776_000.0
    schedules: Annotated[list[ScheduleModel], Field(description="Events at times.")] = []
    backfill: Annotated[BackfillModel, Field(description="Missed deliveries.")] = BackfillModel()
    configuration: Annotated[ConfigurationModel, Field(description="Configuration in repositories.")] = ConfigurationModel()
    secrets: Annotated[list[str], Field(description="Plugins that are asked for secrets: entry points of the group `potato.secrets`.")] = []


class RepositoriesModel(Strict):
    """What the configs of repositories may add."""

    permissions: Annotated[
        list[_Permission] | None,
        Field(description="What agents that they define may hold. Default: all but those that change code or make it run."),
    ] = None
    secrets: Annotated[list[_SecretName], Field(description="Which of the hub's secrets their agents may get.")] = []
    runners: Annotated[list[RunnerName], Field(description="What may run their agents.")] = ["builtin"]
    agents: Annotated[list[AgentName], Field(description="Agents of ours that their rules may run.")] = []
    priority: Annotated[PriorityName, Field(description="The highest that their rules may have.")] = "normal"


class Document(Strict):
    """A whole `orchestrator.yml`."""

    version: Annotated[int, BeforeValidator(_version), Field(description="The version of this format.", json_schema_extra={"const": 1})] = 1
    routing: Annotated[list[RuleModel], Field(description="Rules in order; all that match fire.")] = []
    agents: Annotated[dict[AgentName, AgentModel], Field(description="Agents by name.")] = {}
    policies: Policies = Policies()
    defaults: Defaults = Defaults()
    forge: ForgeModel = ForgeModel()
    hub: HubModel = HubModel()
    loops: Annotated[LoopsModel, Field(description="Where chains of runs are cut.")] = LoopsModel()
    budgets: Annotated[BudgetsModel, Field(description="What runs may use.")] = BudgetsModel()
    guards: Annotated[list[GuardModel], Field(description="What keeps runs from starting for a time.")] = []
    repositories: Annotated[RepositoriesModel, Field(description="What the configs of repositories may add.")] = RepositoriesModel()
    providers: Annotated[
        dict[Annotated[str, Field(pattern=_PROVIDER)], ProviderModel], Field(description="Who answers for models, by name.")
    ] = {}
    cage: Annotated[CageModel, Field(description="What caged agents may use.")] = CageModel()
    approvals: Annotated[list[ApprovalModel], Field(description="Which proposals need people, and whom; every one that fits holds.")] = []
