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
        ("closed: o/r#12", "closed: o/r&#8203;#&#8203;12"),
        ("RESOLVES GH-3", "RESOLVES &#8203;GH-&#8203;3"),
        ("fix https://github.com/o/r/issues/1", "fix &#8203;https://&#8203;github.com/o/r/issues/1"),
        ("_fixes #1_", "_fixes &#8203;#&#8203;1_"),
        ("**Fixes** \\#1", "**Fixes** \\&#8203;#&#8203;1"),
        ("fixes <!-- --> #1", "fixes <!-- --> &#8203;#&#8203;1"),
        ("fixes #1o/r#3", "fixes &#8203;#&#8203;1o/r#3"),
        ("fixes\u200b\n#1", "fixes\n&#8203;#&#8203;1"),
        ("fixes &#35;1", "fixes &amp;#35;1"),
        ("&#64;octocat &commat;octocat &amp; &lt;b", "&amp;#64;octocat &amp;commat;octocat &amp; &lt;b"),
        ("x\r/deploy", "x\n&#8203;/deploy"),
        ("x\u2028\u3000/deploy", "x\n\u3000&#8203;/deploy"),
        ("\ufeff/deploy\u202e\0", "&#8203;/deploy"),
        ("- > /deploy", "- > &#8203;/deploy"),
        ("ünï 😀 fine\tas\nit is", "ünï 😀 fine\tas\nit is"),
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
