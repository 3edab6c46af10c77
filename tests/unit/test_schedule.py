"""Schedules: once, after a pause once, and none lost to a clock that jumps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from potato.config.models import ScheduleModel
from potato.hub.schedule import Scheduler, firing, next_time
from potato.ports import Delivery

NIGHTLY = ScheduleModel(name="nightly", cron="0 3 * * *", repository="octo/demo")


class Now:
    def __init__(self) -> None:
        self.at = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


class FakeMarks:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, float]] = {}
        self.arrived: list[Delivery] = []

    def read(self, name: str) -> tuple[str, float] | None:
        return self.kept.get(name)

    def move(self, name: str, expected: str | None, value: str, at: float, arrival: Delivery | None = None) -> bool:
        if (self.kept[name][0] if name in self.kept else None) != expected:
            return False
        self.kept[name] = (value, at)
        if arrival:
            self.arrived.append(arrival)
        return True


def made() -> tuple[Now, FakeMarks, Scheduler]:
    now, marks = Now(), FakeMarks()
    return now, marks, Scheduler(marks, [NIGHTLY], now, lambda delivery: delivery, lambda: None)


def test_it_fires_at_its_time_and_once() -> None:
    now, marks, scheduler = made()
    assert [scheduler.look(NIGHTLY) for _ in range(3)] == [False] * 3
    now.at = datetime(2026, 5, 2, 3, 0, 1, tzinfo=UTC)
    assert [scheduler.look(NIGHTLY) for _ in range(3)] == [True, False, False]
    assert [delivery.delivery_id for delivery in marks.arrived] == ["schedule-nightly-20260502T0300Z"]
    body = json.loads(marks.arrived[0].body)
    assert (body["schedule"], body["repository"]["full_name"]) == ("0 3 * * *", "octo/demo")


def test_what_was_missed_fires_once() -> None:
    now, marks, scheduler = made()
    scheduler.look(NIGHTLY)
    now.at += timedelta(days=30)
    assert [scheduler.look(NIGHTLY) for _ in range(2)] == [True, False]
    assert len(marks.arrived) == 1


def test_a_clock_that_goes_back_a_year_stops_nothing() -> None:
    now, _marks, scheduler = made()
    scheduler.look(NIGHTLY)
    now.at -= timedelta(days=365)
    scheduler.look(NIGHTLY)
    now.at = datetime(2025, 5, 2, 3, 0, 1, tzinfo=UTC)
    assert scheduler.look(NIGHTLY)


def test_a_changed_cron_starts_anew() -> None:
    now, _marks, scheduler = made()
    scheduler.look(NIGHTLY)
    hourly = ScheduleModel(name="nightly", cron="0 * * * *", repository="octo/demo")
    assert not scheduler.look(hourly)
    now.at += timedelta(hours=1, seconds=1)
    assert scheduler.look(hourly)
    assert firing(hourly, next_time("0 * * * *", now.at)).event == "schedule"
