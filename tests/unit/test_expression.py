from __future__ import annotations

from typing import Any

import pytest

from potato.core.expression import ExpressionError, Reading, check, compile_expression, fields_of, parse, trace
from potato.core.value import UNKNOWN, Partial

PULL = {"event": "pull_request", "action": "opened", "label": ("bug", "codex:route"), "path": ("src/a.py", "docs/x.md"), "number": 7,
        "draft": False, "fork": True, "title": "Fix the crash", "branch": "feature/x"}  # fmt: skip


def evaluate(text: str, fields: dict[str, Any]) -> bool | None:
    node = parse(text)
    assert [f for f in check(node) if f.severity == "error"] == []
    result = compile_expression(node)(Reading(fields))
    assert trace(node, Reading(fields), text).result is result
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('event == "pull_request"', True),
        ("event == 'pull_request'", True),
        ('event != "push"', True),
        ('event in ["push", "pull_request"]', True),
        ('label ~ "codex:route"', True),
        ('label ~ "codex:*"', True),
        ('label ~ "CODEX:*"', False),
        ('label ~ "codex"', False),
        ('label == "bug" && !(label == "nope")', True),
        ('label in ["nope", "bug"]', True),
        ('any(label != "bug")', True),
        ('all(label ~ "bug")', False),
        ('none(label ~ "nope")', True),
        ('all(path ~ "**")', True),
        ("number == 7 && number < 8 && number <= 7 && number > -1 && number >= 7", True),
        ("draft", False),
        ("!draft && fork", True),
        ("draft == false", True),
        ("title ~ /(?i)fix/", True),
        ("title ~ /^crash/", False),
        ('title ~ "Fix*crash"', True),
        ("title !~ /docs/", True),
        ('branch ~ "feature/*"', True),
        ('(event == "push" || number == 7) && fork', True),
        ("!!fork", True),
        ('path ~ "src/*.py"', True),
        ('path ~ "*.py"', False),
        ('path ~ "**/*.py"', True),
        ('path ~ "**"', True),
        ('path ~ "src/**"', True),
        ('path ~ "src"', False),
        ('path ~ "src/?.py"', True),
        # absent: every clause is false, '!=' and '!~' included; '!' is plain logic
        ('tag == "v1"', False),
        ('tag != "v1"', False),
        ('!(tag == "v1")', True),
        ("tag !~ /v/", False),
        ('all(job ~ "*")', False),
        ('none(job ~ "*")', True),
    ],
)
def test_truth(text: str, expected: bool) -> None:
    assert evaluate(text, PULL) is expected


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ('path ~ "a"', {"path": UNKNOWN}, None),
        ('!(path ~ "secrets/**")', {"path": UNKNOWN}, None),
        ('path ~ "a" && draft', {"path": UNKNOWN, "draft": False}, False),
        ('path ~ "a" || draft', {"path": UNKNOWN, "draft": True}, True),
        ('path ~ "a" || draft', {"path": UNKNOWN, "draft": False}, None),
        ('path ~ "a"', {"path": Partial(("a", "b"))}, True),
        ('path ~ "c"', {"path": Partial(("a", "b"))}, None),
        ('!(path ~ "a")', {"path": Partial(("a",))}, False),
        ('all(path ~ "a")', {"path": Partial(("b",))}, False),
        ('all(path ~ "a")', {"path": Partial(("a",))}, None),
        ('none(path ~ "a")', {"path": Partial(("a",))}, False),
        ('none(path ~ "c")', {"path": Partial(("a",))}, None),
        ('all(path ~ "a")', {"path": ()}, False),
        ('none(path ~ "a")', {"path": ()}, True),
        ("fork", {"fork": UNKNOWN}, None),
        ("!fork", {"fork": UNKNOWN}, None),
    ],
)
def test_unknown_is_a_third_value(text: str, fields: dict[str, Any], expected: bool | None) -> None:
    assert evaluate(text, fields) is expected


@pytest.mark.parametrize(
    ("text", "code", "span", "hint"),
    [
        ("", "syntax-error", (0, 0), ""),
        ("event ==", "syntax-error", (8, 8), ""),
        ('event = "x"', "syntax-error", (6, 7), "Write '=='."),
        ('event == "x', "syntax-error", (9, 10), "not closed"),
        ("event == push", "syntax-error", (9, 13), 'Quote text: "push".'),
        ('draft and event == "x"', "syntax-error", (6, 9), "Write '&&'."),
        ('draft AND event == "x"', "syntax-error", (6, 9), "Write '&&'."),
        ("not draft", "syntax-error", (0, 3), "Write '!'."),
        ('contains(label, "x")', "syntax-error", (8, 9), "There are no functions"),
        ('title startswith "x"', "syntax-error", (6, 16), 'Write ~ "text*".'),
        ('label =~ "x"', "syntax-error", (6, 7), "Write '~'."),
        ("label ~ x", "syntax-error", (8, 9), 'Quote text: "x".'),
        ('action in "opened"', "syntax-error", (10, 18), 'Write in ["opened"].'),
        ("${{ x }}", "syntax-error", (0, 1), "no ${{ }}"),
        ("(draft", "syntax-error", (6, 6), ""),
        ("draft)", "syntax-error", (5, 6), ""),
        ("draft &", "syntax-error", (6, 7), "Write '&&'."),
        ('title == "a\\d"', "bad-escape", (11, 13), "between slashes"),
        ("title == /x/", "syntax-error", (9, 12), "Use '~'"),
        ("number == 99999999999999999999", "wrong-type", (10, 30), ""),
        ("any(draft && fork)", "syntax-error", (10, 12), ""),
        ('action in ["a" "b"]', "syntax-error", (15, 18), ""),
        ("(" * 100 + "draft" + ")" * 100, "too-deep", (64, 65), ""),
        ("!" * 100 + "draft", "too-deep", (64, 65), ""),
        (" && ".join(["draft"] * 2001), "too-long", (18000, 18005), "several rules"),
    ],
)
def test_syntax_errors_have_code_place_and_hint(text: str, code: str, span: tuple[int, int], hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.span) == (code, span)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "code", "at", "hint"),
    [
        ('lable ~ "x" && event == "pull_request"', "unknown-field", "lable", "Did you mean 'label'?"),
        ('files ~ "x"', "unknown-field", "files", "Did you mean 'path'?"),
        ("true", "unknown-field", "true", "A rule must test a field"),
        ('event == "pull_requests"', "unknown-value", '"pull_requests"', "Did you mean 'pull_request'?"),
        ('action == "lable"', "unknown-value", '"lable"', "Did you mean 'label"),
        ('event == "push" && label ~ "x"', "field-never-present", "label", ""),
        ('event == "pull_request" && action == "created"', "unknown-value", '"created"', ""),
        ('event == "workflow_run" && status == "completed"', "unknown-value", '"completed"', "outcome"),
        ('label != "x"', "negated-list", 'label != "x"', "!(label == ...)"),
        ('path !~ "x"', "negated-list", 'path !~ "x"', "none of them"),
        ('number == "7"', "wrong-type", '"7"', ""),
        ("title == 7", "wrong-type", "7", 'Quote it: "7".'),
        ('number ~ "7"', "wrong-type", 'number ~ "7"', ""),
        ('title < "a"', "wrong-type", 'title < "a"', ""),
        ("title", "wrong-type", "title", "Compare it"),
        ('any(title == "x")', "wrong-type", 'any(title == "x")', "Write the clause without it."),
        ("title ~ /(/", "bad-pattern", "/(/", ""),
        ("title ~ /(?=x)/", "bad-pattern", "/(?=x)/", ""),
        ('path ~ "./src"', "path-never-matches", '"./src"', 'Write "src"'),
        ('path ~ "*.{ts,js}"', "literal-brackets", '"*.{ts,js}"', "Join several globs"),
    ],
)
def test_mistakes_are_found_when_loading(text: str, code: str, at: str, hint: str) -> None:
    findings = check(parse(text))
    assert [f.code for f in findings] == [code]
    assert text[slice(*findings[0].span)] == at
    assert hint in findings[0].hint


def test_events_narrow_through_and_or_and_in() -> None:
    assert check(parse('event in ["push", "pull_request"] && label ~ "x"')) == []
    assert check(parse('(event == "push" || event == "create") && label ~ "x"'))[0].code == "field-never-present"
    assert check(parse('event == "push" || label ~ "x"')) == []


def test_free_actions_are_not_judged() -> None:
    assert check(parse('event == "repository_dispatch" && action == "anything"')) == []


def test_commands_may_have_their_slash() -> None:
    fields = {"command": ("deploy", "deploy staging")}
    for text in ('command == "/deploy"', 'command == "deploy"', 'command ~ "/deploy *"', 'command in ["/deploy"]'):
        assert evaluate(text, fields) is True


def test_fields_of() -> None:
    assert fields_of(parse('draft && !(label ~ "x" || any(path ~ "y"))')) == {"draft", "label", "path"}


def test_trace_tells_expected_actual_and_verdict() -> None:
    text = 'event == "pull_request" && !(label ~ "nope*")'
    shape = trace(parse(text), Reading(PULL), text).as_json()

    assert shape == {
        "op": "and", "result": True, "text": text, "children": [
            {"op": "==", "result": True, "text": 'event == "pull_request"', "field": "event", "expected": "pull_request",
             "actual": "pull_request", "children": []},
            {"op": "not", "result": True, "text": '!(label ~ "nope*")', "children": [
                {"op": "~", "result": False, "text": 'label ~ "nope*"', "field": "label", "expected": "nope*",
                 "actual": ["bug", "codex:route"], "children": []},
            ]},
        ],
    }  # fmt: skip


def test_trace_of_unknown_and_of_long_values() -> None:
    text = 'path ~ "x"'
    assert trace(parse(text), Reading({"path": UNKNOWN}), text).as_json()["actual"] == "unknown"
    assert trace(parse(text), Reading({"path": Partial(("a",))}), text).as_json()["actual"] == ["a", "(rest unknown)"]
    many = trace(parse(text), Reading({"path": tuple(f"f{n}" for n in range(100))}), text).as_json()
    assert many["actual"][-1] == "(+80 more)"
    assert trace(parse(text), Reading({"path": UNKNOWN}), text).as_json()["result"] is None


def test_deciding_clauses() -> None:
    text = 'event == "push" && draft || number == 8'
    assert [leaf.text for leaf in trace(parse(text), Reading(PULL), text).deciding()] == ['event == "push"', "draft", "number == 8"]
