"""One tree of errors: each has a stable code, a message and, where one exists, a way to fix it."""

from __future__ import annotations

from dataclasses import dataclass

OK = 0
FAILED = 1
USAGE = 2
AUTH = 4
DENIED = 5
WAITING = 6
INTERRUPTED = 130


TRANSIENT = frozenset(
    {
        "github-unreachable",
        "github-rate-limit",
        "github-no-answer",
        "github-broken",
        "database-unusable",
        "effect-on-its-way",
        "checkout-failed",
        "paused",
        "configuration-unavailable",
    }
)
"""Codes of what may be gone in a while."""


class PotatoError(Exception):
    """Anything a user can act on. `str()` gives `code: message. hint`.

    The code is stable and documented in docs/reference/errors.md; `exit_code` is what the CLI
    returns. No message ever holds a secret or the body of a payload.
    """

    exit_code = FAILED

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" {self.hint}" if self.hint else "")

    def __reduce__(self) -> tuple[type[PotatoError], tuple[str, str, str]]:
        """Cross process boundaries by pickle without loss."""
        return type(self), (self.code, self.message, self.hint)


class UsageError(PotatoError):
    """The call, the payload or the config is wrong: exit 2, nothing was done."""

    exit_code = USAGE


class AuthError(PotatoError):
    """The forge refused the credentials: exit 4."""

    exit_code = AUTH


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a file, with its place. Lines and columns count from 1, columns in characters."""

    file: str
    line: int
    column: int
    code: str
    message: str
    severity: str = "error"
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column} {self.code}: {self.message}"
        return f"{text} {self.hint}" if self.hint else text


class ConfigError(UsageError):
    """A config that cannot be used; `problems` holds every error found, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("invalid-config", f"{len(problems)} error(s)")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:  # type: ignore[override] # another constructor
        return type(self), (self.problems,)
