"""`potato`: the command group, loaded lazily, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from potato import __version__
from potato.cli.output import print_error
from potato.core.text import inert
from potato.errors import FAILED, INTERRUPTED, OK, USAGE, PotatoError

COMMANDS: Final = {
    "init": "Set Potato up in this repository.",
    "validate": "Check a config and its agents.",
    "lint": "Find what is allowed in a config and hardly meant.",
    "test": "Run the tests of the rules, and say what they leave untried.",
    "backtest": "Say what a draft of the rules would have done to past events.",
    "explain": "Say what would run for an event, and why (not).",
    "run": "Route one event and run its agents.",
    "apply": "Apply what 'run --seal' sealed, behind an environment's reviewers.",
    "serve": "Run the hub: webhooks in, agents, effects out.",
    "worker": "Run agents for the hubs of a Postgres database.",
    "status": "Say what waits, what runs, and how each agent does.",
    "cancel": "Stop a run.",
    "approvals": "List what waits for people.",
    "approve": "Say yes to a proposal that waits for people.",
    "deny": "Say no to one.",
    "lift": "Let a run on an untrusted event work as on a trusted one, once.",
    "pause": "Hold everything, a repository, or an agent.",
    "resume": "End a pause.",
    "override": "Set a guard aside for a time.",
    "demo": "Show the whole way on real deliveries, offline.",
    "runs": "List runs.",
    "agents": "List the agents of a config, or the built-in ones.",
    "audit": "Work with the audit log.",
    "schema": "Print the JSON Schema of the config.",
}
_OWN_OPTIONS: Final = frozenset({"--help", "-h", "--version"})


class _Lazy(click.Group):
    """Imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's face
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's face
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"potato.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's face
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`potato-orchestrator --config FILE` means `potato run --config FILE`."""
        if args and args[0].startswith("-") and args[0] not in _OWN_OPTIONS:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="potato")
def cli() -> None:
    """A control plane for agents in CI/CD.

    Without a command, `--config FILE` and the other options of `run` run it.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see docs/reference/cli.md)."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # none is used, and looking for them takes 30 ms
    try:
        result = cli.main(args=list(argv) if argv is not None else None, standalone_mode=False)
        code = result if isinstance(result, int) else OK
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except PotatoError as error:
        print_error(error)
        code = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = OK
    except Exception as error:
        if os.environ.get("POTATO_DEBUG"):
            raise
        click.echo(inert(f"error: internal-error: {type(error).__name__}: {error}. This is a bug; POTATO_DEBUG=1 shows where."), err=True)
        code = FAILED
    if argv is None:
        sys.exit(code)
    return code
