"""Leases with clocks that the test turns."""

from __future__ import annotations

import pytest

from potato.errors import PotatoError
from potato.hub.takeover import LEASE_S, Lease, Watch
from potato.ports import Entry, Fenced
from potato.ports.hub import Process


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeRoster:
    """In memory; `down` as a database that does not answer."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.buried: list[tuple[str, str]] = []
        self.holding: list[str] = []
        self.down = False

    def join(self, process: Process, entry: Entry) -> None:
        self.processes[process.id] = process

    def all(self) -> list[Process]:
        return list(self.processes.values())

    def orphans(self) -> list[str]:
        return self.holding

    def beat(self, process_id: str) -> bool:
        if self.down:
            raise PotatoError("database-unusable", "no.")
        if process_id not in self.processes:
            return False
        old = self.processes[process_id]
        self.processes[process_id] = Process(old.id, old.kind, old.host, old.version, old.agents, old.slots, old.state, old.beat + 1)
        return True

    def bury(self, process_id: str, beat: int | None, entry: Entry, *, in_order: bool = False) -> list[str] | None:
        if beat is not None and self.processes[process_id].beat != beat:
            return None
        self.processes.pop(process_id, None)
        self.buried.append((process_id, str(entry.body["reason"])))
        return []


def process(name: str) -> Process:
    return Process(name, "worker", "host", "0", None, 1)


async def test_who_stops_beating_is_buried_after_a_lease_and_not_before() -> None:
    roster, clock = FakeRoster(), Clock()
    for name in ("me", "lives", "dies"):
        roster.join(process(name), Entry("x", {}))
    watch = Watch(roster, "me", lambda: None, clock)
    while clock.now < 1000 + LEASE_S + 1.1:
        clock.now += 0.5
        roster.beat("lives")
        await watch.sweep()
        if clock.now <= 1000.5 + LEASE_S:
            assert roster.buried == []
    assert roster.buried == [("dies", "it stopped beating")]


async def test_a_watcher_that_slept_buries_nobody_for_it() -> None:
    roster, clock = FakeRoster(), Clock()
    roster.join(process("lives"), Entry("x", {}))
    watch = Watch(roster, "me", lambda: None, clock)
    await watch.sweep()
    clock.now += 3600
    await watch.sweep()
    clock.now += 0.5
    await watch.sweep()
    assert roster.buried == []


async def test_whoever_holds_something_unentered_is_swept() -> None:
    roster = FakeRoster()
    roster.holding = ["ghost", "me"]
    await Watch(roster, "me", lambda: None, Clock()).sweep()
    assert roster.buried == [("ghost", "it is not entered")]


async def test_a_process_refuses_to_write_before_anyone_can_have_buried_it() -> None:
    roster, clock = FakeRoster(), Clock()
    lost: list[bool] = []
    lease = Lease(roster, process("me"), lambda: lost.append(True), clock)
    with pytest.raises(Fenced):
        lease.check()
    await lease.join()
    clock.now += LEASE_S - 0.1
    lease.check()
    clock.now += 0.2
    with pytest.raises(Fenced, match="lease-over"):
        lease.check()
    roster.processes.clear()
    await lease.run()
    assert lost == [True]
