"""Tables of rules and events for the benchmarks: as teams write them, in any number.

`mono_repo` is one repository whose every service has its rules; `many_repos` is an organisation's 500 repositories in one table.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

FEW = 100
SERVICES_TOUCHED = 30

_PER_SERVICE = (
    'event == "pull_request" && action in ["opened", "synchronize", "reopened"] && path ~ "services/{s}/**" && !(label ~ "skip-agents")',
    'event == "pull_request" && path ~ "services/{s}/**/*.py" && !draft',
    'event == "issues" && action in ["opened", "labeled"] && label ~ "area/{s}"',
    'event == "workflow_run" && status == "failure" && job == "test-{s}"',
    'event == "pull_request" && base == "main" && path ~ "services/{s}/migrations/*.sql" && trusted',
    'event == "issue_comment" && command == "fix-{s}" && trusted',
    'event == "pull_request" && label ~ "{s}:review" && all(path ~ "docs/{s}/**")',
    'event == "push" && branch == "main" && path ~ "services/{s}/Dockerfile"',
    'event == "pull_request" && title ~ "{s}: *" && author != "dependabot[bot]"',
    'event == "pull_request" && number >= 1 && path ~ "libs/{s}-*/src/**/test_*.py"',
)


REALISTIC = (
    'event == "pull_request" && path ~ "services/api/**" && !(label ~ "wip")',
    'event in ["issues", "issue_comment"] && title ~ "*crash*"',
    'base == "main" && path ~ "**/*.sql" && !draft',
    "number >= 100 && number != 107",
    'event == "pull_request" && all(path ~ "docs/**") && none(label ~ "skip-*")',
    'label ~ "area/*" && any(path !~ "**/*.md")',
    'trusted && !fork && action in ["opened", "reopened", "synchronize"]',
    'event == "workflow_run" && status != "success" && job ~ "test-*"',
    'branch ~ "release/*" || base ~ "release/*"',
    "title ~ /(?i)\\bwip\\b/ && draft == true",
    'path ~ "*.py" || path ~ "**/Dockerfile"',
    'path ~ "src/**/*.py" && !(path ~ "tests/**")',
    'any(path == "CODEOWNERS") && actor !~ "*[bot]"',
    'draft == false && author != "dependabot"',
    '(event == "push" || event == "pull_request") && (path ~ "**/migrations/**" || path ~ "src/*/models.py") && !(label == "ok" || fork)',
    'label in ["bug", "regression"] && none(label in ["duplicate", "invalid"])',
    'body ~ "*stack*trace*" && repository ~ "acme/*-service"',
    'all(label != "blocked") && any(label ~ "priority-?")',
    'path ~ "config/**/*.y?ml" && !(draft || fork) && number < 500',
    'event == "push" && !(path ~ /^(docs|examples)\\//) && branch == "main"',
)
"""Twenty rules of many kinds: every operator, lists, negations, globs with and without a simple form, regular expressions."""


def realistic_events() -> list[dict[str, Any]]:
    """Pull requests and a push with twenty changed files each."""
    dice = random.Random(7)  # noqa: S311 - test data
    pull = {
        "event": "pull_request", "action": "opened", "repository": "acme/pay-service", "base": "main", "branch": "retries",
        "draft": False, "fork": False, "trusted": True, "title": "Add retries", "body": "stack\ntrace", "author": "ann", "actor": "ann",
    }  # fmt: skip
    return [
        pull | {"number": 107, "label": ("area/api", "wip"), "path": _files(dice, "services/api/", "src/")},
        pull | {"number": 7, "label": ("area/api",), "path": _files(dice, "services/api/", "services/web/"), "branch": "release/1"},
        pull | {"number": 300, "label": (), "path": _files(dice, "docs/"), "draft": True, "title": "WIP: docs"},
        pull | {"number": 501, "label": ("bug", "skip-ci"), "path": _files(dice, "", "src/", "config/"), "author": "dependabot",
                "actor": "dependabot[bot]", "trusted": False},
        {"event": "push", "repository": "acme/pay-service", "branch": "main", "actor": "ann", "trusted": True,
         "path": _files(dice, "src/", "config/", "tests/")},
    ]  # fmt: skip


def _files(dice: random.Random, *roots: str) -> tuple[str, ...]:
    names = ("main.py", "README.md", "schema.sql", "Dockerfile", "models.py", "app.yml", "app.yaml", "util.go", "index.ts")
    middle = ("a/", "b/c/", "migrations/", "")
    return tuple(f"{dice.choice(roots)}{dice.choice(middle)}{n}-{dice.choice(names)}" for n in range(20))


def mono_repo(size: int) -> list[str]:
    """`size` rules of one repository."""
    every = (text.format(s=f"svc{n}") for n in range(size) for text in _PER_SERVICE)
    return list(islice(every, size))


def many_repos(size: int, repositories: int = 500) -> list[str]:
    """`size` rules, ten a repository and service; the repository of the events comes first, so that it has its rules in every size."""
    names = [f"acme/repo{(n + 7) % repositories}" for n in range(repositories)]
    every = (f'repository == "{name}" && ' + text.format(s=f"svc{n}") for n in range(size) for name in names for text in _PER_SERVICE)
    return list(islice(every, size))


def events(paths: int) -> list[dict[str, Any]]:
    """Events with that many changed paths; without paths, those of issues, comments, CI and labels."""
    common = {"repository": "acme/repo7", "owner": "acme", "actor": "alice", "trusted": True}
    if not paths:
        return [
            common | {"event": "issues", "action": "opened", "number": 12, "title": "svc1: crash on start", "author": "bob",
                      "label": ("bug", "area/svc1"), "body": "It crashes."},
            common | {"event": "issue_comment", "action": "created", "number": 12, "title": "crash", "author": "bob", "label": (),
                      "command": ("fix-svc0",), "body": "/fix-svc0", "draft": False},
            common | {"event": "workflow_run", "action": "completed", "number": 7, "status": "failure", "conclusion": "failure",
                      "job": ("ci", "test-svc0", "lint"), "workflow": "ci", "branch": "main", "fork": False},
            common | {"event": "release", "action": "published", "tag": "v1", "title": "v1", "author": "alice", "draft": False},
        ]  # fmt: skip
    changed = tuple(_path(n, paths) for n in range(paths))
    pull = common | {"event": "pull_request", "number": 7, "title": "svc0: fix login", "author": "alice", "draft": False, "fork": False,
                     "branch": "fix", "base": "main", "label": ("bug", "area/svc0"), "path": changed, "body": "Fixes #12."}  # fmt: skip
    return [
        pull | {"action": "opened"},
        pull | {"action": "labeled", "label": ("skip-agents", "svc1:review")},
        common | {"event": "push", "branch": "main", "ref": "refs/heads/main", "path": changed},
    ]


def _path(n: int, paths: int) -> str:
    service = f"svc{n % (SERVICES_TOUCHED if paths > FEW else 4)}"
    places = (
        f"services/{service}/src/api/handlers/h{n}.py",
        f"services/{service}/README.md",
        f"services/{service}/migrations/{n}.sql",
        f"web/app{n % 40}/components/c{n}.tsx",
        f"docs/{service}/page{n}.md",
        f"libs/{service}-core/src/util/test_{n}.py",
        f"tools/t{n % 25}/main.go",
    )
    return places[n % len(places)]
