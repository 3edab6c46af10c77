"""The pure parts of control: chains, budgets, holds, freezes, CI's illness, who may answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from potato.config.calendar import Span, Weekly
from potato.config.controls import Guard
from potato.core.approval import ApprovalRule, Standing, expiry_s, missing, refusal, rules_for
from potato.core.budget import FOREVER, Amount, Budgets, Limit, Scope, money, shortage
from potato.core.hold import Hold, Reach, held_by
from potato.core.infrastructure import PATTERNS, Health, Outcome, classify, illness
from potato.core.lineage import Caps, Link, no_progress, too_deep
from potato.errors import PotatoError
from potato.hub.watchman import STALE_S, Watchman
from potato.ports.control import GuardState, Override

CHAIN = tuple(Link(f"run_{n}", "ab"[n % 2]) for n in range(9))


def test_a_chain_is_cut_at_its_cap_and_shown() -> None:
    assert too_deep(CHAIN[:4], "a", Caps(depth=4)) is None
    assert too_deep(CHAIN[:5], "b", Caps(depth=4)) == "loop: 5 runs caused each other, the cap is 4: a -> b -> a -> b -> a -> b"
    assert "... -> b -> a" in str(too_deep(CHAIN, "b", Caps(depth=4)))
    assert too_deep((), "a", Caps(depth=0)) is None
    assert too_deep(CHAIN[:1], "a", Caps(depth=0)) is not None


def test_no_progress_counts_runs_on_one_head() -> None:
    assert no_progress(9, "a", "f" * 40, Caps()) is None
    assert (
        no_progress(10, "a", "f" * 40, Caps()) == "no progress: a ran 10 times on commit ffffffffffff, the cap is 10 (loops: runs_per_head)"
    )
    assert "this subject within a day" in str(no_progress(10, "a", None, Caps()))


DAY = Scope("day", "2026-01-01", "the hub today", Limit(runs=3, tokens=100, micros=1_000_000))


@pytest.mark.parametrize(
    ("used", "need", "short"),
    [
        (Amount(2, 0, 0), Amount(1), None),
        (Amount(3, 0, 0), Amount(1), "3 of 3 runs are used or reserved, this run may need 1"),
        (Amount(0, 90, 0), Amount(1, 10), None),
        (Amount(0, 90, 0), Amount(1, 11), "90 of 100 tokens are used or reserved, this run may need 11"),
        (Amount(0, 0, 999_999), Amount(1, 0, 1), None),
        (Amount(0, 0, 1_000_000), Amount(1, 0, 1), "1.00 USD of 1.00 USD is used or reserved, this run may need 0.000001 USD"),
    ],
)
def test_a_budget_is_kept_before_it_is_exceeded(used: Amount, need: Amount, short: str | None) -> None:
    told = shortage(DAY, used, need, "USD")
    assert told == (short and f"budget of the hub today: {short}")


def test_what_a_run_needs_and_where_it_counts() -> None:
    budgets = Budgets("EUR", Limit(None, 100, 2_000_000), {"dear": Limit(None, None, 9_000_000)}, Limit(1), Limit(2), Limit(3), Limit(4))
    assert budgets.need("dear") == Amount(1, 100, 9_000_000)
    assert budgets.need("other") == Amount(1, 100, 2_000_000)
    scopes = budgets.scopes("octo/demo", 7, "2026-01-01")
    assert [(scope.key, scope.period) for scope in scopes] == [
        ("subject:octo/demo#7", FOREVER), ("repository:octo/demo", "2026-01-01"), ("organisation:octo", "2026-01-01"), ("day", "2026-01-01"),
    ]  # fmt: skip
    assert [scope.key for scope in budgets.scopes("octo/demo", None, "d")] == ["repository:octo/demo", "organisation:octo", "day"]
    assert not Budgets().any


def test_money_is_readable() -> None:
    assert [money(n, "EUR") for n in (0, 1, 1_500_000, 1_234_567_891_000, -2_000_000)] == [
        "0.00 EUR", "0.000001 EUR", "1.50 EUR", "1,234,567.891 EUR", "-2.00 EUR"]  # fmt: skip


def test_the_longest_hold_that_concerns_it_wins() -> None:
    short, long_, for_ever = (Hold(name, "why", Reach(), until) for name, until in (("short", 1.0), ("long", 9.0), ("ever", None)))
    assert held_by("o/r", "a", [short, long_]) == long_
    assert held_by("o/r", "a", [for_ever, long_]) == for_ever
    there = Hold("there", "why", Reach(("Octo/*",), ("a",)))
    assert held_by("octo/Demo", "a", [there]) == there
    assert held_by("octo/Demo", "b", [there]) is None
    assert held_by("other/demo", "a", [there]) is None


WEEKEND = Weekly(4, 18, 0, 0, 6, 0, "Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-07-03T15:59:00+00:00", None),  # Friday 17:59 in Berlin
        ("2026-07-03T16:00:00+00:00", "2026-07-06T04:00:00+00:00"),
        ("2026-07-05T12:00:00+00:00", "2026-07-06T04:00:00+00:00"),
        ("2026-07-06T04:00:00+00:00", None),
        ("2026-10-24T12:00:00+00:00", "2026-10-26T05:00:00+00:00"),  # summer ends within it: 06:00 is an hour later in UTC
        ("2026-07-08T12:00:00+00:00", None),
    ],
)
def test_a_weekly_freeze_follows_its_zone(now: str, until: str | None) -> None:
    end = WEEKEND.until(datetime.fromisoformat(now))
    assert (end.isoformat() if end else None) == until


def test_a_freeze_that_ends_the_same_weekday_lasts_a_week_but_for_the_gap() -> None:
    nearly = Weekly(0, 10, 0, 0, 9, 0)
    assert nearly.until(datetime(2026, 7, 6, 9, 30, tzinfo=UTC)) is None
    assert nearly.until(datetime(2026, 7, 6, 10, 0, tzinfo=UTC)) == datetime(2026, 7, 13, 9, 0, tzinfo=UTC)


def outcomes(*kinds: str, now: float = 10_000.0) -> list[Outcome]:
    return [Outcome(now - 10 * number, kind) for number, kind in enumerate(kinds)]


def test_ci_is_ill_when_enough_and_a_share_failed_for_its_own_reasons() -> None:
    health = Health(900, 3, 0.5)
    assert illness(outcomes("network", "disk"), health, 10_000) is None
    assert illness(outcomes("network", "disk", "own", "own", "own", "ok"), health, 10_000) is None
    assert illness(outcomes("network", "disk", "disk", "ok", "ok", "ok", "ok"), health, 10_000) is None
    told = illness(outcomes("network", "disk", "disk", "own"), health, 10_000)
    assert told is not None
    assert told[0] == "3 of 4 CI runs within 15 min failed for reasons of the infrastructure (2 disk, 1 network)"
    assert told[1] == 10_000 - 20 + 900
    assert illness(outcomes("network", "disk", "disk"), health, 10_000 + 901) is None
    assert illness(outcomes("disk", "disk", "disk"), Health(900, 3, 0.5, frozenset({"network"})), 10_000) is None


def test_outcomes_from_the_future_count_as_now() -> None:
    told = illness([Outcome(10_000 + 10**8, "disk")] * 3, Health(900, 3, 0.5), 10_000)
    assert told is not None
    assert told[1] == 10_900


def test_every_class_has_words_that_show_it() -> None:
    samples = {"disk": "write: No space left on device".lower(), "runner_lost": "lost communication with the server", "network": "ECONNRESET",
               "registry": "503 Service Unavailable", "rate_limit": "API rate limit exceeded for installation"}  # fmt: skip
    assert {classify(text) for text in samples.values()} == set(PATTERNS)
    assert classify("AssertionError: 1 != 2") is None


BOB = Standing("bob", "write", frozenset({"octo/platform"}))
TEAM = ApprovalRule("team", frozenset({"push_branch"}), required=2, teams=frozenset({"octo/Platform"}), expires_s=60.0)


def test_who_may_answer() -> None:
    assert refusal(BOB, [TEAM], ["alice"]) is None
    assert "wrote this" in str(refusal(BOB, [TEAM], ["BOB"]))
    assert "may not write" in str(refusal(Standing("bob", "triage"), [], []))
    assert "is no person" in str(refusal(Standing("x[bot]", "admin", is_person=False), [], []))
    assert "asks for one of octo/Platform" in str(refusal(Standing("carol", "admin"), [TEAM], []))
    assert refusal(Standing("carol", "admin"), [ApprovalRule("users", users=frozenset({"Carol"}))], []) is None


def test_every_rule_that_fits_counts() -> None:
    other = ApprovalRule("any", required=1)
    rules = rules_for("push_branch", "a", [TEAM, other])
    assert missing(["bob"], rules) == 1
    assert missing(["bob", "BOB"], rules) == 1
    assert missing(["bob", "carol"], rules) == 0
    assert expiry_s(rules) == 60.0
    assert [rule.name for rule in rules_for("open_pr", "a", [TEAM])] == ["default"]


class Watched:
    """What a watchman asks, in memory."""

    def __init__(self) -> None:
        self.steady, self.now_ = 1000.0, datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
        self.aside: list[Override] = []
        self.noted: list[GuardState] = []
        self.page: str | PotatoError | None = None
        self.broken = False

    def now(self) -> datetime:
        return self.now_

    def overrides(self) -> list[Override]:
        if self.broken:
            raise PotatoError("database-unusable", "it is away.")
        return self.aside

    def note(self, states: list[GuardState]) -> None:
        self.noted = states

    def outcomes(self, since: float, repositories: list[str]) -> list[Outcome]:
        return []

    async def incident(self, url: str) -> str | None:
        if isinstance(self.page, PotatoError):
            raise self.page
        return self.page

    def passes(self, seconds: float, jump: float = 0.0) -> None:
        self.steady += seconds
        self.now_ += timedelta(seconds=seconds + jump)

    def man(self, *guards: Guard) -> Watchman:
        return Watchman(lambda: guards, self, self, self, self, lambda: None, lambda: self.steady)  # type: ignore[arg-type]


FROZEN = Guard("frozen", Reach(), freeze=Span(datetime(2026, 1, 5, 11, tzinfo=UTC), datetime(2026, 1, 5, 13, tzinfo=UTC)))
PAGED = Guard("paged", Reach(), health=Health(), status="http://status.example")


async def test_before_the_first_look_and_long_after_the_last_everything_holds() -> None:
    watched = Watched()
    man = watched.man(PAGED)
    assert [hold.name for hold in man.holds()] == ["guards"]
    await man.look()
    assert man.holds() == ()
    watched.passes(STALE_S + 1)
    assert [hold.name for hold in man.holds()] == ["guards"]
    watched.broken = True
    with pytest.raises(PotatoError):
        await man.look()
    assert [hold.name for hold in man.holds()] == ["guards"]


async def test_a_freeze_holds_until_it_ends_or_is_set_aside() -> None:
    watched = Watched()
    man = watched.man(FROZEN)
    await man.look()
    assert [hold.said() for hold in man.holds()] == ["guard frozen: frozen, until 2026-01-05 13:00 UTC at least"]
    watched.aside = [Override("frozen", "alice", "urgent", "now", 10**10)]
    await man.look()
    assert man.holds() == ()
    assert watched.noted[0].reason == "set aside by alice: urgent"
    watched.aside = []
    watched.passes(3600)
    await man.look()
    assert man.holds() == ()


async def test_a_status_page_that_does_not_answer_holds() -> None:
    watched = Watched()
    man = watched.man(PAGED)
    watched.page = PotatoError("status-page-unclear", "the status page does not answer.")
    await man.look()
    assert "it cannot tell: the status page does not answer" in man.holds()[0].said()
    watched.page = "the status page says major: Actions is down"
    await man.look()
    assert "Actions is down" in man.holds()[0].said()
    watched.page = None
    watched.passes(31)
    await man.look()
    assert man.holds() == ()


@pytest.mark.parametrize("jump", [365 * 86_400.0, -365 * 86_400.0, 7200.0])
async def test_a_clock_that_jumps_holds_until_somebody_accepts_it(jump: float) -> None:
    watched = Watched()
    man = watched.man()
    await man.look()
    watched.passes(10, jump)
    await man.look()
    assert man.holds()[0].name == "guard clock"
    watched.aside = [Override("clock", "alice", "it was wrong before", "now", 10**11)]
    await man.look()
    assert man.holds() == ()


async def test_a_machine_that_slept_or_a_small_correction_holds_nothing() -> None:
    watched = Watched()
    man = watched.man()
    await man.look()
    watched.passes(86_400, 30)
    await man.look()
    assert man.holds() == ()
