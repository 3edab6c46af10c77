"""Budgets on SQL: what a run may need is reserved before it starts, and settled once it is known."""

from __future__ import annotations

import json
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
    settle(tx, run.id, None)
    asked = Amount() if run.judged else budgets.need(run.agent)
    need = Amount(1 if attempt <= 1 else 0, asked.tokens, asked.micros)
    scopes = budgets.scopes(run.repository or "", run.number, tx.now.date().isoformat())
    for scope in scopes:
        why = shortage(scope, used(tx, scope), need, budgets.currency)
        if why:
            return scope, why
    for scope in scopes:
        _add(tx, scope.key, scope.period, need)
    keys = [[scope.key, scope.period] for scope in scopes]
    row = {"scopes": to_json(keys), "tokens": need.tokens, "micros": need.micros, "open": 1}
    again = tx.upsert(t.reservation).values(run_id=run.id, attempt=attempt, **row)
    tx.execute(again.on_conflict_do_update(index_elements=["run_id", "attempt"], set_=row))
    return None


def settle(tx: Transaction, run_id: str, usage: Usage | None) -> None:
    """Put what was used in the place of what was reserved; without a word about it, all of it was."""
    for row in tx.rows(select(t.reservation).where(t.reservation.c.run_id == run_id, t.reservation.c.open == 1)):
        mine = (t.reservation.c.run_id == run_id, t.reservation.c.attempt == row.attempt)
        tx.execute(update(t.reservation).where(*mine).values(open=0))
        if usage is None:
            continue
        difference = Amount(0, usage.tokens - row.tokens, usage.micros - row.micros)
        for key, period in json.loads(row.scopes):
            _add(tx, key, period, difference)


def used(tx: Transaction, scope: Scope) -> Amount:
    """What is used or reserved."""
    same = (t.budget.c.scope == scope.key, t.budget.c.period == scope.period)
    row = tx.connection.execute(select(t.budget).where(*same)).first()
    return Amount(row.runs, row.tokens, row.micros) if row else Amount()


def spent(tx: Transaction, today: str, limit: int = 20) -> list[Spent]:
    """The scopes of today that used most, and subjects."""
    order = (t.budget.c.micros.desc(), t.budget.c.tokens.desc(), t.budget.c.runs.desc())
    rows = tx.rows(select(t.budget).where(t.budget.c.period.in_((today, ""))).order_by(*order).limit(limit))
    return [Spent(row.scope, row.period, row.runs, row.tokens, row.micros) for row in rows]


def _add(tx: Transaction, key: str, period: str, amount: Amount) -> None:
    fresh = tx.upsert(t.budget).values(scope=key, period=period, runs=amount.runs, tokens=amount.tokens, micros=amount.micros)
    more = {"runs": t.budget.c.runs + amount.runs, "tokens": t.budget.c.tokens + amount.tokens, "micros": t.budget.c.micros + amount.micros}
    tx.execute(fresh.on_conflict_do_update(index_elements=["scope", "period"], set_=more))
