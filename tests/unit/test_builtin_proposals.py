"""What the config layer says that built-in agents propose is what their code proposes."""

from __future__ import annotations

import re
from pathlib import Path

from potato.config.builtin_names import BUILTINS, PROPOSES

BUILTIN = Path(__file__).parents[2] / "src/potato/spokes/builtin"


def test_every_builtin_proposes_what_is_said_of_it() -> None:
    assert set(PROPOSES) == {builtin.code for builtin in BUILTINS.values()}
    for code, kinds in PROPOSES.items():
        assert set(re.findall(r"propose\(\s*\"(\w+)\"", (BUILTIN / f"{code}.py").read_text())) == kinds
