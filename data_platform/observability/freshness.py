"""How fresh each table is, from facts alone: event time, newest partitions, what waits to be computed, and the clock.
Belongs here: the rule. Not here: where the facts come from (observations), Dagster, when it is asked (assets)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract import table as contract
from data_platform.core.contract.calendar import DAY, end_of, minute_text
from data_platform.observability.contracts import Freshness, FreshnessState


@dataclass(frozen=True)
class FreshnessFacts:
    """What is known of one table. A source has no inputs; its event times and heartbeat are those of the outside."""

    promise: contract.FreshnessPolicy | None = None
    inputs: tuple[str, ...] = ()
    built: bool = True
    """There is something to judge: a day or, of a table without days, the table."""
    newest: dt.date | None = None
    """Newest day that has rows or, of a computed table, that was computed as empty; None of a table without days."""
    newest_event: dt.datetime | None = None
    """Of a source: the latest event time in its newest day."""
    heartbeat: dt.datetime | None = None
    """Of a source: when it last said that it is alive, with nothing of it waiting to be taken in."""
    waiting_since: dt.datetime | None = None
    """Of a computed table: when the oldest input write that is not computed into it yet was made."""


@dataclass(frozen=True)
class FreshnessVerdict:
    """What was seen of one table. `age` counts from the moment up to which everything is in the table."""

    state: FreshnessState
    newest: dt.date | None
    expected: dt.date | None
    watermark: dt.datetime | None
    age: dt.timedelta | None
    bound: dt.timedelta | None
    """The bound that was broken; of a fresh table the one that would be broken first."""
    reason: str


@dataclass(frozen=True)
class _Reach:
    """Everything up to `until` is in the table (None: nothing says that anything is missing), because of what is told.
    `events_until` is the same by event time alone: it does not count what a living source had nothing to say."""

    until: dt.datetime | None
    events_until: dt.datetime | None
    reason: str


def judge_freshness(
    tables: Mapping[str, FreshnessFacts], now: dt.datetime, first_day: dt.date
) -> dict[str, FreshnessVerdict]:
    """One look per table that has a promise. When a run wrote never makes a table fresh; all days are UTC days.

    A table is as old as the oldest of: the newest event of the sources behind it (or their heartbeat), the oldest input
    write that waits to be computed, and, if an input has a newer day, the end of its own newest day. Besides, a table
    that is computed by day must have each day soon after that day's end, also when nothing happened.
    """
    now = now.astimezone(dt.UTC)
    reaches: dict[str, _Reach] = {}

    def reach(key: str) -> _Reach:
        if key not in reaches:
            facts = tables[key]
            reaches[key] = (
                _computed(key, facts, tables, [reach(needed) for needed in facts.inputs], now)
                if facts.inputs
                else _received(key, facts, now)
            )
        return reaches[key]

    return {
        key: _look(facts, facts.promise, reach(key), now, first_day)
        for key, facts in tables.items()
        if facts.promise is not None
    }


def looks_frame(looks: Mapping[str, FreshnessVerdict], now: dt.datetime) -> pl.DataFrame:
    """The looks as rows of quality/freshness."""
    rows = [
        {
            "recorded_date": now.astimezone(dt.UTC).date(),
            "recorded_at": now,
            "asset": key,
            "state": look.state.value,
            "newest_partition": look.newest,
            "expected_partition": look.expected,
            "watermark": look.watermark,
            "age_seconds": look.age.total_seconds() if look.age is not None else None,
            "reason": look.reason,
        }
        for key, look in looks.items()
    ]
    return pl.DataFrame(rows, schema=Freshness.schema())


def _received(key: str, facts: FreshnessFacts, now: dt.datetime) -> _Reach:
    # Nobody promised how often a source without a promise speaks: its silence holds nothing back.
    if facts.promise is None or facts.newest_event is None:
        return _Reach(None, None, "")
    newest = min(facts.newest_event, now)
    if facts.heartbeat is not None and facts.heartbeat > newest:
        alive = min(facts.heartbeat, now)
        reason = (
            f"no event of {key} is newer than {minute_text(newest)}, but its source was alive at {minute_text(alive)}"
        )
        return _Reach(alive, newest, reason)
    return _Reach(newest, newest, f"the newest event of {key} is from {minute_text(newest)}")


def _computed(
    key: str, facts: FreshnessFacts, tables: Mapping[str, FreshnessFacts], inputs: Iterable[_Reach], now: dt.datetime
) -> _Reach:
    found = [reach for reach in inputs if reach.until is not None]
    if facts.waiting_since is not None:
        since = min(facts.waiting_since, now)
        found.append(_Reach(since, since, f"what was received since {minute_text(since)} is not computed into {key}"))
    elif facts.newest is not None:
        ahead = [(tables[needed].newest or facts.newest, needed) for needed in facts.inputs]
        day, needed = max(ahead, default=(facts.newest, ""))
        if day > facts.newest:
            end = min(end_of(facts.newest), now)
            found.append(_Reach(end, end, f"the newest day of {key} is {facts.newest}, but {needed} has {day}"))
    if not found:
        return _Reach(None, None, "everything that was received is computed")
    slowest = min(found, key=lambda reach: reach.until or now)
    events = [reach.events_until for reach in found if reach.events_until is not None]
    return _Reach(slowest.until, min(events, default=None), slowest.reason)


def _look(
    facts: FreshnessFacts, promise: contract.FreshnessPolicy, reach: _Reach, now: dt.datetime, first_day: dt.date
) -> FreshnessVerdict:
    soonest = min(promise.warn or promise.fail, promise.fail)
    if not facts.built:
        reason = "Nothing has been built yet."
        return FreshnessVerdict(
            FreshnessState.NOT_BUILT, None, _due(promise, soonest, now, first_day), None, None, soonest, reason
        )
    age = now - reach.until if reach.until is not None else None
    watermark = reach.events_until or (min(end_of(facts.newest), now) if facts.newest else None)
    state, bound, reason = FreshnessState.FRESH, soonest, reach.reason
    for worse, limit in ((FreshnessState.STALE, promise.warn), (FreshnessState.CRITICAL, promise.fail)):
        if limit is None:
            continue
        if age is not None and age > limit:
            state, bound = worse, limit
            reason = f"{reach.reason}: {_span(age)} old, and more than {_span(limit)} is {worse}"
        elif missed := _missed(facts, promise, limit, now, first_day):
            state, bound, reason = worse, limit, missed
    expected = _due(promise, soonest, now, first_day) if facts.newest else None
    if state == FreshnessState.FRESH and expected and facts.newest:
        expected = min(expected, facts.newest)  # of the days since then the living source had nothing to say
    return FreshnessVerdict(state, facts.newest, expected, watermark, age, bound, f"{reason[:1].upper()}{reason[1:]}.")


def _missed(
    facts: FreshnessFacts, promise: contract.FreshnessPolicy, bound: dt.timedelta, now: dt.datetime, first_day: dt.date
) -> str | None:
    """What is said of a computed table that lacks a due day. Sources and live tables have a day as soon as something
    happens on it, which their age sees to."""
    due = _due(promise, bound, now, first_day)
    if not facts.inputs or _is_live(promise) or facts.newest is None or due is None or facts.newest >= due:
        return None
    return f"{due} should be there since {minute_text(end_of(due) + bound)}, but the newest day is {facts.newest}"


def _is_live(promise: contract.FreshnessPolicy) -> bool:
    """A table that may not be a day old follows the day while it lasts; the others are due after a day has ended."""
    return promise.fail < DAY


def _due(
    promise: contract.FreshnessPolicy, bound: dt.timedelta, now: dt.datetime, first_day: dt.date
) -> dt.date | None:
    """The last day that must be there: of a live table the one that holds the moment `bound` ago, else the last one
    that ended `bound` ago. None before the first one is due."""
    day = _day_until(now - bound) if _is_live(promise) else (now - bound).date() - DAY
    return day if day >= first_day else None


def _day_until(moment: dt.datetime) -> dt.date:
    """The day that ends with the moment or holds it: everything until midnight is yesterday's."""
    return (moment - dt.timedelta(microseconds=1)).date()


def _span(span: dt.timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
