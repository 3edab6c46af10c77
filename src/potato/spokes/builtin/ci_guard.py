"""CI guard: was it the code, or the infrastructure? Automation must not pile onto a broken CI."""

from __future__ import annotations

from potato.core.infrastructure import OUTCOMES, classify
from potato.ports import Report, Request
from potato.spokes.builtin.proposing import Proposing


def work(request: Request) -> Report:
    """Block those who wait for this guard if CI failed for a reason that is not the code's."""
    out = Proposing(request)
    if request.event.event not in ("workflow_run", "workflow_job", "check_run", "check_suite", "status"):
        return out.report("The event is about no CI run: passed.")
    outcome = str(request.event.fields.get("status") or "")
    if outcome in OUTCOMES:
        out.propose("block", reason=f"CI ended with {outcome}: infrastructure, not code")
        return out.report(f"CI ended with {outcome}; automation is blocked.")
    logs = request.context.get("logs")
    if not isinstance(logs, str):
        return out.report(f"CI ended with {outcome or 'no outcome'}; no logs at hand, judged by the outcome alone: passed.")
    found = classify(logs)
    if found is None:
        return out.report("No sign of an infrastructure failure in the logs: passed.")
    out.propose("block", reason=f"infrastructure failure in CI: {found.replace('_', ' ')}")
    return out.report(f"Infrastructure failure ({found.replace('_', ' ')}); automation is blocked.")
