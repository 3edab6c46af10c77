"""The workflow over the real store and fakes for forge and runners."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from potato.bootstrap import make_hub, open_store, verify_log
from potato.config.loader import load_config
from potato.core.event import Event
from potato.core.value import UNKNOWN
from potato.errors import AuthError, PotatoError, UsageError
from potato.hub.context import Hub
from potato.hub.workflow import Outcome, handle
from potato.ports import Delivery, Report, Store
from potato.testing import FakeForge, FakeRunner, Watcher, make_event

CONFIG = """
routing:
  - name: work
    if: event == "pull_request"
    run: [guard, worker]
agents:
  guard: {runner: command, command: [x], role: guard, permissions: [block, comment]}
  worker: {runner: command, command: [x], permissions: [apply_labels, comment, route_agents, push_branch, open_pr], secrets: [KEY_ONE]}
  other: {runner: command, command: [x], permissions: [comment]}
  lost: {runner: claude, command: [x], permissions: [comment]}
"""


class Bench:
    """A hub with fakes around it."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        (folder / "c.yml").write_text(config)
        self.url = f"sqlite:///{folder / 'p.db'}"
        self.store: Store
        self.store, self.engine = open_store(self.url)
        self.config = load_config(str(folder / "c.yml")).require()
        self.forge = FakeForge()
        self.watcher = Watcher()
        self.environ = {"KEY_ONE": "the-value-of-key-one"}

    def hub(self, **reports: Report) -> Hub:
        self.runner = FakeRunner({"guard": Report(), "worker": Report(), "other": Report(), **reports})
        hub = make_hub(self.config, self.store, self.forge, self.watcher, self.environ)
        return Hub(hub.config, hub.store, hub.forge, {"command": self.runner}, hub.durable, hub.clock, hub.notifier, hub.environ)

    async def handle(self, event: Event | None = None, delivery_id: str = "d1", body: bytes = b"{}", **reports: Report) -> Outcome:
        return await handle(self.hub(**reports), Delivery(delivery_id, "pull_request", body, "file"), event or make_event())

    def states(self) -> dict[str, str]:
        return {run.agent: run.state for run in self.store.runs()}

    def entries(self) -> list[tuple[str, dict[str, Any]]]:
        with sqlite3.connect(self.url.removeprefix("sqlite:///")) as connection:
            rows = connection.execute("SELECT kind, leaf FROM audit_entry ORDER BY seq").fetchall()
        connection.close()
        return [(kind, json.loads(leaf)["body"]) for kind, leaf in rows]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    bench = Bench(tmp_path)
    yield bench
    bench.engine.dispose()


def label(*names: str) -> dict[str, Any]:
    return {"kind": "apply_labels", "labels": list(names)}


async def test_an_event_goes_the_whole_way_and_every_step_is_logged(bench: Bench) -> None:
    outcome = await bench.handle(worker=Report([label("x"), {"kind": "comment", "body": "hi", "number": 99}]))

    assert bench.states() == {"guard": "succeeded", "worker": "succeeded"}
    assert outcome.runs[1].reason == "1 applied, 1 denied: it aims at #99, the event is about #7"
    assert [agent for agent, _ in bench.forge.applied] == ["worker"]
    assert bench.watcher.seen == [
        ("guard", "queued"), ("worker", "queued"), ("guard", "running"), ("guard", "succeeded"),
        ("worker", "running"), ("worker", "applying"), ("worker", "succeeded"),
    ]  # fmt: skip
    kinds = [kind for kind, _ in bench.entries()]
    assert kinds == [
        "delivery",
        "decision",
        *["run"] * 5,
        "proposal",
        "verdict",
        "proposal",
        "verdict",
        "run",
        "effect-intent",
        "effect",
        "run",
    ]
    assert verify_log(bench.url).ok


async def test_a_guards_block_keeps_its_rule_from_running(bench: Bench) -> None:
    outcome = await bench.handle(guard=Report([{"kind": "block", "reason": "CI is on fire"}]))
    assert bench.states() == {"guard": "succeeded", "worker": "blocked"}
    assert outcome.runs[1].reason == "guard guard: CI is on fire"
    assert [request.agent.name for request in bench.runner.requests] == ["guard"]


@pytest.mark.parametrize(
    "report",
    [
        Report(failure="it crashed"),
        Report([{"kind": "block", "reason": ""}]),
        Report([{"kind": "comment", "body": "x", "number": 1}]),
        Report([{"kind": "Block", "reason": "x"}, {"kind": "comment", "body": "stop"}]),
        Report([{"type": "block"}, {"kind": "comment", "body": "stop"}]),
        Report(["block"]),
    ],
)
async def test_a_guard_without_a_clear_pass_holds(bench: Bench, report: Report) -> None:
    outcome = await bench.handle(guard=report)
    assert bench.states()["worker"] == "held"
    assert outcome.runs[1].reason.startswith("guard guard")


async def test_a_failed_agent_applies_nothing_and_the_rest_goes_on(bench: Bench) -> None:
    def refuse(_action: Any) -> None:
        raise PotatoError("github-forbidden", "the token may not.")

    outcome = await bench.handle(worker=Report([label("x")], failure="it exited with 1"))
    assert (outcome.runs[1].state, outcome.runs[1].reason, bench.forge.applied) == ("failed", "it exited with 1", [])
    bench.forge.refuse = refuse
    outcome = await bench.handle(delivery_id="d2", worker=Report([label("x"), {"kind": "comment", "body": "b"}]))
    assert outcome.runs[1].state == "failed"
    assert outcome.runs[1].reason.startswith("2 effect(s) failed: github-forbidden")


async def test_refused_credentials_end_everything_after_it_is_recorded(bench: Bench) -> None:
    def refuse(_action: Any) -> None:
        raise AuthError("github-unauthorized", "no.")

    bench.forge.refuse = refuse
    with pytest.raises(AuthError):
        await bench.handle(worker=Report([label("x")]))
    assert bench.states()["worker"] == "failed"


async def test_every_proposal_denied_ends_blocked(bench: Bench) -> None:
    await bench.handle(worker=Report([{"kind": "review", "event": "comment", "body": "b"}]))
    assert bench.states()["worker"] == "blocked"


async def test_what_needs_a_human_waits_and_the_rest_is_applied(bench: Bench) -> None:
    push = {"kind": "push_branch", "branch": "potato/x", "message": "m", "files": [{"path": "a", "content": ""}]}
    outcome = await bench.handle(worker=Report([push, label("x")]))
    assert outcome.runs[1].state == "awaiting_approval"
    assert [p.verdict for p in outcome.runs[1].proposals] == ["needs_approval", "allow"]
    assert len(bench.forge.applied) == 1


async def test_routed_agents_join_once(bench: Bench) -> None:
    route = {"kind": "route_agents", "agents": ["other", "guard"]}
    outcome = await bench.handle(worker=Report([route]), other=Report([{"kind": "comment", "body": "routed"}]))
    assert bench.states() == {"guard": "succeeded", "worker": "succeeded", "other": "succeeded"}
    assert outcome.runs[2].rules == ("routed by worker",)
    assert [agent for agent, _ in bench.forge.applied] == ["other"]


async def test_routing_to_an_agent_that_cannot_run_here_fails_visibly(bench: Bench) -> None:
    outcome = await bench.handle(worker=Report([{"kind": "route_agents", "agents": ["lost"]}]))
    assert outcome.runs[1].state == "failed"
    assert "this version cannot run 'claude' agents" in outcome.runs[1].reason


async def test_an_assigned_agent_without_runner_stops_before_anything_ran(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Prompt.")
    bench = Bench(tmp_path, 'routing: [{if: event == "pull_request", run: [mine]}]\nagents: {mine: {ref: a.md}}\n')
    with pytest.raises(UsageError, match=r"c.yml:2:10: agent 'mine' has no runner; available: command"):
        await bench.handle()
    assert bench.states() == {}
    bench.engine.dispose()


async def test_secrets_go_to_their_agent_only_and_never_on_untrusted_events(bench: Bench) -> None:
    await bench.handle()
    assert [dict(request.secrets) for request in bench.runner.requests] == [{}, {"KEY_ONE": "the-value-of-key-one"}]
    outcome = await bench.handle(make_event(trusted=False), delivery_id="d2")
    assert [dict(request.secrets) for request in bench.runner.requests] == [{}, {}]
    assert "untrusted event: it got no secrets" in outcome.runs[1].warnings


async def test_unknown_trust_holds_everything(bench: Bench) -> None:
    outcome = await bench.handle(make_event(trusted=UNKNOWN))
    assert bench.states() == {"guard": "held", "worker": "held"}
    assert outcome.runs[0].reason == "whether the event can be trusted is unknown: no answer"
    assert bench.runner.requests == []


async def test_the_end_of_an_agents_log_is_kept_without_its_secrets(bench: Bench) -> None:
    value = bench.environ["KEY_ONE"]
    await bench.handle(worker=Report(failure="it exited with 1", log="x" * 9000 + "\nTraceback: oops"))
    kept = {run.agent: run.log for run in bench.store.runs()}["worker"]
    assert (len(kept), kept.endswith("Traceback: oops")) == (4000, True)
    await bench.handle(delivery_id="d2", worker=Report(failure="it exited with 1", log=f"key {value}"))
    assert bench.store.runs()[0].log + bench.store.runs()[1].log == "(withheld: it holds the secret KEY_ONE)"


async def test_a_secret_in_a_proposal_or_summary_is_never_repeated(bench: Bench) -> None:
    value = bench.environ["KEY_ONE"]
    outcome = await bench.handle(
        worker=Report([label(value), {"kind": value}, {"kind": "comment", "body": value[::-1]}], summary=f"key: {value}")
    )
    run = outcome.runs[1]
    assert [p.verdict for p in run.proposals] == ["deny"] * 3
    assert {p.reason for p in run.proposals} == {"the whole batch is refused: it holds the secret KEY_ONE"}
    assert value not in json.dumps([run.as_json(), [p.as_json() for p in run.proposals], bench.entries()])
    for path in Path(bench.url.removeprefix("sqlite:///")).parent.glob("p.db*"):
        assert value.encode() not in path.read_bytes()


async def test_the_hubs_own_token_cannot_be_published(bench: Bench) -> None:
    bench.environ["GITHUB_TOKEN"] = "ghs_0123456789abcdefghij"
    outcome = await bench.handle(worker=Report([{"kind": "comment", "body": "GITHUB_TOKEN=ghs_0123456789abcdefghij"}]))
    assert outcome.runs[1].proposals[0].reason == "the whole batch is refused: it holds the secret GITHUB_TOKEN"
    outcome = await bench.handle(delivery_id="d2", worker=Report(failure="it said ghs_0123456789abcdefghij"))
    assert outcome.runs[1].reason == "(withheld: it holds the secret GITHUB_TOKEN)"


async def test_a_bug_in_one_run_does_not_end_the_others(bench: Bench) -> None:
    def explode(_action: Any) -> None:
        raise ZeroDivisionError

    bench.forge.refuse = explode
    outcome = await bench.handle(guard=Report(), worker=Report([label("x")]))
    assert {run.agent: (run.state, run.reason) for run in outcome.runs}["worker"] == ("failed", "internal-error: ZeroDivisionError")
    assert outcome.runs[0].state == "succeeded"


async def test_the_same_delivery_is_handled_once_and_another_body_is_refused(bench: Bench) -> None:
    await bench.handle(worker=Report([label("x")]))
    with pytest.raises(UsageError, match="delivery-repeated"):
        await bench.handle(worker=Report([label("x")]))
    with pytest.raises(PotatoError, match="delivery-conflict"):
        await bench.handle(body=b'{"other": 1}')
    assert len(bench.forge.applied) == 1
    assert len(bench.store.runs()) == 2


async def test_cancellation_leaves_no_run_behind(bench: Bench) -> None:
    class Slow:
        async def run(self, _request: Any) -> Report:
            await asyncio.sleep(60)
            return Report()

    hub = bench.hub()
    hub = Hub(hub.config, hub.store, hub.forge, {"command": Slow()}, hub.durable, hub.clock, hub.notifier, hub.environ)
    task = asyncio.create_task(handle(hub, Delivery("d", "pull_request", b"{}", "file"), make_event()))
    while ("guard", "running") not in bench.watcher.seen:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.states() == {"guard": "cancelled", "worker": "cancelled"}
    assert verify_log(bench.url).ok


async def test_the_intent_is_logged_before_the_effect(bench: Bench) -> None:
    """T08: no effect without a durable intent."""
    seen: list[list[str]] = []
    bench.forge.refuse = lambda _action: seen.append([kind for kind, _ in bench.entries()])
    await bench.handle(worker=Report([label("x")]))
    assert seen[0][-1] == "effect-intent"
    with sqlite3.connect(bench.url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entry WHEN NEW.kind = 'effect-intent' BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    connection.close()
    outcome = await bench.handle(delivery_id="d2", worker=Report([label("y")]))
    assert (outcome.runs[1].state, outcome.runs[1].reason) == ("failed", "database-unusable: the database refused a write: disk full.")
    assert len(bench.forge.applied) == 1
