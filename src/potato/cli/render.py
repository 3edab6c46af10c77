"""Decisions and runs as people read them, in 80 columns. Colour appears only on a terminal."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from potato.core.foreign import as_list, as_object
from potato.core.text import inert, printable

if TYPE_CHECKING:
    from potato.core.coverage import Coverage, Gap
    from potato.core.difference import Difference
    from potato.core.event import Event, Facts
    from potato.core.expression import Trace
    from potato.core.nearest import Miss
    from potato.core.routing import Decision
    from potato.ports import ProposalRecord, RunRecord

_LOG_LINES: Final = 5
_FILES: Final = 10
_NEAREST: Final = 5
_GAPS: Final = 20
_CHANGES: Final = 20
_MARKS: Final = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
_RESULTS: Final = {"matched": _MARKS[True], "unmatched": _MARKS[False], "unknown": _MARKS[None]}
STATES: Final = {
    "succeeded": ("✓", "green"), "failed": ("✗", "red"), "blocked": ("⊘", "red"), "held": ("‖", "yellow"),
    "awaiting_approval": ("…", "yellow"), "cancelled": ("✗", "yellow"),
}  # fmt: skip
VERDICT_WORDS: Final = {"allow": "allowed", "deny": "denied", "needs_approval": "needs approval"}
_VERDICTS: Final = {"allow": ("✓", "green"), "deny": ("⊘", "red"), "needs_approval": ("…", "yellow")}


def width() -> int:
    """Columns to use."""
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, 110))


def line(indent: int, text: str, mark: tuple[str, str] | None = None, tail: str = "", *, bold: bool = False) -> None:
    """One entry, wrapped under its own text; `tail` follows on the same line where it fits, else below."""
    text, tail = inert(text), inert(tail)
    head = " " * indent + (click.style(mark[0], fg=mark[1]) + " " if mark else "")
    room = width() - indent - (2 if mark else 0)
    full = f"{text}  {tail}" if tail else text
    if tail and len(full) > room:
        rows = [
            *textwrap.wrap(text, room, break_on_hyphens=False),
            *textwrap.wrap(tail, room - 2, initial_indent="  ", subsequent_indent="  "),
        ]
        dim_from = len(textwrap.wrap(text, room, break_on_hyphens=False))
    else:
        rows, dim_from = textwrap.wrap(text, room, break_on_hyphens=False) or [""], 99
        if tail:
            rows[-1] += "  " + click.style(tail, dim=True)
    for number, row in enumerate(rows):
        shown = click.style(row, bold=True) if bold and number < dim_from else click.style(row, dim=True) if number >= dim_from else row
        click.echo((head if number == 0 else " " * (indent + (2 if mark else 0))) + shown)


def heading(text: str) -> None:
    """A section's title."""
    click.echo()
    click.echo(click.style(text, bold=True))


def show_event(event: Event) -> None:
    """One line on what happened."""
    summary = event.summary()
    action = f" {summary['action']}" if summary["action"] else ""
    place = str(summary["repository"] or "no repository") + (f"#{summary['number']}" if summary["number"] else "")
    trust = {True: "trusted", False: "untrusted", None: "trust unknown"}[summary["trusted"]]
    labels = f"  labels: {', '.join(summary['labels'])}" if summary["labels"] else ""
    line(0, f"{summary['event']}{action}  {place}  {trust}{labels}", bold=True)


def show_decision(decision: Decision, facts: Facts) -> None:
    """Every rule with its clauses, then what would run."""
    for problem in facts.problems:
        line(0, problem, ("!", "yellow"))
    for outcome in decision.outcomes():
        click.echo()
        mark = _RESULTS[outcome.result]
        line(0, f"{outcome.rule.name}  {outcome.result}", mark, f"line {outcome.rule.line}, runs {outcome.rule.agents}", bold=True)
        _show_trace(outcome.trace, 4, top=True)
    heading("Agents to run" if decision.assignments else "No agent runs")
    rows = [(a.agent + (f" (any of {', '.join(a.any_of)})" if a.any_of else ""), a.priority.label,
             f"by {a.by}" + (f", after {', '.join(a.after)}" if a.after else "")) for a in decision.assignments]  # fmt: skip
    table(rows, indent=2)
    for assignment in decision.held:
        line(2, f"{assignment.agent} is held: rule {assignment.by} is unknown", ("?", "yellow"))


def show_why_not(agent: str, decision: Decision, misses: Sequence[Miss], routers: Sequence[str]) -> None:
    """Why an agent does not run: what failed in the rules that would have run it, the nearest first."""
    click.echo()
    assigned = next((a for a in decision.assignments if a.agent == agent), None)
    if assigned:
        behind = f", behind {', '.join(assigned.after)}" if assigned.after else ""
        line(0, f"{agent} runs{behind}: asked for by rule {assigned.by}", _MARKS[True], bold=True)
    elif any(a.agent == agent for a in decision.held):
        line(0, f"{agent} is held, for a rule that would run it is unknown", _MARKS[None], bold=True)
    else:
        line(0, f"{agent} does not run", _MARKS[False], bold=True)
    if not misses and not assigned:
        line(4, "No rule names it.")
    for miss in misses[:_NEAREST]:
        click.echo()
        rule = miss.outcome.rule
        failed = f"{len(miss.failed)} clause{'' if len(miss.failed) == 1 else 's'} in the way"
        line(0, f"{rule.name}  {miss.outcome.result}", _RESULTS[miss.outcome.result], f"line {rule.line}, {failed}", bold=True)
        for trace in miss.failed:
            _show_trace(trace, 4)
    if len(misses) > _NEAREST:
        line(0, f"and {len(misses) - _NEAREST} more rules that name it; --json has them")
    if routers and not assigned:
        click.echo()
        line(0, f"{', '.join(routers)} runs for this event and could route to it.", ("!", "yellow"))


def show_rules(decision: Decision) -> None:
    """One line a rule: what it runs, or the clause that kept it from matching."""
    for outcome in decision.outcomes():
        mark = _RESULTS[outcome.result]
        leaves = [] if outcome.result == "matched" else outcome.trace.deciding()
        because = f"because of {leaves[0].text}" if leaves else f"runs {outcome.rule.agents}"
        line(2, f"{outcome.rule.name}  {outcome.result}", mark, because)


def _show_trace(trace: Trace, indent: int, *, top: bool = False) -> None:
    if trace.op == "stop":
        line(indent, trace.text, ("–", "yellow"), "not considered")
        return
    flat = top and trace.op == "and"
    if not flat:
        actual = "" if trace.field is None else f"{trace.field} is {_value(trace.actual)}"
        line(indent, trace.text[:400], _MARKS[trace.result], actual)
    for child in trace.children:
        _show_trace(child, indent + (0 if flat else 2))


def _value(actual: Any) -> str:  # noqa: ANN401 - JSON of any field
    if actual is None:
        return "absent"
    if isinstance(actual, list):
        return ", ".join(str(item)[:60] for item in as_list(actual)) or "empty"
    if isinstance(actual, bool):
        return str(actual).lower()
    return str(actual)[:100] or "empty"


def show_past(runs: Sequence[RunRecord]) -> None:
    """What became of an event: each run with why it is as it is, and the runs that caused it."""
    if runs:
        heading("What became of it")
    for run in runs:
        line(2, f"{run.agent}  {run.state}", STATES.get(run.state, ("·", "blue")), run.reason[:300])
        if run.lineage:
            line(6, f"caused by {' -> '.join(link.agent for link in run.lineage)}")


def show_runs(runs: Iterable[RunRecord]) -> None:
    """Each run with its reason, its proposals and what became of them."""
    for run in runs:
        click.echo()
        line(0, f"{run.agent}  {run.state}", STATES.get(run.state, ("·", "blue")), run.reason[:300], bold=True)
        if run.summary:
            line(4, run.summary[:300])
        for proposal in run.proposals:
            _show_proposal(proposal, told=run.reason)
        if run.state == "failed":
            for row in run.log.splitlines()[-_LOG_LINES:]:
                line(4, row[:400], ("│", "white"))
        for warning in run.warnings:
            if not warning.endswith("declared, not enforced"):
                line(4, warning, ("!", "yellow"))


def _show_proposal(proposal: ProposalRecord, told: str) -> None:
    effect = proposal.effect
    text = effect.detail[:200] if effect else proposal.reason[:300]
    mark = ("✗", "red") if effect and effect.state == "failed" else _VERDICTS[proposal.verdict]
    state = effect.state if effect else VERDICT_WORDS[proposal.verdict]
    line(4, f"{proposal.kind}  {state}", mark, "" if told.endswith(text) else text)
    files = [as_object(file) for file in as_list(proposal.args.get("files"))]
    for file in files[:_FILES]:
        line(8, printable(str(file.get("path")), 200), ("-", "red") if file.get("content") is None else ("+", "green"))
    if len(files) > _FILES:
        line(8, f"and {len(files) - _FILES} more files; --json has them")


def show_tests(tests: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Each test by name and place, with what failed in it."""
    for name, place, failures in tests:
        line(0, name, _MARKS[not failures], place, bold=bool(failures))
        for failure in failures:
            line(4, failure)


def show_coverage(coverage: Coverage) -> None:
    """How much the tests have tried, and what they have not, by rule."""
    counts = coverage.counts()
    heading(f"Coverage {coverage.percent():.0f} %")
    rows = [
        (what, f"{counts[f'{what}_true']} of {counts[what]} made true", f"{counts[f'{what}_false']} made false")
        for what in ("rules", "clauses")
    ]
    table(rows, indent=2)
    gaps: dict[int, list[Gap]] = {}
    for gap in coverage.gaps():
        gaps.setdefault(gap.rule, []).append(gap)
    for number, found in list(gaps.items())[:_GAPS]:
        rule = coverage.table.rules[number]
        line(2, rule.name, ("!", "yellow"), f"line {rule.line}")
        for gap in found:
            line(6, ("" if gap.whole else f"{gap.text[:200]}  ") + f"never {str(gap.never).lower()}")
    if len(gaps) > _GAPS:
        line(2, f"and {len(gaps) - _GAPS} more rules; --format json has them")


def show_difference(difference: Difference, rows: Sequence[Mapping[str, Any]], again: str, *, priced: bool) -> None:
    """Which agents would run more and less, by agent, rule and repository, each with an event that shows it."""
    line(0, f"{difference.events:,} events, {difference.changed:,} decided otherwise", bold=True)
    days = difference.days()
    if days is not None:
        line(0, f"over {days:.1f} days")
    columns = {"before": "before", "after": "after"}
    if days is not None:
        columns |= {"more_runs_per_day": "runs a day", "more_seconds_per_day": "seconds a day"}
        columns |= {"more_cost_per_day": "cost a day"} if priced else {}
    if rows:
        heading("Runs")
        cells = [[str(row["agent"]), *(_amount(row[key], signed=key.startswith("more")) for key in columns)] for row in rows]
        table(cells, indent=2, header=["agent", *columns.values()])
    titles = {"gained": "Gained", "lost": "Lost", "held": "Held, for a fact that was not kept is unknown"}
    for change, title in titles.items():
        found = sorted(((key, tally) for key, tally in difference.tallies.items() if key[0] == change), key=lambda item: -item[1].count)
        if found:
            heading(title)
        for (_, rule, agent), tally in found[:_CHANGES]:
            line(2, f"{tally.count:,} x {agent} by {rule}", {"gained": ("+", "green"), "lost": ("-", "red")}.get(change, _MARKS[None]))
            click.echo(inert(f"      {again} {shlex.quote(tally.example)}"))  # on one line, to be copied
        if len(found) > _CHANGES:
            line(2, f"and {len(found) - _CHANGES} more; --json has them")
    if difference.repositories:
        heading("By repository")
        most = sorted(difference.repositories.items(), key=lambda item: -item[1].total())
        table([(name, f"+{counts['gained']}", f"-{counts['lost']}", f"{counts['held']} held" if counts["held"] else "")
               for name, counts in most[:_CHANGES]], indent=2)  # fmt: skip
        if len(most) > _CHANGES:
            line(2, f"and {len(most) - _CHANGES} more; --json has them")


def _amount(value: float | None, *, signed: bool) -> str:
    if value is None:
        return "?"
    return f"{value:+,.1f}" if signed else f"{value:,}"


def table(rows: Sequence[Sequence[str]], *, indent: int = 0, header: Sequence[str] | None = None) -> None:
    """Columns as wide as needed; the last one is wrapped."""
    if not rows:
        return
    every = [[inert(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    widths = [max(len(row[i]) for row in every) for i in range(len(rows[0]) - 1)]
    for number, row in enumerate(every):
        left = " " * indent + "".join(cell.ljust(size + 2) for cell, size in zip(row, widths, strict=False))
        rest = textwrap.wrap(row[-1], max(20, width() - len(left)), break_on_hyphens=False) or [""]
        text = "\n".join([left + rest[0], *(" " * len(left) + more for more in rest[1:])])
        click.echo(click.style(text, bold=True) if header and number == 0 else text.rstrip())
