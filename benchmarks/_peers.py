"""Runs a peer's engine in the peers' own environment, which `dev.py bench` makes from requirements/peers.lock.txt."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _peer_rules import inputs, programs

from potato.core.expression import Node

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
CHILD = Path(__file__).with_name("_peer_child.py")

EVERY = ("common-expression-language", "cel-expr-python", "cel-python", "regopy", "rule-engine")
FAST = EVERY[:2]


@dataclass(frozen=True)
class Measured:
    """What a peer did: microseconds an event, one for each round, and which rules matched each event."""

    version: str
    compile_s: float
    convert_us: list[float]
    evaluate_us: list[float]
    matched: list[list[int]]


def measure(peer: str, nodes: Sequence[Node], events: Sequence[Mapping[str, Any]], rounds: int) -> Measured:
    """Compile the rules in the peer's language and evaluate all of them on each event."""
    task = {"peer": peer, "programs": programs(peer, nodes), "events": inputs(peer, nodes, events), "rounds": rounds}
    done = subprocess.run([str(PYTHON), str(CHILD)], input=json.dumps(task), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer}: {done.stderr.strip()[-2000:]}")
    told = json.loads(done.stdout)
    return Measured(told["version"], told["compile_s"], told["convert_us"], told["evaluate_us"], told["matched"])
