"""What one run's questions to models cost, counted as they are answered, and kept within its allowance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from potato.core.budget import MICROS, Limit
from potato.core.foreign import as_object
from potato.core.text import printable
from potato.ports import Usage
from potato.ports.session import Price

_BYTES_A_TOKEN: Final = 3
"""Fewer bytes than a token usually has: where only a guess is possible, it is one on the dear side."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one answer. `input` includes those that were `cached`, and those that now are, for minutes or for an hour."""

    input: int = 0
    cached: int = 0
    output: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0

    def cost(self, price: Price) -> int:
        """In millionths of the currency."""
        plain = max(0, self.input - self.cached - self.cache_write - self.cache_write_1h)
        asked = plain * price.input + self.cached * price.cached
        kept = self.cache_write * price.cache_write + self.cache_write_1h * price.cache_write_1h
        return (asked + kept + self.output * price.output) // MICROS


class Meter:
    """Of one run."""

    def __init__(self, allowance: Limit) -> None:
        self._allowance = allowance
        self.tokens = 0
        self.micros = 0
        self.model: str | None = None

    @property
    def limited(self) -> bool:
        """Whether there is anything to keep."""
        return self._allowance.tokens is not None or self._allowance.micros is not None

    def usage(self) -> Usage | None:
        """What was used; nothing where no model was asked."""
        return Usage(self.tokens, self.micros, self.model) if self.model is not None else None

    def room(self, size_bytes: int, price: Price) -> int | None:
        """How many tokens an answer may have, after a question of this size; nothing where that is not limited. Zero means: none at all."""
        asked = size_bytes // _BYTES_A_TOKEN
        rooms: list[int] = []
        if self._allowance.tokens is not None:
            rooms.append(self._allowance.tokens - self.tokens - asked)
        if self._allowance.micros is not None:
            left = self._allowance.micros - self.micros - asked * price.dearest_input // MICROS
            rooms.append(left * MICROS // price.output if price.output else 0)
        return max(0, min(rooms)) if rooms else None

    def count(self, model: str, tokens: Tokens, price: Price) -> None:
        """An answer was given."""
        self.model = model
        self.tokens += tokens.input + tokens.output
        self.micros += tokens.cost(price)


def guess(question_bytes: int, answer_bytes: int) -> Tokens:
    """Of an answer that broke off before it told."""
    return Tokens(input=question_bytes // _BYTES_A_TOKEN, output=answer_bytes // _BYTES_A_TOKEN)


def told_by_openai(usage: Any) -> Tokens:  # noqa: ANN401 - a provider's JSON
    """Of the Responses and the Chat API. Source: https://platform.openai.com/docs/api-reference."""
    parts = as_object(usage)
    details = as_object(parts.get("input_tokens_details") or parts.get("prompt_tokens_details"))
    first = _number(parts.get("input_tokens", parts.get("prompt_tokens")))
    return Tokens(
        first, min(first, _number(details.get("cached_tokens"))), _number(parts.get("output_tokens", parts.get("completion_tokens")))
    )


def told_by_anthropic(usage: Any, before: Tokens) -> Tokens:  # noqa: ANN401 - a provider's JSON
    """Of the Messages API, where each part of a stream tells more. Source: https://docs.anthropic.com/en/api/messages-streaming."""
    parts = as_object(usage)
    read, written = _number(parts.get("cache_read_input_tokens")), _number(parts.get("cache_creation_input_tokens"))
    for_an_hour = min(written, _number(as_object(parts.get("cache_creation")).get("ephemeral_1h_input_tokens")))
    whole = _number(parts.get("input_tokens")) + read + written
    for_an_hour = max(before.cache_write_1h, for_an_hour)
    return Tokens(
        max(before.input, whole), max(before.cached, read), max(before.output, _number(parts.get("output_tokens"))),
        max(before.cache_write, written - for_an_hour), for_an_hour,
    )  # fmt: skip


def _number(value: Any) -> int:  # noqa: ANN401 - a provider's JSON
    return value if type(value) is int and value >= 0 else 0


def used_up(prices: Mapping[str, Price], model: str, allowance: Limit) -> str | None:
    """Why the cost of a model cannot be kept within an allowance, if it cannot."""
    if allowance.micros is not None and model not in prices:
        return f"the run's cost is limited, and the model '{printable(model, 100)}' has no price; add it to the provider's 'prices'"
    return None
