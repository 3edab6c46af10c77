"""The durable executor: DBOS Transact. It hands each attempt to the process it was released to, and keeps what is under way.

Each process has a queue of its own, so that a release names who works: a workflow is enqueued in the transaction that gives the run to its
worker. Who dies loses its runs to others as new attempts (see `potato.hub.takeover` and ADR 27), so nothing here recovers a workflow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from datetime import datetime
from typing import Any, Final, TypeVar

from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions
from sqlalchemy import Connection, Engine

from potato.ports import Fenced

T = TypeVar("T")

WORKFLOW_VERSION: Final = "potato-1"
"""Changes only when the arguments of the workflows do: newer processes then leave older ones' workflows to them."""

POLL_S: Final = 0.05
_APPLICATION: Final = "potato"
_SCHEMA: Final = "dbos"
_PRUNED: Final = 1_000

OnRun = Callable[[str, int], Awaitable[None]]
OnEvent = Callable[[str], Awaitable[None]]


def queue_of(process_id: str) -> str:
    """The queue of a process."""
    return f"of-{process_id}"


def prepare(url: str) -> None:
    """Bring the engine's own tables up to date."""
    logging.getLogger("dbos").setLevel(logging.ERROR)
    DBOS.migrate(url, schema=_SCHEMA)


def _config(engine: Engine, url: str, process_id: str) -> DBOSConfig:
    return {
        "name": _APPLICATION, "system_database_url": url, "system_database_engine": engine, "run_migrations": False,
        "application_version": WORKFLOW_VERSION, "executor_id": process_id, "log_level": "ERROR", "use_listen_notify": False,
        "max_executor_threads": 64, "scheduler_polling_interval_sec": 3600.0,
    }  # fmt: skip


class DbosDurable:
    """One process. `slots` is how many runs it performs at once."""

    patient = True

    def __init__(self, engine: Engine, url: str, process_id: str, slots: int) -> None:
        self._engine = engine
        self._url = url
        self._process_id = process_id
        self._slots = slots
        self._client: DBOSClient | None = None
        self._deciding: set[asyncio.Future[None]] = set()
        self._going: dict[str, asyncio.Task[Any]] = {}
        self.active: set[str] = set()
        self._on_run: OnRun | None = None
        self._on_event: OnEvent | None = None

    def launch(self, on_run: OnRun, on_event: OnEvent) -> None:
        """Begin to take what is released to this process."""
        self._on_run, self._on_event = on_run, on_event
        logging.getLogger("dbos").setLevel(logging.ERROR)
        DBOS(config=_config(self._engine, self._url, self._process_id))

        @DBOS.workflow(name="run")
        async def run(run_id: str, attempt: int) -> None:
            await self._run(run_id, attempt)

        self._keep = run
        DBOS.listen_queues([queue_of(self._process_id)])
        DBOS.launch()
        self._client = DBOSClient(system_database_engine=self._engine, application_name=_APPLICATION, dbos_system_schema=_SCHEMA)
        if self._slots:
            DBOS.register_queue(queue_of(self._process_id), worker_concurrency=self._slots * 2, polling_interval_sec=POLL_S)

    async def _run(self, run_id: str, attempt: int) -> None:
        assert self._on_run is not None  # noqa: S101 - launched
        self.active.add(run_id)
        try:
            await self._on_run(run_id, attempt)
        finally:
            self.active.discard(run_id)

    def enqueue(self, connection: Connection, run_id: str, attempt: int, process_id: str) -> None:
        """Hand an attempt to a process, within the caller's transaction."""
        assert self._client is not None  # noqa: S101 - launched
        options: EnqueueOptions = {
            "workflow_name": "run",
            "queue_name": queue_of(process_id),
            "workflow_id": f"{run_id}.{attempt}",
            "app_version": WORKFLOW_VERSION,
        }
        self._client.enqueue_in_transaction(connection, options, run_id, attempt)

    async def start_event(self, delivery_id: str) -> None:
        """Begin to decide an event here: its delivery's row says who does, and another does when this process dies (ADR 27)."""
        assert self._on_event is not None  # noqa: S101 - launched
        task = asyncio.ensure_future(self._on_event(delivery_id))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)

    # the port

    async def step(self, name: str, call: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - the port's face
        """Run it: its result is in our own tables, under the attempt's number, before it returns (ADR 27)."""
        return await call()

    async def commit(self, call: Callable[[], T]) -> T:
        """In a thread."""
        return await asyncio.to_thread(call)

    async def stoppable(self, run_id: str, work: Coroutine[Any, Any, T]) -> T:
        """See the port."""
        task = asyncio.ensure_future(work)
        self._going[run_id] = task
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            del self._going[run_id]
        if task.cancelled():
            raise Fenced("stopped", f"run '{run_id}' was stopped.")
        return task.result()

    def stop(self, run_id: str) -> None:
        """Stop the agent of a run, from any thread."""
        task = self._going.get(run_id)
        if task is not None and not task.done():
            task.get_loop().call_soon_threadsafe(task.cancel)

    def stop_all(self) -> None:
        """Stop every agent of this process."""
        for run_id in list(self._going):
            self.stop(run_id)

    def prune(self, process_ids: Collection[str], before: datetime) -> int:
        """Forget what ended before a time, and the queues of processes that are no more."""
        assert self._client is not None  # noqa: S101 - launched
        ended = self._client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=before.isoformat(),
            limit=_PRUNED,
            load_input=False,
            load_output=False,
        )
        self._client.delete_workflows([workflow.workflow_id for workflow in ended])
        for queue in self._client.list_queues():
            if queue.name.removeprefix("of-") not in process_ids:
                self._client.delete_queue(queue.name)
        return len(ended)

    def close(self) -> None:
        """End; agents that still run are stopped."""
        self.stop_all()
        try:
            if self._slots:
                DBOS.delete_queue(queue_of(self._process_id))
        except Exception:  # noqa: BLE001 - the database may be gone; a later prune does it
            logging.getLogger("potato").debug("the queue stays for a later prune")
        if self._client is not None:
            self._client.destroy()
        DBOS.destroy()
