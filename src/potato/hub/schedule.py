"""Events at times: each firing is a delivery, kept in the same commit that moves the schedule on, so it happens once over all hubs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from croniter import croniter

from potato.config.models import ScheduleModel
from potato.errors import PotatoError
from potato.ports import Clock, Delivery
from potato.ports.hub import Arrival, Marks

_LOOK_S: Final = 1.0
_LOG = logging.getLogger("potato")


class Scheduler:
    """`arrival` is the intake's; `kept` is called after a firing. What was missed while no hub ran fires once."""

    def __init__(self, marks: Marks, schedules: Sequence[ScheduleModel], clock: Clock, arrival: Callable[[Delivery], Arrival],
                 kept: Callable[[], None]) -> None:  # fmt: skip
        self._marks = marks
        self._schedules = schedules
        self._clock = clock
        self._arrival = arrival
        self._kept = kept

    async def run(self) -> None:
        """For ever; not at all without schedules."""
        while self._schedules:
            for schedule in self._schedules:
                try:
                    if await asyncio.to_thread(self.look, schedule):
                        self._kept()
                except PotatoError as error:
                    _LOG.warning("schedule %s: %s", schedule.name, error)
            await asyncio.sleep(_LOOK_S)

    def look(self, schedule: ScheduleModel) -> bool:
        """Fire it if it is due; whether it fired here."""
        now = self._clock.now()
        name = f"schedule:{schedule.name}"
        following = next_time(schedule.cron, now)
        mark = self._marks.read(name)
        expected = mark[0] if mark else None
        due = datetime.fromisoformat(expected.partition(" ")[0]) if expected else None
        upcoming = f"{following.isoformat()} {schedule.cron}"
        if due is None or not str(expected).endswith(f" {schedule.cron}") or due > following + timedelta(seconds=60):
            self._marks.move(name, expected, upcoming, following.timestamp())  # new, changed, or the clock went back
            return False
        if due > now:
            return False
        return self._marks.move(name, expected, upcoming, following.timestamp(), self._arrival(firing(schedule, due)))


def next_time(cron: str, after: datetime) -> datetime:
    """When it fires next, in UTC."""
    return croniter(cron, after).get_next(datetime).astimezone(UTC)


def firing(schedule: ScheduleModel, at: datetime) -> Delivery:
    """The delivery of one firing, in the shape of GitHub Actions' own `schedule` events."""
    owner, _, name = schedule.repository.partition("/")
    body = {"schedule": schedule.cron, "workflow": schedule.name,
            "repository": {"full_name": schedule.repository, "name": name, "owner": {"login": owner}}}  # fmt: skip
    return Delivery(f"schedule-{schedule.name}-{at.strftime('%Y%m%dT%H%MZ')}", "schedule", json.dumps(body).encode(), "schedule")
