from __future__ import annotations

import pytest

from potato.core.expression.nodes import Regex
from potato.core.expression.pattern import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("", [""], ["a"]),
        ("a.b", ["a.b"], ["axb", "a.bc", "xa.b"]),
        ("*", ["", "a", "a/b", "ü\nx"], []),
        ("a*", ["a", "abc"], ["ba"]),
        ("*a", ["a", "cba"], ["ab"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("a*b*c", ["abc", "axbxc", "abbcc"], ["acb", "ab", "abcx"]),
        ("a**b", ["ab", "axb"], ["a"]),
        ("a?c", ["abc", "a/c", "aüc"], ["ac", "abbc"]),
        ("[x]", ["[x]"], ["x"]),
        ("a+(b)$", ["a+(b)$"], ["aab"]),
    ],
)
def test_globs_on_text(glob: str, yes: list[str], no: list[str]) -> None:
    matches = compile_pattern(glob, in_path=False)
    assert [text for text in yes if not matches(text)] == []
    assert [text for text in no if matches(text)] == []


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.py", ["a.py", ".py", ".hidden.py"], ["src/a.py"]),
        ("**/*.py", ["a.py", "src/a.py", "x/y/z.py"], ["a.pyc"]),
        ("src/**", ["src/a", "src/a/b", "src/.x"], ["src", "a/src/b"]),
        ("src/**/*.py", ["src/a.py", "src/b/c/a.py"], ["a.py", "src/a.js"]),
        ("**/Makefile", ["Makefile", "a/b/Makefile"], ["xMakefile", "Makefile/x"]),
        ("**.js", ["a.js", "a/b.js"], ["a.jsx"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("?/a", ["x/a"], ["//a", "xx/a"]),
        ("docs/*", ["docs/a"], ["docs/a/b"]),
        ("a.b/c", ["a.b/c"], ["axb/c"]),
        ("ä*/ö", ["äx/ö"], ["ä/x/ö"]),
    ],
)
def test_globs_on_paths(glob: str, yes: list[str], no: list[str]) -> None:
    matches = compile_pattern(glob, in_path=True)
    assert [text for text in yes if not matches(text)] == []
    assert [text for text in no if matches(text)] == []


def test_regex_is_a_search() -> None:
    matches = compile_pattern(Regex(r"b+c"), in_path=False)
    assert matches("abbcd")
    assert not matches("abd")


@pytest.mark.parametrize(
    "bad", [Regex("("), Regex("(?<=a)b"), Regex(r"\1"), Regex("a" * 3000), "*" * 100, "x" * 3000, Regex("(?:a{1000}){1000}")]
)
def test_unusable_patterns(bad: str | Regex) -> None:
    with pytest.raises(PatternError):
        compile_pattern(bad, in_path=True)
