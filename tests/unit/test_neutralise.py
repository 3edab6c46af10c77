from __future__ import annotations

import pytest

from potato.core.neutralise import markdown, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("@bob", "@&#8203;bob"),
        ("@org/team and (@x)", "@&#8203;org/team and (@&#8203;x)"),
        ("me@example.com", "me@&#8203;example.com"),
        ("Closes #1", "Closes &#8203;#&#8203;1"),
        ("closed: o/r#12", "closed: &#8203;o/r#&#8203;12"),
        ("RESOLVES GH-3", "RESOLVES &#8203;GH-&#8203;3"),
        ("fix https://github.com/o/r/issues/1", "fix &#8203;https://&#8203;github.com/o/r/issues/1"),
        ("prefix #1", "prefix #1"),
        ("see #1", "see #1"),
        ("/approve", "&#8203;/approve"),
        ("text\n  /lgtm", "text\n  &#8203;/lgtm"),
        ("> /lgtm", "> &#8203;/lgtm"),
        ("a/b and /usr/bin", "a/b and /usr/bin"),
        ("<!-- potato:comment a/b -->", "&lt;!-- potato:comment a/b -->"),
        ("<!--\n POTATO x -->", "&lt;!--\n POTATO x -->"),
        ("<!-- other -->", "<!-- other -->"),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    assert markdown(text) == expected


def test_titles_are_one_line() -> None:
    assert plain("a\r\nb\u2028c\x0bd") == "a b c d"
