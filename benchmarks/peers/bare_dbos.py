"""Bare DBOS: so many enqueued workflows of two steps, with our engine settings, poll and slots.

Arguments: URL COUNT. Prints workflows per second.
"""

from __future__ import annotations

import logging
import sys
import time

from dbos import DBOS, DBOSClient

from potato.durable.dbos import POLL_S, prepare
from potato.store.engine import engine_url, open_engine


async def step() -> int:
    """Nothing."""
    return 1


def main() -> None:
    """Enqueue all, then wait for the last."""
    logging.getLogger("dbos").setLevel(logging.ERROR)
    engine = open_engine(sys.argv[1])
    url = engine_url(engine)
    prepare(url)
    DBOS(config={"name": "bare", "system_database_url": url, "system_database_engine": engine, "run_migrations": False,
                 "application_version": "1", "executor_id": "bare", "log_level": "ERROR", "use_listen_notify": False})  # fmt: skip

    @DBOS.workflow(name="bare")
    async def bare(_number: int) -> None:
        await DBOS.run_step_async({"name": "one"}, step)
        await DBOS.run_step_async({"name": "two"}, step)

    DBOS.listen_queues(["q"])
    DBOS.launch()
    DBOS.register_queue("q", worker_concurrency=40, polling_interval_sec=POLL_S)
    assert bare is not None
    client = DBOSClient(system_database_engine=engine, application_name="bare")
    count = int(sys.argv[2])
    begun = time.perf_counter()
    for number in range(count):
        client.enqueue({"workflow_name": "bare", "queue_name": "q", "app_version": "1"}, number)
    while len(client.list_workflows(status="SUCCESS", load_input=False, load_output=False)) < count:
        time.sleep(0.05)
    took = time.perf_counter() - begun
    print(count / took)
    client.destroy()
    DBOS.destroy()


if __name__ == "__main__":
    main()
