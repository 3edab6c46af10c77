"""What a guard's run means for the agents that wait for it. Fails closed: no clear pass is no pass."""

from __future__ import annotations

from collections.abc import Sequence

from potato.ports import Passage, RunRecord


def passage(guards: Sequence[RunRecord]) -> Passage:
    """Whether those who wait may run, and why not."""
    for guard in guards:
        block = next((p for p in guard.proposals if p.kind == "block"), None)
        if block is not None and block.verdict == "allow":
            return "blocked", f"guard {guard.agent}: {block.args.get('reason', 'no reason given')}"
        if block is not None:
            return "held", f"guard {guard.agent} wanted to block and was not allowed to: {block.reason}"
        denied = next((p for p in guard.proposals if p.verdict == "deny"), None)
        if denied is not None:
            return "held", f"guard {guard.agent} said something that was refused, so its pass is not clear: {denied.reason}"
        if guard.state != "succeeded":
            return "held", f"guard {guard.agent} did not pass: {guard.state}, {guard.reason}"
    return "pass", ""
