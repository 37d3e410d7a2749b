"""A day's measures held against the same table's own past: seasonal, robust, and silent while the past is too short.
Belongs here: the judgement, on frames. Not here: measuring a day (profile), where measures are kept (profile_store)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_platform.core.contract.lineage import ROWS
from data_platform.core.contract.table import Severity, Table
from data_platform.core.quality.check_groups import ANOMALIES
from data_platform.core.quality.closed_days import is_closed
from data_platform.core.quality.measures import (
    DISTRIBUTION,
    FEWEST_DAYS,
    ROWS_OF_SHARES,
    VOLUME,
    Flags,
    Matrix,
    Measures,
)
from data_platform.core.quality.profile import FEWEST_ROWS
from data_platform.core.quality.repeated_days import repeats
from data_platform.core.quality.validation import Status, Verdict

WINDOW_DAYS = 56
"""Eight of each weekday."""
SHARE_FLOOR = 0.001
"""Differences of shares below it are noise: a tenth of a point."""
SIGNED_FLOOR = 0.05
"""The same for times: three seconds between two clocks, three minutes of a day."""
NOTHING = 1e-9
VANISHED = 4.0
"""A share, or a spread (of a number that is now always 1), that fell below a quarter of the least it ever was is
unusual, however much it varied."""
ROTATING = 0.01
"""A column is not judged value by value while a value on more than this share of rows came or went in its past, as app
versions do."""
MOST_NAMED = 5
CLOSED = "no rows, as on closed days before"

Elsewhere = Callable[[dt.date, Collection[str]], Mapping[str, str]]
"""Day, and the columns (or ROWS) that departed on it → the key of the table that tells it, where another does."""


@dataclass(frozen=True)
class Judged:
    """Three verdicts per day, and per unusual day what departed: column (or ROWS) → whether it is told here."""

    verdicts: list[Verdict]
    departed: dict[dt.date, dict[str, bool]]


def nowhere(_day: dt.date, _departed: Collection[str]) -> Mapping[str, str]:
    return {}


def judge(
    table: type[Table],
    measured: pl.DataFrame,
    history: pl.DataFrame,
    known_bad: Collection[dt.date] = (),
    elsewhere: Elsewhere = nowhere,
) -> Judged:
    """Each day in `measured` (day, measure, value) by three rules: volume, null shares, distributions.

    `history` has the same columns; its days that are measured anew, later than the day judged, or in `known_bad` are
    not learned from, nor are days of `measured` that are themselves found unusual. FEWEST_DAYS unusual days in a row
    are the new normal: from then on only they and later days are learned from. What `elsewhere` names passes here and
    says so, as does a day without rows where there were such days before; neither is learned from. Pure otherwise.
    """
    days = sorted(set(measured["day"]))
    if not days:
        return Judged([], {})
    history = history.filter(~pl.col("day").is_in(days), pl.col("day") >= days[0] - dt.timedelta(WINDOW_DAYS))
    known = pl.concat([history, measured]).filter(pl.col("day") <= days[-1])
    first = days[0] - dt.timedelta(WINDOW_DAYS)
    values, measures = _matrix(table, known, first, (days[-1] - first).days + 1)
    there = np.asarray(~np.isnan(values).all(axis=0))
    bad = {(day - first).days for day in known_bad if day >= first}
    judged = Judged([], {})
    for day in days:
        at = (day - first).days
        past = np.arange(at - WINDOW_DAYS, at)
        past = past[there[past]]
        good = _learned_from(past, bad)
        found = _judge_day(measures, values, at, good, day, elsewhere)
        judged.verdicts.extend(found.verdicts)
        judged.departed.update(found.departed)
        if found.departed:
            bad.add(at)
        else:
            bad.discard(at)
    return judged


def _learned_from(past: NDArray[np.int64], bad: Collection[int]) -> NDArray[np.int64]:
    """The days of the past without the bad ones; after so many bad days in a row, those and what came after them."""
    in_a_row = 0
    for number, day in enumerate(past.tolist()):
        in_a_row = in_a_row + 1 if day in bad else 0
        if in_a_row == FEWEST_DAYS:
            return past[number - FEWEST_DAYS + 1 :]
    return past[[day not in bad for day in past.tolist()]]


def not_judged(partition: str, rows: int, message: str, status: Status = Status.NOT_JUDGED) -> list[Verdict]:
    """The three verdicts of a day that cannot be judged, with the reason."""
    return [Verdict(rule, Severity.WARNING, partition, 0, rows, status=status, message=message) for rule in ANOMALIES]


def _matrix(table: type[Table], known: pl.DataFrame, first: dt.date, days: int) -> tuple[Matrix, Measures]:
    """One row per measure, one column per calendar day from `first`; NaN where nothing was measured."""
    names = known["measure"].unique().sort()
    measures = Measures.of(table, names.to_list())
    values = np.full((len(names), days), np.nan)
    rows = known["measure"].cast(pl.Enum(names)).to_physical().to_numpy()
    values[rows, _days_since(first, known["day"])] = known["value"].to_numpy()
    # A value that does not occur has no row: on a day on which its column was measured, its share is zero.
    for family in np.unique(measures.family[measures.absent_is_zero]):
        of_family = np.flatnonzero((measures.family == family) & measures.absent_is_zero)
        part = values[of_family]
        part[np.isnan(part) & ~np.isnan(part).all(axis=0)] = 0.0
        values[of_family] = part
    return values, measures


def _days_since(first: dt.date, days: pl.Series) -> NDArray[np.int64]:
    return days.to_physical().to_numpy().astype(np.int64) - (first - dt.date(1970, 1, 1)).days


def _judge_day(
    measures: Measures, values: Matrix, at: int, good: NDArray[np.int64], day: dt.date, elsewhere: Elsewhere
) -> Judged:
    rows = int(values[measures.names.index("rows"), at])
    if len(good) < FEWEST_DAYS:
        reason = f"{len(good)} days of history; {FEWEST_DAYS} are needed"
        return Judged(not_judged(day.isoformat(), rows, reason), {})
    look = _look(measures, values, at, good, day)
    unusual = {measures.about[one] for one in np.flatnonzero(look.excess > 1)} | ({ROWS} if look.repeated else set())
    alarming = sorted(about for about in unusual if not (look.closed and about == ROWS))
    told_at = elsewhere(day, alarming) if alarming else {}
    verdicts = [_verdict(group, measures, look, alarming, told_at) for group in ANOMALIES]
    return Judged(verdicts, {day: {about: about not in told_at for about in alarming}} if unusual else {})


@dataclass(frozen=True)
class _Look:
    """A day's measures beside what was expected of them."""

    day: dt.date
    rows: int
    today: Matrix
    expected: Expectation
    distance: Matrix
    """In usual spreads from what was expected; 0 of what is not judged."""
    excess: Matrix
    """The distance in bounds: above 1 is unusual."""
    vanished: Flags
    lowest: Matrix
    closed: bool
    """Without rows, as closed days before."""
    repeated: tuple[dt.date, int, int] | None
    """The day that it is once more, how many measures say so, and from how many on it counts."""


def _look(measures: Measures, values: Matrix, at: int, good: NDArray[np.int64], day: dt.date) -> _Look:
    rows_at = measures.names.index("rows")
    rows = int(values[rows_at, at])
    window = np.full((len(measures.names), WINDOW_DAYS), np.nan)
    window[:, good - at + WINDOW_DAYS] = values[:, good]
    today = values[:, at]
    expected = _expected(measures, window, today, rows)
    distance = np.abs(expected.today - expected.value) / expected.spread
    known = (~np.isnan(window)).sum(axis=1) >= measures.fewest_days
    known &= ~np.isnan(today) & ~_rotating(measures, window)
    judged = known & (rows >= measures.fewest_rows)
    # From zero nothing is a share of what was expected: the share of zeros, and the mean, tell what changed.
    judged &= ~(measures.is_quantile & (expected.size < NOTHING))
    distance[~judged | np.isnan(distance)] = 0.0
    lowest = _steady_lowest(measures, window, rows)
    fallen = np.minimum(measures.bound * lowest / (VANISHED * np.maximum(today, 1e-12)), 10 * measures.bound)
    may_vanish = judged | (known & measures.is_spread & (rows >= ROWS_OF_SHARES))
    vanished = may_vanish & (fallen > np.maximum(distance, measures.bound))
    distance[vanished] = fallen[vanished]
    closed = rows == 0 and is_closed(values[rows_at], good, at)
    again = repeats(values[~measures.absent_is_zero], at, WINDOW_DAYS) if rows >= ROWS_OF_SHARES else None
    repeated = (day - dt.timedelta(at - again[0]), again[1], again[2]) if again else None
    return _Look(day, rows, today, expected, distance, distance / measures.bound, vanished, lowest, closed, repeated)


def _verdict(
    group: str, measures: Measures, look: _Look, alarming: Collection[str], told_at: Mapping[str, str]
) -> Verdict:
    """One of the three, of the measures of its group. `alarming` is what departed, `told_at` the tables that tell of
    some of it."""
    found = Verdict(group, Severity.WARNING, look.day.isoformat(), 0, look.rows, status=Status.PASSED)
    of_group = np.flatnonzero(measures.group == group)
    if not len(of_group):
        return found
    about = measures.about
    order = of_group[np.argsort(-look.excess[of_group], kind="stable")]
    failing = [int(one) for one in order if look.excess[one] > 1]
    own = [one for one in failing if about[one] in alarming and about[one] not in told_at]
    worst = own[0] if own else int(order[0])
    sentences = [
        f"{measures.names[one]} is {look.today[one]:.4g}, "
        + (
            f"was never below {look.lowest[one]:.4g}"
            if look.vanished[one]
            else look.expected.in_words(one, measures.bound[one])
        )
        for one in own[:MOST_NAMED]
    ]
    repeated = look.repeated if group == DISTRIBUTION and ROWS not in told_at else None
    if repeated:
        before, count, _ = repeated
        sentences.insert(0, f"{count} measures are those of {before}: a day that came again?")
    sentences += [f"{len(own) - MOST_NAMED} more"] if len(own) > MOST_NAMED else []
    sentences += [CLOSED] if look.closed and group == VOLUME and failing else []
    others = {one: told_at[about[one]] for one in failing if about[one] in told_at}
    for key in sorted(set(others.values())):
        names = [measures.names[one] for one in others if others[one] == key]
        sentences.append(f"told at {key}: {', '.join(names[:MOST_NAMED])}")
    return replace(
        found,
        status=Status.FAILED if own or repeated else Status.PASSED,
        value=float(repeated[1]) if repeated else round(float(look.distance[worst]), 3),
        threshold=float(repeated[2]) if repeated else float(measures.bound[worst]),
        message="; ".join(sentences) or None,
    )


@dataclass(frozen=True)
class Expectation:
    """What each measure should be and how far it usually strays, on the scale it is judged on; today's value too."""

    value: Matrix
    spread: Matrix
    today: Matrix
    logs: Flags
    """Judged by the logarithm of the value plus `added`."""
    added: Matrix

    @property
    def size(self) -> Matrix:
        """The expected value on its own scale, without its sign."""
        with np.errstate(all="ignore"):
            return np.asarray(np.where(self.logs, np.exp(self.value) - self.added, np.abs(self.value)))

    def in_words(self, one: int, bound: float) -> str:
        usual, allowed = float(self.value[one]), float(self.spread[one]) * bound
        if self.logs[one]:
            usual, allowed = np.exp(usual) - self.added[one], np.exp(usual) * np.expm1(min(allowed, 50.0))
        return f"expected {usual:.4g} ± {allowed:.2g}"


def _expected(measures: Measures, window: Matrix, today: Matrix, rows: int) -> Expectation:
    """Counts and positive values are judged by their logarithm, since growth and weekdays multiply.

    The trend is the median change over half of the window between equal weekdays; the expected value is the median of
    the same weekday moved along it; the spread is that of all days around their own weekday's median.
    """
    with np.errstate(all="ignore"):
        lowest = np.min(np.where(np.isnan(window), np.inf, window), axis=1)
        added = np.where(measures.is_count, 10.0, measures.whole)
        positive = np.isfinite(lowest) & (lowest + added > 0)
        logs = measures.is_count | (positive & ~measures.is_share & ~measures.is_signed)
        # Far below all that was seen, how far says nothing more, and the logarithm of zero nothing at all.
        clip = np.where(logs, lowest / 10, -np.inf)
        scaled = np.where(logs[:, None], np.log(np.maximum(window, clip[:, None]) + added[:, None]), window)
        now = np.where(logs, np.log(np.maximum(today, clip) + added), today)
        weeks = (WINDOW_DAYS - int(np.flatnonzero(~np.isnan(window).all(axis=0))[0])) // 7
        lag = 7 * max(1, weeks // 2)
        slope = _median(scaled[:, lag:] - scaled[:, :-lag]) / lag
        slope = np.where(np.isnan(slope) | (weeks < 3), 0.0, slope)
        level = scaled + slope[:, None] * np.arange(WINDOW_DAYS, 0, -1)
        by_weekday = level.reshape(len(level), WINDOW_DAYS // 7, 7)
        usual = _median(by_weekday.swapaxes(1, 2))
        value = usual[:, 0].copy()
        without = np.isnan(value)  # no equal weekday in the window
        value[without] = _median(level[without])
        residuals = np.sort(np.abs(by_weekday - usual[:, None, :]).reshape(len(level), WINDOW_DAYS), axis=1)
        count = (~np.isnan(residuals)).sum(axis=1)
        # Half of the residuals lie within 0.674 standard deviations, nine tenths within 1.645: the larger of the two
        # estimates bears heavy tails, and up to a tenth of bad days that nobody noticed.
        half, most = (_at(residuals, count, share) for share in (0.5, 0.9))
        a_weekday = np.maximum(count / 7, 2)
        # What the medians took from the residuals, what they add to today's, and that few days know the spread badly.
        unsure = np.sqrt(a_weekday / (a_weekday - 1) * (1 + 1.57 / a_weekday)) * (1 + 4 / np.maximum(count, 1))
        size = np.where(logs, np.exp(value) - added, np.abs(value))
        floor = _floor(measures, size, np.minimum(max(rows, 1), measures.rows_most))
        floor = np.where(logs, floor / (size + added), floor)
        spread = np.maximum(np.maximum(half / 0.674, most / 1.645) * unsure, np.maximum(floor, 1e-12))
    return Expectation(value, spread, now, logs, added)


def _floor(measures: Measures, size: Matrix, rows: Matrix) -> Matrix:
    """The standard deviation of an expected value of that size that chance alone gives on so many rows."""
    share = np.clip(size, 0.0, 1.0)
    # Fewer than FEWEST_ROWS count as none, so a rare value jumps from there to zero.
    of_shares = np.maximum(np.sqrt((share * (1 - share) + FEWEST_ROWS / rows) / rows), SHARE_FLOOR)
    relative = measures.relative_floor * size
    of_whole = np.maximum(measures.step, measures.whole * np.sqrt((size + 1) / rows))
    return np.select(
        [measures.is_share, measures.is_count, measures.is_signed, measures.is_distinct],
        [
            of_shares,
            np.hypot(np.sqrt(size + 1), 2 * relative),
            np.hypot(SIGNED_FLOOR, relative),
            np.maximum(relative, 1 / rows),
        ],
        np.maximum(relative, of_whole),
    )


def _steady_lowest(measures: Measures, window: Matrix, rows: int) -> Matrix:
    """The lowest value of shares that were on many rows on every day of the window, and of spreads, which have a heavy
    tail above alone; 0 for everything else."""
    lowest = np.min(np.where(np.isnan(window), np.inf, window), axis=1)
    lowest = np.where(np.isfinite(lowest), lowest, 0.0)
    on_rows = lowest * np.minimum(rows, measures.rows_most)
    return np.where((measures.absent_is_zero & (on_rows >= VANISHED * FEWEST_ROWS)) | measures.is_spread, lowest, 0.0)


def _rotating(measures: Measures, window: Matrix) -> Flags:
    """Shares of columns whose set of values changes by itself: some value was not there at both ends of the window."""
    there = np.flatnonzero(~np.isnan(window).all(axis=0))
    third = max(1, len(there) // 3)
    seen = window > 0
    came_or_went = ~(seen[:, there[:third]].any(axis=1) & seen[:, there[-third:]].any(axis=1))
    frequent = np.nanmax(np.where(np.isnan(window), 0.0, window), axis=1) >= ROTATING
    families = np.unique(measures.family[came_or_went & frequent & measures.absent_is_zero])
    return np.isin(measures.family, families)


def _median(values: Matrix) -> Matrix:
    """The median along the last axis, without NaN; NaN where there is nothing else."""
    ordered = np.sort(values, axis=-1)
    count = (~np.isnan(ordered)).sum(axis=-1)
    low, high = np.maximum((count - 1) // 2, 0), np.minimum(count // 2, values.shape[-1] - 1)
    pick = [np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0] for at in (low, high)]
    return np.where(count > 0, (pick[0] + pick[1]) / 2, np.nan)


def _at(ordered: Matrix, count: NDArray[np.int64], share: float) -> Matrix:
    place = np.clip(np.ceil(count * share).astype(int) - 1, 0, ordered.shape[1] - 1)
    return np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
