"""CI guard: was it the code, or the infrastructure? Automation must not pile onto a broken CI."""

from __future__ import annotations

import re
from typing import Final

from potato.ports import Report, Request
from potato.spokes.builtin.proposing import Proposing

CLASSES: Final = {
    "runner lost": r"lost communication with the server|runner has received a shutdown signal|The runner .{0,80} did not connect"
                   r"|The operation was canceled by the runner|no space left on device|ENOSPC",
    "network": r"ECONNRESET|ETIMEDOUT|EAI_AGAIN|Could not resolve host|Temporary failure in name resolution|TLS handshake timeout"
               r"|Connection (?:reset by peer|timed out)|network is unreachable",
    "registry": r"(?:npm ERR!|npm error) (?:code E5\d\d|5\d\d)|503 Service Unavailable|502 Bad Gateway|504 Gateway Time-?out"
                r"|toomanyrequests|error pulling image",
    "rate limit": r"API rate limit exceeded|secondary rate limit|429 Too Many Requests",
}  # fmt: skip
INFRASTRUCTURE_OUTCOMES: Final = frozenset({"startup_failure", "stale"})
_MAX_LOG: Final = 200_000


def classify(log: str) -> str | None:
    """The class of infrastructure failure whose words stand in the log; nothing if none."""
    text = log[-_MAX_LOG:]
    return next((name for name, pattern in CLASSES.items() if re.search(pattern, text)), None)


def work(request: Request) -> Report:
    """Block those who wait for this guard if CI failed for a reason that is not the code's."""
    out = Proposing(request)
    if request.event.event not in ("workflow_run", "workflow_job", "check_run", "check_suite", "status"):
        return out.report("The event is about no CI run: passed.")
    outcome = str(request.event.fields.get("status") or "")
    if outcome in INFRASTRUCTURE_OUTCOMES:
        out.propose("block", reason=f"CI ended with {outcome}: infrastructure, not code")
        return out.report(f"CI ended with {outcome}; automation is blocked.")
    logs = request.context.get("logs")
    if not isinstance(logs, str):
        return out.report(f"CI ended with {outcome or 'no outcome'}; no logs at hand, judged by the outcome alone: passed.")
    found = classify(logs)
    if found is None:
        return out.report("No sign of an infrastructure failure in the logs: passed.")
    out.propose("block", reason=f"infrastructure failure in CI: {found}")
    return out.report(f"Infrastructure failure ({found}); automation is blocked.")
