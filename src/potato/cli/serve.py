"""`potato serve`: the hub."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from potato.cli.inputs import load
from potato.cli.options import config_option, database_option
from potato.cli.output import journal
from potato.errors import FAILED, OK, PotatoError, UsageError

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.hub.service import Service

_BACKLOG = 2048
_SWITCH_S = 0.0005
"""Python's own 5 ms would be added to each of a commit's several waits for the interpreter, while requests keep it busy."""


@click.command(name="serve")
@config_option
@database_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8480, show_default=True, help="0 takes a free one.")
@click.option(
    "--concurrency",
    type=click.IntRange(0, 1000),
    default=8,
    show_default=True,
    help="Runs at once in this process; 0 leaves them to workers.",
)
@click.option(
    "--drain", "drain_s", type=click.IntRange(0, 86_400), default=30, show_default=True, help="Seconds that runs get to end at SIGTERM."
)
def command(config: str | None, database: str, host: str, port: int, concurrency: int, drain_s: int) -> int:
    """Receive webhooks, decide, run agents, apply what is allowed; until SIGTERM.

    POTATO_WEBHOOK_SECRET is the webhook's secret (two, comma-separated, while rotating), POTATO_API_TOKEN opens the API. With SQLite this
    is one process; with --database postgresql://... any number of them and of 'potato worker' share the work.

    Exit: 0 stopped, 1 trouble, 2 wrong usage or config.
    """
    loaded = load(config)
    secrets = [secret.strip().encode() for secret in os.environ.get("POTATO_WEBHOOK_SECRET", "").split(",") if secret.strip()]
    if not secrets:
        raise UsageError("no-webhook-secret", "POTATO_WEBHOOK_SECRET is not set.", "Set it to the secret of the webhook in GitHub.")
    listener = listen(host, port)
    return run(lambda lost: _serve(loaded, database, listener, secrets, concurrency, drain_s, lost))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `UsageError` if the address is taken or not ours."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        raise UsageError(
            "cannot-listen", f"cannot listen on {host}:{port}: {error.strerror}.", "Choose another --host or --port."
        ) from None
    return listener


def run(main: Callable[[Callable[[], None]], Any]) -> int:
    """Run a service's loop; a process that was taken for dead begins anew under another name."""
    import uvloop

    journal()
    sys.setswitchinterval(_SWITCH_S)
    lost = False

    def is_lost() -> None:
        nonlocal lost
        lost = True

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(is_lost))
    if lost:
        click.echo("this process was taken for dead, and its runs by others; it starts again under another name", err=True)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "potato", *sys.argv[1:]])  # noqa: S606 - ourselves
    return OK


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and Ctrl-C end it in order; a second one at once."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(FAILED)
        click.echo("stopping", err=True)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)


async def _serve(config: Config, database: str, listener: socket.socket, secrets: list[bytes], slots: int, drain_s: int,
                 lost: Callable[[], None]) -> None:  # fmt: skip
    from potato.bootstrap import open_service

    stop = asyncio.Event()

    def when_lost() -> None:
        lost()
        stop.set()

    service = open_service(database, os.environ, when_lost, config=config, slots=slots, drain_s=drain_s)
    if service.parts.working.forge.kind == "local":
        click.echo("forge: local: effects are staged, nothing is sent", err=True)
    started = asyncio.Event()
    hub = asyncio.create_task(service.run(stop, started.set))
    ready = asyncio.create_task(started.wait())
    await asyncio.wait({hub, ready}, return_when=asyncio.FIRST_COMPLETED)
    if hub.done():
        hub.result()
        raise PotatoError("not-started", "the hub ended at once.")
    await _http(service, listener, secrets, stop)
    stop.set()
    await hub


async def _http(service: Service, listener: socket.socket, secrets: list[bytes], stop: asyncio.Event) -> None:
    import uvicorn

    from potato.api.app import PATH, make_app
    from potato.api.protocol import PatientProtocol

    settings = uvicorn.Config(
        make_app(service, secrets, os.environ.get("POTATO_API_TOKEN")), http=PatientProtocol, loop="none", lifespan="off", access_log=False,
        log_config=None, server_header=False, date_header=False, timeout_keep_alive=75, backlog=_BACKLOG, proxy_headers=False,
        timeout_graceful_shutdown=10, ws="none",
    )  # fmt: skip
    server = uvicorn.Server(settings)
    stop_on_signals(stop)
    serving = asyncio.create_task(server._serve([listener]))  # noqa: SLF001  # type: ignore[reportPrivateUsage] # serve() would take the signals for itself
    host, port = listener.getsockname()[:2]
    click.echo(f"listening on http://{host}:{port}{PATH}", err=True)
    await stop.wait()
    server.should_exit = True
    await serving
