"""Random expressions, events and tables for the property tests: small alphabets, so that things often meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from potato.core.expression import parse
from potato.core.routing import Rule
from potato.core.value import UNKNOWN, Partial

WORDS = st.sampled_from(["a", "b", "ab", "a/b", "src/x.py", ""])
PATHS = st.one_of(WORDS, st.text("ab/.", max_size=7))
LISTS = st.lists(PATHS, max_size=6).map(tuple)
SCALAR = st.one_of(WORDS, st.just(UNKNOWN), st.none())
MANY = st.one_of(LISTS, LISTS.map(Partial), st.just(UNKNOWN), st.none())
EVENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"event": st.sampled_from(["pull_request", "push", "issues", None]), "title": SCALAR, "author": SCALAR, "label": MANY, "path": MANY,
     "draft": st.sampled_from([True, False, UNKNOWN, None]),
     "number": st.one_of(st.integers(-2, 9), st.just(UNKNOWN), st.none())}
).map(lambda fields: {name: value for name, value in fields.items() if value is not None})  # fmt: skip
PULL_REQUESTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"event": st.just("pull_request")},
    optional={"title": WORDS, "author": WORDS, "label": LISTS, "path": LISTS, "draft": st.booleans(), "number": st.integers(-2, 9)},
)
"""All known."""

GLOBS = st.one_of(
    st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "."]), max_size=5).map("".join),
    st.builds("{}{}{}".format, st.sampled_from(["", "a/", "a/b/", "b/"]), st.sampled_from(["", "**/"]),
              st.sampled_from(["*", "**", "a", "b", "*.a", "*.b", "*a", "a*", "?", "b/**", "a/b/**", "*/a", "b*.a"])),
)  # fmt: skip
CLAUSES = st.one_of(
    st.builds('{} {} "{}"'.format, st.sampled_from(["title", "author"]), st.sampled_from(["==", "!="]), WORDS),
    st.builds('{} {} "{}"'.format, st.sampled_from(["title", "author"]), st.sampled_from(["~", "!~"]), GLOBS),
    st.builds('{} in ["{}", "{}"]'.format, st.sampled_from(["title", "author", "label"]), WORDS, WORDS),
    st.builds('{} {} "{}"'.format, st.sampled_from(["label", "path"]), st.sampled_from(["~", "=="]), GLOBS),
    st.builds(
        "{}(path ~ /{}/)".format,
        st.sampled_from(["any", "all", "none"]),
        st.sampled_from(["a", "^b", "[ab]+$", r"\bb", "[^a]b", r"\Aa", "^$"]),
    ),
    st.builds(
        '{}({} {} "{}")'.format,
        st.sampled_from(["any", "all", "none"]),
        st.sampled_from(["label", "path"]),
        st.sampled_from(["~", "!~", "==", "!="]),
        GLOBS,
    ),
    st.builds('{}(label in ["{}", "{}"])'.format, st.sampled_from(["any", "all", "none"]), WORDS, WORDS),
    st.builds("number {} {}".format, st.sampled_from(["==", "!=", "<", ">="]), st.integers(-2, 9)),
    st.builds("draft {} {}".format, st.sampled_from(["==", "!="]), st.sampled_from(["true", "false"])),
    st.just("draft"),
    st.builds('event {} "{}"'.format, st.sampled_from(["==", "!=", "~", "!~"]), st.sampled_from(["pull_request", "push"])),
    st.just('event in ["pull_request", "push"]'),
    st.just('event ~ "pu*"'),
)
EXPRESSIONS: st.SearchStrategy[str] = st.recursive(
    CLAUSES,
    lambda inner: st.one_of(
        inner.map("!({})".format), st.builds("({} && {})".format, inner, inner), st.builds("({} || {})".format, inner, inner)
    ),
    max_leaves=8,
)


def rule(text: str, number: int, *, stop: bool = False) -> Rule:
    """A rule that runs an agent of its own."""
    return Rule(f"r{number}", number + 1, text, parse(text), ((f"agent{number}",),), stop=stop)


TABLES: st.SearchStrategy[list[Rule]] = st.lists(st.tuples(EXPRESSIONS, st.sampled_from([False, False, False, True])), max_size=12).map(
    lambda rows: [rule(text, number, stop=stop) for number, (text, stop) in enumerate(rows)]
)
