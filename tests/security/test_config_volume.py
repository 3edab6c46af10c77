"""Many mistakes, or much of anything, end in a short answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from potato.config.loader import load_config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("routing: [" + "a, " * 300_000 + "a]\n", "too-many-problems"),
        ("routing:\n" + "- - " * 2_000_000, "too-deep"),
        ("routing:\n" + "  - {if: draft, run: [nobody]}\n" * 20_000, "too-many-problems"),
        ("agents:\n" + "".join(f"  agent{n}: {{ref: builtin:codex_triag, permissions: [x]}}\n" for n in range(1000)), "too-many-problems"),
        ("x: " + "[" * 1_000_000, "too-deep"),
    ],
)
def test_volumes_of_mistakes(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "c.yml").write_text(text)
    started = time.process_time()
    loaded = load_config(str(tmp_path / "c.yml"))
    assert loaded.config is None
    assert code in [problem.code for problem in loaded.problems]
    assert len(loaded.problems) <= 201
    assert time.process_time() - started < 60
