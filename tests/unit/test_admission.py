"""Who starts next: tags, limits, workers."""

from __future__ import annotations

from collections import Counter, defaultdict

from potato.core.admission import WEIGHTS, Lane, Limits, Slots, Snapshot, choose, next_tag


def released(snapshot: Snapshot, limits: Limits | None = None) -> list[tuple[str, str]]:
    return [(a.lane.repository, a.worker) for a in choose(snapshot, limits or Limits()) if a.worker]


def reasons(snapshot: Snapshot, limits: Limits) -> list[str]:
    return [a.blocked_by for a in choose(snapshot, limits) if not a.worker]


def lane(repository: str, head: float, agent: str = "a", number: int = 0) -> Lane:
    return Lane(number or int(head * 10), repository, agent, "normal", head)


def test_the_least_tag_goes_to_the_worker_with_most_room() -> None:
    snapshot = Snapshot([lane("o/b", 2), lane("o/a", 1), lane("o/c", 3)], [Slots("w1", 1), Slots("w2", 2)], [])
    assert released(snapshot) == [("o/a", "w2"), ("o/b", "w1"), ("o/c", "w2")]


def test_limits_are_told_and_others_pass_by() -> None:
    lanes = [lane("o/a", 1), lane("o/a", 2, "b"), lane("p/x", 3, "b"), lane("q/y", 4, "c")]
    snapshot = Snapshot(lanes, [Slots("w", 9)], [("o/z", "a"), ("q/q", "x")], {"c": 5})
    limits = Limits(repository=1, organisation=3, agents={"a": 1}, rates={"c": (5, 60.0)})
    assert released(snapshot, limits) == [("o/a", "w"), ("p/x", "w")]
    assert reasons(snapshot, limits) == ["agent a: 1 of 1 running", "agent c: 5 started within 60 s"]
    assert reasons(Snapshot(lanes[:1], [Slots("w", 9)], [("o/z", "x")]), Limits(organisation=1)) == ["organisation o: 1 of 1 running"]
    assert reasons(Snapshot(lanes[:1], [Slots("w", 9)], [("o/z", "x")]), Limits(everywhere=1)) == ["the hub: 1 of 1 running"]


def test_who_runs_nothing_of_it_is_told() -> None:
    only = Slots("w", 3, frozenset({"b"}))
    assert reasons(Snapshot([lane("o/a", 1)], [only], []), Limits()) == ["no worker runs agent a"]
    assert reasons(Snapshot([lane("o/a", 1)], [], []), Limits()) == ["no worker lives"]
    assert reasons(Snapshot([lane("o/a", 1)], [Slots("w", 0)], []), Limits()) == ["every slot is taken"]
    assert released(Snapshot([lane("o/a", 1), lane("o/b", 2, "b")], [only], [])) == [("o/b", "w")]


class Simulation:
    """One slot; runs start in the order of their tags."""

    def __init__(self) -> None:
        self.virtual = 0.0
        self.last: dict[tuple[str, str], float] = {}
        self.waiting: list[tuple[float, int, str, str]] = []
        self.count = 0

    def arrive(self, repository: str, priority: str = "normal") -> None:
        tag = next_tag(self.virtual, self.last.get((repository, priority)), priority)
        self.last[repository, priority] = tag
        self.count += 1
        self.waiting.append((tag, self.count, repository, priority))

    def start(self) -> tuple[str, str]:
        first = min(self.waiting)
        self.waiting.remove(first)
        self.virtual = max(self.virtual, first[0])
        return first[2], first[3]


def test_a_quiet_repository_waits_for_one_run_of_a_flood_at_most() -> None:
    hub = Simulation()
    for _ in range(500):
        hub.arrive("o/flood")
    for _ in range(10):
        hub.start()
    hub.arrive("o/quiet")
    assert "o/quiet" in [hub.start()[0] for _ in range(2)]


def test_two_floods_share_evenly_and_priorities_come_first() -> None:
    hub = Simulation()
    for _ in range(100):
        hub.arrive("o/a")
        hub.arrive("o/b")
    hub.arrive("o/a", "critical")
    assert hub.start() == ("o/a", "critical")
    shares = Counter(hub.start()[0] for _ in range(100))
    assert abs(shares["o/a"] - shares["o/b"]) <= 2


def test_low_never_starves_under_an_endless_stream_of_each_other_priority() -> None:
    for priority, weight in WEIGHTS.items():
        hub = Simulation()
        hub.arrive("o/a", "low")
        started = 0
        while True:
            hub.arrive("o/a", priority) if priority != "low" else None
            if hub.start()[1] == "low":
                break
            started += 1
        assert started <= weight


def test_tags_of_one_repository_and_priority_only_grow() -> None:
    last: dict[str, list[float]] = defaultdict(list)
    for n in range(50):
        last["x"].append(next_tag(n % 7, last["x"][-1] if last["x"] else None, "high"))
    assert last["x"] == sorted(set(last["x"]))
