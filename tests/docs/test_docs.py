"""The documentation says what the code does: names are there, examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from support.cli import potato

from potato.cli.main import COMMANDS, cli
from potato.config.builtin_names import BUILTINS
from potato.config.control import ApprovalModel, BudgetsModel, FreezeModel, GuardModel, InfraHealthModel, LimitModel, LoopsModel
from potato.config.lint import CHECKS
from potato.config.loader import load_config
from potato.config.models import (
    AgentModel,
    BackfillModel,
    CageModel,
    Concurrency,
    Document,
    HubModel,
    Policies,
    PriceModel,
    ProviderModel,
    RuleModel,
    ScheduleModel,
)  # fmt: skip
from potato.config.policies import FORBID, REQUIRE
from potato.config.schema import SHIPPED, schema_text
from potato.core.expression import check, parse
from potato.core.fields import FIELDS
from potato.core.permission import DEFAULT_CAPS, PERMISSIONS, ROLE_MAY_HOLD

CONTROL = (ApprovalModel, BudgetsModel, FreezeModel, GuardModel, InfraHealthModel, LimitModel, LoopsModel)
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def text(page: str) -> str:
    return (DOCS / "reference" / f"{page}.md").read_text()


def headings(page: str) -> set[str]:
    return {name.strip("` ") for line in re.findall(r"^#+ (.+)$", text(page), re.MULTILINE) for name in line.split(",")}


def blocks(path: Path, language: str) -> list[tuple[str, str]]:
    """(title, content) of each fenced block."""
    return re.findall(rf"^```{language}(?: title=\"([^\"]+)\")?\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def test_every_field_has_its_heading_and_no_heading_lacks_its_field() -> None:
    assert headings("fields") - {"Fields"} == set(FIELDS)
    for field in FIELDS.values():
        assert field.doc.lower() in text("fields").lower()


def test_every_operator_has_a_heading() -> None:
    assert {"==", "!=", "<", "<=", ">", ">=", "in", "~", "!~", "!", "&&", "||", "any", "all", "none"} <= {
        h.strip("`") for h in headings("rules")
    }


def test_every_kind_of_proposal_with_its_cap_and_every_permission() -> None:
    kinds = headings("proposals") & PERMISSIONS
    assert kinds == set(DEFAULT_CAPS)
    for kind, cap in DEFAULT_CAPS.items():
        section = text("proposals").split(f"## {kind}\n")[1].split("\n## ")[0]
        assert f"Cap: {cap}." in section
    for permission in PERMISSIONS:
        assert f"`{permission}`" in text("proposals") or f"## {permission}\n" in text("proposals")


def test_every_builtin_agent_with_its_least_permissions_and_every_role() -> None:
    for builtin in BUILTINS.values():
        section = text("agents").split(f"### {builtin.name}\n")[1].split("\n### ")[0]
        assert set(re.findall(r"`([a-z_]+)`", section)) >= builtin.permissions | {builtin.role}
    for role, permissions in ROLE_MAY_HOLD.items():
        row = next(line for line in text("agents").splitlines() if line.startswith(f"| `{role}`"))
        assert set(re.findall(r"`([a-z_]+)`", row)) - {role} == permissions


def test_every_config_key_has_a_heading() -> None:
    keys = {
        info.alias or name
        for model in (
            Document,
            RuleModel,
            AgentModel,
            Policies,
            HubModel,
            Concurrency,
            ScheduleModel,
            BackfillModel,
            ProviderModel,
            PriceModel,
            CageModel,
            *CONTROL,
        )
        for name, info in model.model_fields.items()
    }
    assert keys <= headings("config")
    for policy in {*FORBID, *REQUIRE}:
        assert f"`{policy}`" in text("config")


def test_every_lint_finding_has_its_heading_and_no_heading_lacks_its_check() -> None:
    assert headings("lint") - {"Lint"} == set(CHECKS)


def test_every_command_and_flag_is_documented() -> None:
    page = text("cli")
    context = click.Context(cli)
    for name in COMMANDS:
        assert f"## {name}\n" in page
        command = cli.get_command(context, name)
        assert command is not None
        nested = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        for option in (
            o for c in nested for p in c.params if isinstance(p, click.Option) for o in p.opts if o.startswith("--") and o != "--help"
        ):
            assert option in page, (name, option)


def test_every_error_code_in_the_code_is_documented_and_none_is_invented() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    documented = headings("errors") - {"Errors", "Config", "Events and facts", "Runs", "Hub", "Database and log", "GitHub"}
    used = set(
        re.findall(
            r"(?:(?:Usage|Auth|Potato|Expression)Error|Uncertain|Finding|\.problem|_fail|_malformed)\(\s*(?:[^\"\n]*?,\s*)?\"([a-z]+(?:-[a-z0-9]+)+)\"",
            source,
        )
    )
    assert used - documented == set()
    assert {code for code in documented if f'"{code}"' not in source and f"{code}:" not in source} == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rules_and_configs_on_the_page_load(path: Path, tmp_path: Path) -> None:
    for _, rule in blocks(path, "rule"):
        assert check(parse(rule.strip())) == [], rule
    for title, config in blocks(path, "yaml"):
        (tmp_path / (title or "orchestrator.yml")).write_text(config)
        for prompt in re.findall(r"ref: (\S+\.md)", config):  # the page tells what stands in it
            (tmp_path / prompt).parent.mkdir(exist_ok=True)
            (tmp_path / prompt).write_text("Review the tests.\n")
        loaded = load_config(str(tmp_path / (title or "orchestrator.yml")))
        assert loaded.problems == [], config


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.slow
def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    page = DOCS / "tutorial" / "first-run.md"
    for language in ("yaml", "python", "json"):
        for title, content in blocks(page, language):
            (tmp_path / title).write_text(content)
    commands = [line[2:] for _, block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ potato ")]
    assert len(commands) == 6
    said = ""
    for command in commands:
        done = potato(*shlex.split(command)[1:], cwd=tmp_path)
        assert done.code == 0, (command, done.err)
        said += done.out
    assert "Thank you, alice." in said
    assert "greeter has no permission 'apply_labels'" in said
    (tmp_path / "orchestrator.yml").write_text((tmp_path / "orchestrator.yml").read_text().replace("[comment]", "[comment, apply_labels]"))
    assert "denied" not in potato("run", "--event", "pull_request", "--payload", "event.json", cwd=tmp_path).out


def test_the_page_on_tests_prints_what_is_printed(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "test-rules.md"
    for language in ("yaml", "yaml-tests"):
        for title, content in blocks(page, language):
            (tmp_path / title).write_text(content)
    done = potato("test", cwd=tmp_path)
    assert "$ potato test\n" + done.out + done.err == next(shown for _, shown in blocks(page, "console"))


def test_the_readmes_explanation_is_what_is_printed(tmp_path: Path) -> None:
    (_, shown), *_ = blocks(ROOT / "README.md", "text")
    (_, config), *_ = blocks(ROOT / "README.md", "yaml")
    (tmp_path / "orchestrator.yml").write_text(config)
    delivery = ROOT / "src/potato/cli/demo_data/deliveries/pull_request.labeled.json"
    printed = potato("explain", "--event", "pull_request", "--payload", delivery, cwd=tmp_path).out
    assert shown in printed


def test_the_shipped_schema_is_the_models_and_valid_draft_2020_12() -> None:
    from jsonschema import Draft202012Validator

    assert SHIPPED.read_text() == schema_text(), (
        "run: .venv/bin/python -c 'from potato.config.schema import *; SHIPPED.write_text(schema_text())'"
    )
    import json

    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_the_first_screen_has_both_commands_and_no_file_names_a_workplace() -> None:
    top = "\n".join((ROOT / "README.md").read_text().splitlines()[:25])
    assert "python3 orchestrator.py demo" in top
    assert "python3 dev.py test" in top
