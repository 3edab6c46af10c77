"""A config below another: it adds rules and agents of its own, and of what stands above it may only tighten.

Nothing here asks who is right: whatever would let more happen than the config above allows is a problem at its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from potato.config.config import Config, Layer
from potato.config.control import BudgetsModel, LimitModel, SpendModel
from potato.config.models import AgentModel, Document, Policies, RuleModel
from potato.config.yaml_tree import Path, Tree
from potato.core.foreign import as_object
from potato.core.permission import CODE_WRITING, PERMISSIONS
from potato.core.routing import Priority, Rule
from potato.ports import AgentSpec

_NARROWING: Final = frozenset({"permissions", "limits", "budget", "description"})
_MEASURES: Final = ("runs", "tokens", "cost")
_SCOPES: Final = ("run", "pull_request", "repository", "organisation", "day")
_HUB_ONLY: Final = ("hub", "forge", "providers", "cage")
_WIDE_SCOPES: Final = ("organisation", "day")
_LOOSENS: Final = "loosens-policy"
_NOT_HERE: Final = "not-here"


def check_layer(tree: Tree, document: Document, specs: Mapping[str, AgentSpec], above: Config, layer: Layer) -> None:
    """What would loosen the config above, or does not belong here, becomes a problem in the tree. `specs` are the agents of this one."""
    _Check(tree, document, above, layer).all(specs)


class _Check:
    def __init__(self, tree: Tree, document: Document, above: Config, layer: Layer) -> None:
        self.tree = tree
        self.document = document
        self.above = above
        self.layer = layer
        self.offer = above.document.repositories
        self.in_repository = layer.kind == "repository"

    def all(self, specs: Mapping[str, AgentSpec]) -> None:
        self._sections()
        for name, model in self.document.agents.items():
            if name in self.above.agents:
                self._narrowed(name, model)
        if self.in_repository:
            self._rules()
            for spec in specs.values():
                self._own(spec)
        self._loops()
        self._budgets(self.document.budgets, self.above.document.budgets)
        self._policies()
        self._names()
        self._offered()

    def _refuse(self, path: Path, message: str, hint: str = "", *, code: str = _LOOSENS, key: bool = False) -> None:
        self.tree.problem(self.tree.at(path, key=key), code, message, hint)

    def _sections(self) -> None:
        for section in (*_HUB_ONLY, *(("repositories",) if self.in_repository else ())):
            if (section,) in self.tree.keys:
                owner = "the organisation's config" if section == "repositories" else "the config that the hub is started with"
                self._refuse((section,), f"'{section}' belongs to {owner}.", "Remove it.", code=_NOT_HERE, key=True)
        if self.in_repository:
            for scope in _WIDE_SCOPES:
                if ("budgets", scope) in self.tree.keys:
                    self._refuse(
                        ("budgets", scope), f"a repository has no budget for '{scope}'.", "Use 'repository'.", code=_NOT_HERE, key=True
                    )

    # agents

    def _narrowed(self, name: str, model: AgentModel) -> None:
        """An agent of the config above: fewer permissions, lower limits, a smaller budget."""
        spec, path = self.above.agents[name], ("agents", name)
        if self.in_repository and spec.role == "guard":
            self._refuse(
                path, f"'{name}' is a guard of the organisation, which a repository cannot change.", "Choose another name.", key=True
            )
            return
        for key in as_object(as_object(as_object(self.tree.data).get("agents")).get(name)):
            if key not in _NARROWING:
                self._refuse((*path, str(key)), f"'{name}' is defined above; here only its permissions, limits and budget can be narrowed.",
                             f"Remove '{key}', or choose another name.", key=True)  # fmt: skip
        for index, permission in enumerate(model.permissions or ()):
            if permission not in spec.permissions:
                self._refuse((*path, "permissions", index), f"'{name}' does not hold '{permission}' above, so it cannot hold it here.")
        for kind, count in (model.limits or {}).items():
            if count > spec.grant().cap(kind):
                self._refuse((*path, "limits", kind), f"'{name}' may propose {spec.grant().cap(kind)} x {kind} above, here {count}.",
                             "Write a lower number.")  # fmt: skip
        if model.budget is not None:
            agents, run = self.above.document.agents, self.above.document.budgets.run
            mine = agents[name].budget if name in agents else None
            for measure in ("tokens", "cost"):
                most = next((m for m in (getattr(mine, measure, None), getattr(run, measure)) if m is not None), None)
                self._at_most((*path, "budget", measure), getattr(model.budget, measure), most)

    def _own(self, spec: AgentSpec) -> None:
        """An agent that a repository defines, or a built-in one that only its rules name."""
        name = spec.name
        path: Path = ("agents", name) if name in self.document.agents else self._named_by(name)
        allowed = frozenset(self.offer.permissions) if self.offer.permissions is not None else PERMISSIONS - CODE_WRITING
        for permission in sorted(spec.permissions - allowed):
            model = self.document.agents.get(name)
            listed = list(model.permissions or ()) if model else []
            at = (*path, "permissions", listed.index(permission)) if permission in listed else path
            self._refuse(at, f"'{name}' has '{permission}', which agents of repositories cannot hold.",
                         f"The organisation can allow it: repositories: {{permissions: [{permission}, ...]}}.")  # fmt: skip
        for secret in sorted(set(spec.secrets) - set(self.offer.secrets)):
            self._refuse((*path, "secrets", spec.secrets.index(secret)), f"'{name}' asks for the secret {secret}, which is the hub's.",
                         f"The organisation can share it: repositories: {{secrets: [{secret}]}}.")  # fmt: skip
        if spec.runner is not None and spec.runner not in self.offer.runners:
            self._refuse(path, f"'{name}' is run by '{spec.runner}', which repositories cannot use.",
                         f"The organisation can allow it: repositories: {{runners: [{spec.runner}, ...]}}.", key=True)  # fmt: skip
        if spec.sandbox == "none":
            self._refuse(path, f"'{name}' asks for no sandbox, which is not a repository's to decide.", "Remove it.", key=True)
        if spec.runner in ("codex", "claude") and spec.command:
            self._refuse(
                (*path, "command"), f"'{name}' names a program of the hub's machine, which is not a repository's to choose.", "Remove it."
            )
        for host in spec.egress:
            self._refuse((*path, "egress", spec.egress.index(host)), f"'{name}' wants to reach {host}, which it may not decide.",
                         "Remove it; or the organisation defines this agent.")  # fmt: skip
        if spec.signing_secret is not None and spec.signing_secret not in self.offer.secrets:
            self._refuse((*path, "signing_secret"), f"'{name}' asks for the secret {spec.signing_secret}, which is the hub's.",
                         f"The organisation can share it: repositories: {{secrets: [{spec.signing_secret}]}}.")  # fmt: skip
        if spec.internal:
            self._refuse((*path, "internal"), f"'{name}' wants an address of the hub's own network, which is not a repository's to decide.",
                         "Remove it.")  # fmt: skip
        for key, given in (("concurrency", spec.concurrency), ("rate", spec.rate)):
            if given is not None:
                self._refuse(
                    (*path, key), f"how much '{name}' runs at once is the hub's to decide.", "Remove it.", code=_NOT_HERE, key=True
                )

    def _named_by(self, agent: str) -> Path:
        for index, rule in enumerate(self.document.routing):
            for number, item in enumerate(rule.run):
                if agent in _names(item):
                    return ("routing", index, "run", number)
        return ("agents", agent)

    # rules

    def _rules(self) -> None:
        ours = frozenset(self.offer.agents) | (self.above.agents.keys() - self.above.document.agents.keys())
        for index, rule in enumerate(self.document.routing):
            for number, item in enumerate(rule.run):
                for name in _names(item):
                    if name in self.above.agents and name not in ours:
                        self._refuse(("routing", index, "run", number), f"'{name}' is the organisation's; its own rules say when it runs.",
                                     f"The organisation can offer it: repositories: {{agents: [{name}]}}.")  # fmt: skip
            if Priority[rule.priority.upper()] < Priority[self.offer.priority.upper()]:
                self._refuse(("routing", index, "priority"), f"rules of repositories have at most the priority '{self.offer.priority}'.")

    # numbers and names

    def _loops(self) -> None:
        for key in ("depth", "runs_per_head"):
            if ("loops", key) in self.tree.keys:
                self._at_most(("loops", key), getattr(self.document.loops, key), getattr(self.above.document.loops, key))

    def _budgets(self, own: BudgetsModel, above: BudgetsModel) -> None:
        for scope in _SCOPES:
            mine, theirs = getattr(own, scope), getattr(above, scope)
            for measure in _MEASURES:
                self._at_most(("budgets", scope, measure), getattr(mine, measure, None), getattr(theirs, measure, None))
        if ("budgets", "currency") in self.tree.keys and own.currency != above.currency:
            self._refuse(("budgets", "currency"), f"costs are in {above.currency} above.", f"Write {above.currency}.")

    def _at_most(self, path: Path, own: int | None, above: int | None) -> None:
        if own is not None and above is not None and own > above:
            shown = ".".join(str(part) for part in path)
            self._refuse(path, f"{shown} is more than the config above allows.", "It can only be lowered here.")

    def _policies(self) -> None:
        for key in ("node_version", "python_version"):
            own, above = getattr(self.document.policies, key), getattr(self.above.document.policies, key)
            if own is not None and above is not None and not _within(own, above):
                self._refuse(("policies", key), f"{key} is {above} above, and '{own}' is not within it.")

    def _names(self) -> None:
        """Rules, guards and approvals are told apart by their names in reasons, overrides and decisions."""
        for section, taken in (
            ("routing", {rule.name for rule in self.above.table.rules}),
            ("guards", {model.name for model in self.above.document.guards}),
            ("approvals", {rule.name for rule in self.above.controls.approvals}),
        ):
            for index, model in enumerate(getattr(self.document, section)):
                if model.name is not None and model.name in taken:
                    self._refuse((section, index, "name"), f"another one of {section} above is '{model.name}'.", code="duplicate-name")
        if self.in_repository:
            for section in ("guards", "approvals"):
                for index, model in enumerate(getattr(self.document, section)):
                    self._not_their_guards(section, index, model.agents)
            for index, model in enumerate(self.document.guards):
                if model.infra_health is not None and model.infra_health.status is not None:
                    self._refuse(
                        ("guards", index, "infra_health", "status"), "a repository cannot have the hub ask a status page.", code=_NOT_HERE
                    )

    def _not_their_guards(self, section: str, index: int, agents: Sequence[str]) -> None:
        for number, name in enumerate(agents):
            if name in self.above.agents and self.above.agents[name].role == "guard":
                self._refuse(
                    (section, index, "agents", number), f"'{name}' is a guard of the organisation, which a repository cannot hold back."
                )

    def _offered(self) -> None:
        """The organisation's offer to repositories stays within what the hub's own config offers, if that says anything."""
        if self.in_repository or "repositories" not in self.above.document.model_fields_set:
            return
        own, above = self.document.repositories, self.above.document.repositories
        for key in ("permissions", "secrets", "runners", "agents"):
            theirs = getattr(above, key)
            for index, item in enumerate(getattr(own, key) or ()):
                if theirs is not None and item not in theirs and ("repositories", key) in self.tree.keys:
                    self._refuse(("repositories", key, index), f"the hub does not let repositories have '{item}'.")
        if Priority[own.priority.upper()] < Priority[above.priority.upper()] and ("repositories", "priority") in self.tree.keys:
            self._refuse(("repositories", "priority"), f"the hub lets rules of repositories have at most '{above.priority}'.")


def _names(item: Any) -> Iterable[str]:  # noqa: ANN401 - a name, or equals
    return [item] if isinstance(item, str) else item.any_of


def _within(own: str, above: str) -> bool:
    """Whether a version pattern allows no more: `20.11` is within `20.x`."""
    stem = above.removesuffix(".x").removesuffix(".*")
    return own == above or (stem != above and own.startswith(f"{stem}."))


# both together


def merged_document(document: Document, own: Iterable[str], above: Config, layer: Layer) -> Document:
    """What holds: all of both, and of each number the lower one. Guards and approvals of a repository concern it alone.

    `own` are the agents that the document defines or that only its rules name.
    """
    over = above.document
    agents = {**document.agents, **over.agents}
    for name, model in over.agents.items():
        narrowed = document.agents.get(name)
        if narrowed is not None and narrowed.budget is not None:
            agents[name] = model.model_copy(update={"budget": _less(narrowed.budget, model.budget)})
    subject = sorted({*own, *(name for name, spec in above.agents.items() if spec.role != "guard")})
    guards = list(document.guards)
    approvals = [m.model_copy(update={"name": m.name or f"{layer.kind}-approvals-{n}"}) for n, m in enumerate(document.approvals, 1)]
    if layer.kind == "repository" and not subject:
        guards, approvals = [], []  # there is nobody but the organisation's guards
    elif layer.kind == "repository":
        here = {"repositories": [layer.repository]}
        guards = [m.model_copy(update={**here, "name": f"{layer.repository}/{m.name}", "agents": m.agents or subject}) for m in guards]
        approvals = [m.model_copy(update={"agents": m.agents or subject}) for m in approvals]
    offer = over.repositories if layer.kind == "repository" or "repositories" not in document.model_fields_set else _offer(document, over)
    return over.model_copy(
        update={
            "routing": [*over.routing, *document.routing],
            "agents": agents,
            "policies": _policies_of_both(document.policies, over.policies),
            "loops": document.loops.model_copy(
                update={key: min(getattr(document.loops, key), getattr(over.loops, key)) for key in ("depth", "runs_per_head")}
            ),
            "budgets": over.budgets.model_copy(
                update={scope: _less(getattr(document.budgets, scope), getattr(over.budgets, scope)) for scope in _SCOPES}
            ),
            "guards": [*over.guards, *guards],
            "approvals": [*over.approvals, *approvals],
            "repositories": offer,
        }
    )


def _offer(document: Document, over: Document) -> Any:  # noqa: ANN401 - RepositoriesModel
    """What the organisation says goes; what it leaves out is as the hub has it."""
    said = {key: getattr(document.repositories, key) for key in document.repositories.model_fields_set}
    return over.repositories.model_copy(update=said)


def _less(own: SpendModel | None, above: SpendModel | None) -> SpendModel | None:
    """Of each measure the lower one."""
    if own is None or above is None:
        return own or above
    keys = _MEASURES if isinstance(own, LimitModel) else _MEASURES[1:]
    both = {key: [value for model in (own, above) if (value := getattr(model, key)) is not None] for key in keys}
    return own.model_copy(update={key: min(values) if values else None for key, values in both.items()})


def _policies_of_both(own: Policies, above: Policies) -> Policies:
    return Policies(
        node_version=own.node_version or above.node_version, python_version=own.python_version or above.python_version,
        forbid=list(dict.fromkeys((*above.forbid, *own.forbid))), require=list(dict.fromkeys((*above.require, *own.require))),
    )  # fmt: skip


def merged_agents(document: Document, specs: Mapping[str, AgentSpec], above: Config) -> dict[str, AgentSpec]:
    """Those above, as far as they are narrowed here, and those of this config."""
    agents = {**specs, **above.agents}
    for name, spec in above.agents.items():
        model = document.agents.get(name)
        if model is not None:
            permissions = spec.permissions if model.permissions is None else spec.permissions & frozenset(model.permissions)
            caps = {**spec.caps, **{str(kind): count for kind, count in (model.limits or {}).items()}}
            agents[name] = replace(spec, permissions=permissions, caps=caps)
    return agents


def named_rules(rules: Iterable[Rule], models: Iterable[RuleModel], layer: Layer) -> list[Rule]:
    """Rules without a name of their own are told from those above by the layer's."""
    return [rule if model.name else replace(rule, name=f"{layer.kind}-{rule.name}") for rule, model in zip(rules, models, strict=True)]
