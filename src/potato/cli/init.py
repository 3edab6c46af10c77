"""`potato init`: look at a repository and write a config, an agent and a workflow that fit it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from potato import __version__

CHECKOUT: Final = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"
SETUP_PYTHON: Final = "actions/setup-python@0b93645e9fea7318ecaed2b359559ac225c90a2b # v5.3.0"
WORKFLOW: Final = ".github/workflows/orchestrator.yml"
SCHEMA: Final = ".potato/orchestrator.schema.json"
_NAME: Final = re.compile(r"^name:[ \t]*['\"]?([A-Za-z0-9][A-Za-z0-9 ._/-]{0,60}?)['\"]?[ \t]*$", re.MULTILINE)
_MAX_WORKFLOWS: Final = 50


@dataclass(frozen=True, slots=True)
class Seen:
    """What the repository looks like."""

    ci: tuple[str, ...]
    has_workflows: bool
    has_docs: bool
    has_code: bool


@click.command(name="init")
@click.option("--launcher", is_flag=True, help="Also write a small orchestrator.py that installs this version and runs it.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.argument("directory", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
def command(directory: Path, *, launcher: bool, force: bool) -> None:
    """Set Potato up in a repository: orchestrator.yml, an agent, a GitHub workflow.

    Files that exist are kept, unless --force.
    """
    seen = look_at(directory)
    wanted = files(seen, launcher=launcher)
    elsewhere = ".codex/orchestrator/config.yml"
    if (directory / elsewhere).exists():
        click.echo(f"kept     {elsewhere}")
        for path in ("orchestrator.yml", "agents/triage.md"):
            del wanted[path]
        wanted[WORKFLOW] = wanted[WORKFLOW].replace("--config orchestrator.yml", f"--config {elsewhere}")
    if not (directory / ".git").exists() and any((parent / ".git").exists() for parent in directory.resolve().parents):
        click.echo("note: this is a folder inside a repository; GitHub reads workflows at its top only", err=True)
    for path, text in wanted.items():
        target = directory / path
        if target.exists() and not force:
            click.echo(f"kept     {path}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        click.echo(f"written  {path}")
    for note in notes(seen):
        click.echo(note, err=True)
    click.echo("next: potato validate; then commit these files to the default branch", err=True)


def look_at(directory: Path) -> Seen:
    """Which workflows test it, whether there is documentation and code."""
    workflows = sorted((directory / ".github" / "workflows").glob("*.y*ml"))[:_MAX_WORKFLOWS]
    ci: list[str] = []
    for path in workflows:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        name = _NAME.search(text)
        if name and path.stem != "orchestrator" and re.search(r"\b(?:pytest|npm (?:run )?test|go test|cargo test|make test|tox)\b", text):
            ci.append(name[1])
    has_code = any((directory / name).exists() for name in ("src", "lib", "package.json", "pyproject.toml", "go.mod", "Cargo.toml"))
    return Seen(tuple(ci), bool(workflows), (directory / "docs").is_dir(), has_code)


def notes(seen: Seen) -> list[str]:
    """What was found, in words."""
    found = [f"tests run in the workflow {', '.join(repr(name) for name in seen.ci)}"] if seen.ci else ["no workflow that runs tests"]
    found += ["workflows to guard"] if seen.has_workflows else []
    found += ["a docs folder"] if seen.has_docs else []
    return [f"found: {'; '.join(found)}"]


def files(seen: Seen, *, launcher: bool) -> dict[str, str]:
    """Path -> text of everything to write."""
    from potato.config.schema import SHIPPED

    wanted = {
        "orchestrator.yml": config(seen),
        "agents/triage.md": TRIAGE,
        WORKFLOW: workflow(seen, launcher=launcher),
        SCHEMA: SHIPPED.read_text(encoding="utf-8"),
        ".potato/.gitignore": "potato.db*\nvenv-*\n",
    }
    if launcher:
        template = Path(__file__).with_name("templates") / "launcher.py"
        wanted["orchestrator.py"] = template.read_text(encoding="utf-8").replace("@VERSION@", __version__)
    return wanted


TRIAGE: Final = """---
description: Labels, a checklist and reviewers for new pull requests and issues. Changes no code.
role: triage
---
Prepare new pull requests and issues for review by people: say what kind of change it is, how large it
is and what is missing. Never judge the author.
"""


def config(seen: Seen) -> str:
    """orchestrator.yml."""
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        "version: 1",
        "",
        "routing:",
        "  - name: triage-pull-requests",
        '    if: event == "pull_request" && action in ["opened", "reopened", "synchronize", "ready_for_review"] && !draft',
        "    run: [basic_triage]",
        "  - name: triage-issues",
        '    if: event == "issues" && action == "opened"',
        "    run: [basic_triage]",
    ]
    if seen.has_workflows:
        lines += [
            "  - name: scan-workflows",
            '    if: event == "pull_request" && action in ["opened", "synchronize"] && path ~ ".github/**"',
            "    run: [security_scanner]",
            "    priority: high",
        ]
    if seen.has_docs and seen.has_code:
        lines += [
            "  - name: documentation",
            '    if: event == "pull_request" && action == "opened" && path ~ "src/**" && !(path ~ "docs/**")',
            "    run: [documentation_generator]",
            "    priority: low",
        ]
    for name in seen.ci:
        lines += [
            f"  - name: {re.sub(r'[^A-Za-z0-9_.-]+', '-', name.lower())}-failed",
            f'    if: event == "workflow_run" && workflow == "{name}" && status == "failure"',
            "    run: [ci_triage_guard, coverage_orchestrator]",
        ]
    lines += [
        "",
        "agents:",
        "  basic_triage:",
        "    ref: ./agents/triage.md",
        "    permissions: [apply_labels, remove_labels, comment, request_review, read_pull_request, read_issues]",
        "",
    ]
    return "\n".join(lines)


def workflow(seen: Seen, *, launcher: bool) -> str:
    """A workflow with pinned actions and the least permissions that the config's agents need."""
    permissions = ["contents: read", "issues: write", "pull-requests: write"]
    triggers = [
        "  pull_request:",
        "    types: [opened, reopened, synchronize, ready_for_review]",
        "  issues:",
        "    types: [opened]",
    ]
    if seen.has_workflows:
        permissions.append("checks: write # the security scan's check")
    if seen.ci:
        permissions.append("actions: read # jobs and logs of failed runs")
        triggers += [
            "  # only the default branch is checked out, and nothing that the run made is executed",
            "  workflow_run: # zizmor: ignore[dangerous-triggers]",
            _workflows_line(seen.ci),
            "    types: [completed]",
        ]
    run = "python orchestrator.py" if launcher else f'pipx run --spec "potato-orchestrator=={__version__}" potato-orchestrator'
    return "\n".join([
        "name: Orchestrator", "", "on:", *triggers, "", "permissions: {}", "",
        "concurrency:",
        "  group: >-",
        "    orchestrator-${{ github.event_name }}-${{ github.event.pull_request.number || github.event.issue.number || github.run_id }}",
        "  cancel-in-progress: false", "",
        "jobs:", "  orchestrate:", "    name: Orchestrate", "    runs-on: ubuntu-latest", "    timeout-minutes: 20",
        "    # a fork's token may not write; nothing would come of it",
        "    if: github.event_name != 'pull_request' || github.event.pull_request.head.repo.id == github.event.repository.id",
        "    permissions:", *(f"      {permission}" for permission in permissions),
        "    steps:",
        "      - name: Check out the default branch, never the pull request",
        f"        uses: {CHECKOUT}", "        with:", "          ref: ${{ github.event.repository.default_branch }}",
        "          persist-credentials: false",
        "      - name: Set up Python", f"        uses: {SETUP_PYTHON}", "        with:", '          python-version: "3.12"',
        "      - name: Run Orchestrator", "        env:", "          GITHUB_TOKEN: ${{ github.token }}",
        f"        run: {run} --config orchestrator.yml", "",
    ])  # fmt: skip


def _workflows_line(names: tuple[str, ...]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"    workflows: [{quoted}]"
