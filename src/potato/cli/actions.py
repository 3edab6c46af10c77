"""GitHub Actions niceties: step summary, annotations, outputs.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from potato.cli.formats import WORST, annotation
from potato.cli.render import VERDICT_WORDS
from potato.core.text import inert, printable

if TYPE_CHECKING:
    from potato.config.config import Config
    from potato.hub.workflow import Outcome
    from potato.ports import ProposalRecord, RunRecord

_SUMMARY_BYTES: Final = 900_000
_ICONS: Final = {"succeeded": "✅", "failed": "❌", "blocked": "⛔", "held": "⏸️", "awaiting_approval": "✋", "cancelled": "🚫"}
_LINK: Final = re.compile(r"https?|www|ftp", re.IGNORECASE)
_LEVELS: Final = {"failed": "error", "blocked": "warning", "held": "warning", "cancelled": "warning", "awaiting_approval": "notice"}


def report(outcome: Outcome, config: Config, environ: Mapping[str, str], sealed: str | None = None) -> None:
    """Write what the environment asks for: GITHUB_STEP_SUMMARY, GITHUB_OUTPUT, annotations on stderr.

    The effects are done by now: a file that cannot be written is a warning, not a failure.
    """
    for name, text in (("GITHUB_STEP_SUMMARY", summary(outcome, config)), ("GITHUB_OUTPUT", outputs(outcome, sealed))):
        if path := environ.get(name):
            try:
                _append(path, text)
            except OSError as error:
                click.echo(inert(f"warning: {name} cannot be written: {error.strerror}"), err=True)
    for text in worst(outcome, config):
        click.echo(text, err=True)


def _append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def outputs(outcome: Outcome, sealed: str | None = None) -> str:
    """`agents`, `states`, `matrix` (for a later job's strategy) and `sealed`, between random delimiters."""
    values = {
        "agents": json.dumps([a.agent for a in outcome.decision.assignments]),
        "states": json.dumps({run.agent: run.state for run in outcome.runs}),
        "matrix": json.dumps({"include": [a.as_json() for a in outcome.decision.assignments]}),
    }
    if sealed is not None:
        values["sealed"] = sealed
    lines: list[str] = []
    for name, value in values.items():
        delimiter = f"potato-{secrets.token_hex(16)}"
        lines.append(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
    return "".join(lines)


def worst(outcome: Outcome, config: Config) -> list[str]:
    """The ten worst: failed runs, then blocked and denied, then waiting; and how many beside."""
    found: list[tuple[str, str]] = []
    for run in outcome.runs:
        if run.state in _LEVELS:
            found.append((_LEVELS[run.state], f"{run.agent} {run.state}: {run.reason}"))
        found += [("warning", f"{run.agent}: {p.kind} denied: {p.reason}") for p in run.proposals if p.verdict == "deny"]
    order = ("error", "warning", "notice")
    found.sort(key=lambda item: order.index(item[0]))
    lines = [annotation(level, printable(text, 500), file=config.file, title="Potato") for level, text in found[:WORST]]
    if len(found) > WORST:
        lines.append(annotation("notice", f"+{len(found) - WORST} more", title="Potato"))
    return lines


def summary(outcome: Outcome, config: Config) -> str:
    """Markdown: what was decided, what became of it, and why each other rule did not match."""
    event = outcome.event.summary()
    place = (event["repository"] or "no repository") + (f"#{event['number']}" if event["number"] else "")
    lines = [f"### Potato: {_cell(event['event'])} {_cell(event['action'] or '')} on {_cell(place)}", ""]
    if outcome.runs:
        lines += ["| agent | state | why | proposals |", "|---|---|---|---|", *(_row(run) for run in outcome.runs), ""]
    else:
        lines += ["No agent runs for this event.", ""]
    lines += [f"- {_cell(problem)}" for problem in outcome.facts.problems]
    if any(p.effect and p.effect.state == "staged" for run in outcome.runs for p in run.proposals):
        lines.append("- **staged**: nothing was sent to GitHub, for want of a token or by request")
    warnings = dict.fromkeys(w for run in outcome.runs for w in run.warnings if not w.endswith("declared, not enforced"))
    lines += [f"- {_cell(warning)}" for warning in warnings]
    if config.unenforced:
        lines.append(f"- declared, not enforced by this version: {'; '.join(map(_cell, config.unenforced))}")
    lines += ["", "<details><summary>Every rule</summary>", "", "| rule | result | because |", "|---|---|---|"]
    for rule in outcome.decision.outcomes():
        because = "; ".join(_cell(leaf.text) for leaf in rule.trace.deciding()[:3])
        lines.append(f"| {_cell(rule.rule.name)} (line {rule.rule.line}) | {rule.result} | {because} |")
    lines += ["", f"Config `{config.digest[:19]}`", "</details>", "", ""]
    text = "\n".join(lines)
    return text if len(text.encode()) < _SUMMARY_BYTES else text.encode()[:_SUMMARY_BYTES].decode("utf-8", "ignore") + "\n…\n"


def _row(run: RunRecord) -> str:
    why = f"{_cell(run.reason)}<br>{_cell(run.summary)}" if run.summary else _cell(run.reason)
    return f"| {_cell(run.agent)} | {_ICONS.get(run.state, '')} {run.state} | {why} | {'<br>'.join(map(_told, run.proposals))} |"


def _told(proposal: ProposalRecord) -> str:
    state = proposal.effect.state if proposal.effect else VERDICT_WORDS[proposal.verdict]
    return _cell(f"{proposal.kind}: {state}" + ("" if proposal.verdict == "allow" else f" ({proposal.reason})"))


def _cell(text: str) -> str:
    """Text that cannot break out of a table cell, mention anyone or bring its own markup."""
    plain = printable(text, 300).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "\\|`*[]~":
        plain = plain.replace(char, f"&#{ord(char)};")
    return _LINK.sub(lambda m: f"{m[0]}&#8203;", plain.replace("@", "@&#8203;").replace("$", "&#36;"))
