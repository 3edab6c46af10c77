"""Budgets on SQL: what a run may need is reserved before it starts, and settled once it is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from potato.core.budget import Amount, Budgets, Scope, shortage
from potato.ports import Usage
from potato.ports.control import Spent
from potato.store import tables as t
from potato.store.database import Transaction, to_json


def reserve(tx: Transaction, budgets: Budgets, run: Any, attempt: int) -> tuple[Scope, str] | None:  # noqa: ANN401 - a row or record
    """Reserve what this attempt may need, in every scope or in none; the scope that has too little left, and why.

    `run` has id, agent, repository, number and judged: who has judged proposals needs nothing more. Attempts before this one whose end
    nobody told are taken to have used all that was reserved. Callers hold the queue's lock, so no two reserve at once.
    """
    if not budgets.any:
        return None
    if attempt > 1:
        settle(tx, run.id, None)
    asked = Amount() if run.judged else budgets.need(run.agent)
    need = Amount(1 if attempt <= 1 else 0, asked.tokens, asked.micros)
    scopes = budgets.scopes(run.repository or "", run.number, tx.now.date().isoformat())
    asking = [(scope.key, scope.period) for scope in scopes]
    used = _add(tx, asking, need)
    for scope in scopes:
        why = shortage(scope, _less(used[scope.key, scope.period], need), need, budgets.currency)
        if why:
            _add(tx, asking, _less(Amount(), need))
            return scope, why
    keys = to_json([[scope.key, scope.period] for scope in scopes])
    tx.put(_RESERVE, [(run.id, attempt, keys, need.tokens, need.micros, 1)])
    return None


def settle(tx: Transaction, run_id: str, usage: Usage | None) -> None:
    """Put what was used in the place of what was reserved; without a word about it, all of it was."""
    for row in tx.rows(select(t.reservation).where(t.reservation.c.run_id == run_id, t.reservation.c.open == 1)):
        mine = (t.reservation.c.run_id == run_id, t.reservation.c.attempt == row.attempt)
        tx.execute(update(t.reservation).where(*mine).values(open=0))
        if usage is None:
            continue
        difference = Amount(0, usage.tokens - row.tokens, usage.micros - row.micros)
        _add(tx, [(key, period) for key, period in json.loads(row.scopes)], difference)


def spent(tx: Transaction, today: str, limit: int = 20) -> list[Spent]:
    """The scopes of today that used most, and subjects."""
    order = (t.budget.c.micros.desc(), t.budget.c.tokens.desc(), t.budget.c.runs.desc())
    rows = tx.rows(select(t.budget).where(t.budget.c.period.in_((today, "")), t.budget.c.runs > 0).order_by(*order).limit(limit))
    return [Spent(row.scope, row.period, row.runs, row.tokens, row.micros) for row in rows]


def _add(tx: Transaction, keys: Sequence[tuple[str, str]], amount: Amount) -> dict[tuple[str, str], Amount]:
    """Add to what is used or reserved in each scope and period; gives what that is then."""
    rows = tx.put(_ADD, [(key, period, amount.runs, amount.tokens, amount.micros) for key, period in keys])
    return {(row.scope, row.period): Amount(row.runs, row.tokens, row.micros) for row in rows}


def _less(one: Amount, other: Amount) -> Amount:
    return Amount(one.runs - other.runs, one.tokens - other.tokens, one.micros - other.micros)


_ADD = (
    "INSERT INTO budget (scope, period, runs, tokens, micros) VALUES %VALUES% ON CONFLICT (scope, period) DO UPDATE SET "
    "runs = budget.runs + excluded.runs, tokens = budget.tokens + excluded.tokens, micros = budget.micros + excluded.micros "
    "RETURNING scope, period, runs, tokens, micros"
)
_RESERVE = (
    "INSERT INTO reservation (run_id, attempt, scopes, tokens, micros, open) VALUES %VALUES% ON CONFLICT (run_id, attempt) "
    "DO UPDATE SET scopes = excluded.scopes, tokens = excluded.tokens, micros = excluded.micros, open = 1 RETURNING run_id"
)
