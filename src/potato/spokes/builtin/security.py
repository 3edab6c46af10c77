"""Security scan of a pull request's added lines: committed secrets, piped downloads, dangerous workflows."""

from __future__ import annotations

import re
from typing import Final

from potato.ports import Report, Request
from potato.spokes.builtin.proposing import Proposing, added_lines, files_of

EVERYWHERE: Final = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY-----"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})"),
    "AWS access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "API key": re.compile(r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{24,}"),
    "download piped to a shell": re.compile(r"\b(?:curl|wget)\b[^|;&\n]{0,300}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b"),
}
WORKFLOWS: Final = {
    "pull_request_target": re.compile(r"^\s*(?:-\s*)?pull_request_target\b|\[[^\]]*\bpull_request_target\b|on:\s*pull_request_target\b"),
    "action not pinned to a commit": re.compile(r"\buses:\s*['\"]?(?!\./)(?!docker://)[\w./-]+@(?![0-9a-f]{40}\b)\S+"),
    "expression in a script": re.compile(r"\$\{\{\s*github\.(?:event\.|head_ref)"),
    "all permissions": re.compile(r"permissions:\s*write-all"),
}
_MAX_LINE: Final = 2000
_MAX_SHOWN: Final = 50


def work(request: Request) -> Report:
    """One check on the head commit: failure with every finding, or success."""
    out = Proposing(request)
    files = files_of(request)
    if files is None:
        return out.report("The changed files are not known; nothing was scanned.")
    findings: list[str] = []
    unseen = [str(file.get("path")) for file in files if "patch" not in file or file["patch"] is None]
    for file in files:
        path = str(file.get("path", ""))
        rules = EVERYWHERE | (WORKFLOWS if path.startswith(".github/workflows/") else {})
        for number, line in added_lines(file):
            findings += [f"`{path}:{number}` {name}" for name, pattern in rules.items() if pattern.search(line[:_MAX_LINE])]
    shown = "\n".join(f"- {finding}" for finding in findings[:_MAX_SHOWN])
    more = f"\n- and {len(findings) - _MAX_SHOWN} more" if len(findings) > _MAX_SHOWN else ""
    note = f"\n\nNot scanned, no diff given: {len(unseen)} file(s)." if unseen else ""
    title = f"{len(findings)} finding(s) in {len(files)} file(s)"
    conclusion = "failure" if findings else "neutral" if unseen else "success"
    out.propose("create_check", name="security-scan", conclusion=conclusion, title=title, summary=(shown + more + note) or "Nothing found.")
    return out.report(title + ".")
