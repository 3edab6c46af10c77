"""Is CI itself ill? Failures are told apart by fixed words in their logs, and counted over a window. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PATTERNS: Final = {
    "disk": r"no space left on device|ENOSPC|Disk quota exceeded",
    "runner_lost": r"lost communication with the server|runner has received a shutdown signal|The runner .{0,80} did not connect"
                   r"|The operation was canceled by the runner|The hosted runner encountered an error",
    "network": r"ECONNRESET|ETIMEDOUT|EAI_AGAIN|Could not resolve host|Temporary failure in name resolution|TLS handshake timeout"
               r"|Connection (?:reset by peer|timed out)|network is unreachable",
    "registry": r"(?:npm ERR!|npm error) (?:code E5\d\d|5\d\d)|503 Service Unavailable|502 Bad Gateway|504 Gateway Time-?out"
                r"|toomanyrequests|error pulling image",
    "rate_limit": r"API rate limit exceeded|secondary rate limit|429 Too Many Requests",
}  # fmt: skip
"""Each alternative is of bounded length, so a search takes linear time on hostile logs."""

CLASSES: Final = (*PATTERNS, "unclear")
"""`unclear` is a failure whose log could not be read: it counts as the infrastructure's, for nobody can say that it is not."""

OUTCOMES: Final = frozenset({"startup_failure", "stale"})
"""Conclusions that no code can cause."""

_MAX_LOG: Final = 200_000
_PERCENT: Final = 100


def classify(log: str) -> str | None:
    """The class of infrastructure failure whose words stand in the log's end; nothing if none."""
    text = log[-_MAX_LOG:]
    return next((name for name, pattern in PATTERNS.items() if re.search(pattern, text)), None)


@dataclass(frozen=True, slots=True)
class Health:
    """When to hold: at least `failures` infrastructure failures of `classes` in `window_s`, and they are `share` of all that ended."""

    window_s: float = 900.0
    failures: int = 3
    share: float = 0.3
    classes: frozenset[str] = frozenset(CLASSES)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one CI run ended: `ok`, `own`, or a class. `at` is seconds since 1970."""

    at: float
    outcome: str


def illness(outcomes: Sequence[Outcome], health: Health, now: float) -> tuple[str, float] | None:
    """What is wrong and until when it is at least, if something is. Outcomes of the future (a clock that went back) count as now."""
    recent = [one for one in outcomes if one.at > now - health.window_s]
    ill = sorted(min(one.at, now) for one in recent if one.outcome in health.classes)
    if len(ill) < health.failures or len(ill) < health.share * len(recent):
        return None
    counts = Counter(one.outcome for one in recent if one.outcome in health.classes)
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.most_common())
    minutes = health.window_s / 60
    reason = f"{len(ill)} of {len(recent)} CI runs within {minutes:.0f} min failed for reasons of the infrastructure ({told})"
    return reason, ill[-health.failures] + health.window_s
