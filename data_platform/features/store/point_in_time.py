"""The point-in-time join: for each entity and moment the newest row that held and was known then, and none later.
Belongs here: choosing rows, reading the few days and columns they lie in. Not here: names of the result, contracts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from data_platform.core.lake.bitemporal import History
from data_platform.features.store.entities import ENTITY, KNOWN_AT, MOMENT, ROW

GROUP_ROWS = 250_000
GROUP_DAYS = 16
"""Days read together: an entity meets few rows of its own, and small days do not cost a round each."""
MOST_STRETCHES = 8
"""Days read at the same time, whatever the number of cores: each takes some 50 MB while it is decoded."""
UNLIMITED = dt.timedelta(days=36_500)

DAY, AT, TARGET, OLDEST = "_day", "_at", "_target", "_oldest"
UNTIL, EXISTED = "_until", "_existed"
FOUND = "_found"


class Found(StrEnum):
    """What was found for an entity: a row, only a row older than the time to live, or none."""

    ROW = "row"
    EXPIRED = "expired"
    NOTHING = "missing"


@dataclass(frozen=True)
class Source:
    """The feature table to read: its columns, which of them are wanted, and how long a row may stand in."""

    history: History
    day: str
    entity: str
    features: Sequence[str]
    ttl: dt.timedelta | None

    def columns(self) -> list[pl.Expr]:
        return [pl.col(self.day).alias(DAY), pl.col(self.entity).alias(ENTITY), *map(pl.col, self.features)]


@dataclass(frozen=True)
class _Group:
    """Days that are read together, and their files."""

    first: dt.date
    last: dt.date
    paths: Sequence[str]

    @classmethod
    def of(cls, days: Sequence[tuple[dt.date, list[str]]]) -> _Group:
        """From days, newest first."""
        return cls(days[-1][0], days[0][0], sorted(path for _, paths in days for path in paths))


@dataclass(frozen=True)
class _Stretch:
    """Consecutive groups, newest first, and whoever looks for a day of them."""

    groups: Sequence[_Group]
    arriving: pl.DataFrame


def join_as_of(source: Source, wanted: pl.DataFrame, tell_expired: bool = False) -> pl.DataFrame:
    """One row per wanted row, in its order: the features, `_day` (snapshot found) and `_found`.

    `wanted`: _row (0, 1, …), _entity, _moment and, to ask for what was known at a moment, _known_at. Rows of day D hold
    from D + 1, 00:00 UTC; the newest one not older than the time to live is taken. Telling expired from missing reads
    the older days too.
    """
    arriving = _with_days(wanted, None if tell_expired else source.ttl).sort(TARGET, descending=True)
    corrections = _corrections(source, arriving)
    stretches = _stretches(list(_groups(source, corrections)), arriving, _side_by_side())
    with ThreadPoolExecutor(max_workers=len(stretches) or 1) as pool:
        walked = list(pool.map(lambda one: _walk(source, one.groups, one.arriving, corrections), stretches))
    parts = [part for found, _ in walked for part in found]
    # Who found nothing between its day and the oldest one of its stretch goes on to the stretches before it.
    left = [
        rest.with_columns(pl.min_horizontal(TARGET, pl.lit(one.groups[-1].first - dt.timedelta(days=1))).alias(TARGET))
        for one, (_, rest) in zip(stretches, walked, strict=True)
    ]
    if stretches and any(map(len, left)):
        older = [group for one in stretches[1:] for group in one.groups]
        parts += _walk(source, older, pl.concat(left).sort(TARGET, descending=True), corrections)[0]
    return _in_order(source, wanted, parts)


def _walk(
    source: Source, groups: Sequence[_Group], arriving: pl.DataFrame, corrections: pl.DataFrame | None
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Go through days, newest first, with those whose target they hold, until each has found its row.

    _row, _day and features of who did, in parts; and who may still find one on older days.
    """
    waiting, arrived = arriving.clear(), 0
    parts: list[pl.DataFrame] = []
    for group in groups:
        before, arrived = arrived, int((arriving[TARGET] >= group.first).sum())
        waiting = pl.concat([waiting, arriving[before:arrived].filter(pl.col(OLDEST) <= group.last)])
        if waiting.is_empty():
            continue
        rows = _rows(source, group.paths, waiting[ENTITY])
        corrected = _of_days(corrections, group.first, group.last)
        found = _newest(waiting, rows, corrected)
        values = rows if corrected is None else pl.concat([rows, corrected.select(rows.columns)])
        parts.append(pl.concat([found.select(ROW, DAY), values[found[AT]].select(source.features)], how="horizontal"))
        waiting = waiting.filter(pl.col(OLDEST) < group.first).join(found.select(ROW), on=ROW, how="anti")
    return parts, waiting


def _side_by_side() -> int:
    return min(pl.thread_pool_size(), MOST_STRETCHES)


def _stretches(groups: Sequence[_Group], arriving: pl.DataFrame, count: int) -> list[_Stretch]:
    """The groups cut into so many stretches that about as many entities arrive at each: walked side by side, because
    reading the few rows that are wanted of a few days does not keep more than one core busy."""
    stretches: list[_Stretch] = []
    begun, before = 0, 0
    for number, group in enumerate(groups):
        arrived = int((arriving[TARGET] >= group.first).sum())
        is_last = number == len(groups) - 1
        if is_last or arrived >= len(arriving) * (len(stretches) + 1) / count:
            stretches.append(_Stretch(groups[begun : number + 1], arriving[before:arrived]))
            begun, before = number + 1, arrived
    return stretches


def _with_days(wanted: pl.DataFrame, ttl: dt.timedelta | None) -> pl.DataFrame:
    """The days whose rows may be taken: `_target`, the last one that was over (and known to be), to `_oldest`."""
    limit = pl.min_horizontal(MOMENT, KNOWN_AT) if KNOWN_AT in wanted.columns else pl.col(MOMENT)
    target = limit.dt.date() - pl.duration(days=1)
    oldest = pl.lit(dt.date.min)
    if ttl is not None and ttl < UNLIMITED:
        oldest = (pl.col(MOMENT) - ttl - pl.duration(microseconds=1)).dt.date()
    return wanted.with_columns(target.alias(TARGET), oldest.alias(OLDEST)).filter(pl.col(ENTITY).is_not_null())


def _corrections(source: Source, waiting: pl.DataFrame) -> pl.DataFrame | None:
    """What was corrected after the earliest moment of knowledge that is asked for; None when that cannot matter."""
    if KNOWN_AT not in waiting.columns or waiting.is_empty():
        return None
    since, last = waiting[KNOWN_AT].min(), waiting[TARGET].max()
    assert isinstance(since, dt.datetime)
    assert isinstance(last, dt.date)
    said = source.history.corrections(since, dt.date.min, last)
    ids = waiting[ENTITY].unique().implode()
    said = said.filter(pl.col(source.entity).is_null() | pl.col(source.entity).is_in(ids))
    found = said.select(*source.columns(), pl.col("known_until").alias(UNTIL), pl.col("existed").alias(EXISTED))
    corrections = found.collect().sort(DAY, UNTIL)
    return corrections if len(corrections) else None


def _groups(source: Source, corrections: pl.DataFrame | None) -> Iterator[_Group]:
    """The days to read together, newest first."""
    files = source.history.table.files.select("path", "num_records", pl.col("partition").str.to_date().alias(DAY))
    days = files.group_by(DAY).agg("path", pl.col("num_records").sum())
    if corrections is not None:
        days = pl.concat(
            [days, corrections.select(pl.col(DAY).unique()).join(days, on=DAY, how="anti")], how="diagonal"
        )
    group: list[tuple[dt.date, list[str]]] = []
    rows = 0
    for day, paths, records in days.sort(DAY, descending=True).iter_rows():
        if group and (rows + (records or 0) > GROUP_ROWS or len(group) == GROUP_DAYS):
            yield _Group.of(group)
            group, rows = [], 0
        group.append((day, paths or []))
        rows += records or 0
    if group:
        yield _Group.of(group)


def _rows(source: Source, paths: Sequence[str], entities: pl.Series) -> pl.DataFrame:
    """_day, _entity and the features of the entities' rows in some files; other rows are skipped while decoding."""
    table = source.history.table
    ids = entities.unique().implode()
    rows = table.lake.scan_files(table.table, paths).filter(pl.col(source.entity).is_in(ids))
    return rows.select(source.columns()).collect()


def _of_days(corrections: pl.DataFrame | None, first: dt.date, last: dt.date) -> pl.DataFrame | None:
    found = corrections.filter(pl.col(DAY).is_between(first, last)) if corrections is not None else None
    return found if found is not None and len(found) else None


# ------------------------------------------------------------------- choosing, purely
def _newest(waiting: pl.DataFrame, rows: pl.DataFrame, corrections: pl.DataFrame | None) -> pl.DataFrame:
    """_row, _day and _at for each waiting row that has one among the days given: the newest day that held.

    `_at` is the place in `rows`, with the corrections put behind them. Most rows find the very day they look for; only
    the others look at the days before it.
    """
    keys = rows.select(DAY, ENTITY).with_row_index(AT)
    said = None
    if corrections is not None:
        said = corrections.select(DAY, ENTITY, UNTIL, EXISTED).with_row_index(AT, offset=len(rows))
    exact = _known(waiting.with_columns(pl.col(TARGET).alias(DAY)), keys, said, [DAY, ENTITY])
    others = waiting.join(exact, on=ROW, how="anti")
    if others.is_empty():
        return exact
    older = _known(others, keys, said, [ENTITY])
    older = older.sort(DAY, descending=True).unique(ROW, keep="first", maintain_order=True)
    return pl.concat([exact, older])


def _known(
    waiting: pl.DataFrame, rows: pl.DataFrame, corrections: pl.DataFrame | None, key: Sequence[str]
) -> pl.DataFrame:
    """_row, _day, _at of every row that held at a waiting row's moment and was known at its moment of knowledge."""
    held = pl.col(DAY).is_between(pl.col(OLDEST), pl.col(TARGET))
    now = waiting.join(rows, on=key).filter(held)
    if corrections is None:
        return now.select(ROW, DAY, AT)
    later = pl.col(UNTIL) > pl.col(KNOWN_AT)
    of_rows = corrections.filter(pl.col(ENTITY).is_not_null())
    of_days = corrections.filter(pl.col(ENTITY).is_null()).select(DAY, absent_until=UNTIL)
    then = waiting.join(of_rows, on=key).filter(held, later)
    then = then.sort(UNTIL).unique([ROW, DAY], keep="first", maintain_order=True)
    now = now.join(then, on=[ROW, DAY], how="anti").with_columns(
        pl.lit(None, dtype=then.schema[UNTIL]).alias(UNTIL), pl.lit(True).alias(EXISTED)
    )
    columns = [ROW, DAY, AT, KNOWN_AT, UNTIL, EXISTED]
    candidates = pl.concat([now.select(columns), then.select(columns)])
    # The whole day was absent at the moment, and nothing was said of the row before the day appeared.
    hidden = candidates.join(of_days, on=DAY).filter(
        pl.col("absent_until") > pl.col(KNOWN_AT),
        pl.col(UNTIL).is_null() | (pl.col("absent_until") <= pl.col(UNTIL)),
    )
    return candidates.join(hidden, on=[ROW, DAY], how="anti").filter(pl.col(EXISTED)).select(ROW, DAY, AT)


def _in_order(source: Source, wanted: pl.DataFrame, parts: list[pl.DataFrame]) -> pl.DataFrame:
    """All parts in the order of the wanted rows, nulls where nothing was found or what was found has expired."""
    schema = source.history.table.table.schema()
    empty = pl.DataFrame(schema={ROW: pl.UInt32, DAY: pl.Date, **{name: schema[name] for name in source.features}})
    found = pl.concat([empty, *parts])
    place = pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(wanted))
    place = place.scatter(found[ROW], pl.int_range(len(found), dtype=pl.UInt32, eager=True)) if len(found) else place
    ordered = found.drop(ROW).select(pl.all().gather(place))
    return ordered.with_columns(_outcome(source.ttl, wanted[MOMENT]).alias(FOUND)).with_columns(
        pl.when(pl.col(FOUND) == Found.ROW).then(pl.col(name)).alias(name) for name in (DAY, *source.features)
    )


def _outcome(ttl: dt.timedelta | None, moment: pl.Series) -> pl.Expr:
    kinds = pl.Enum([kind.value for kind in Found])
    expired = pl.lit(False)
    if ttl is not None and ttl < UNLIMITED:
        expired = pl.col(DAY) < (moment - ttl - dt.timedelta(microseconds=1)).dt.date()
    return (
        pl.when(pl.col(DAY).is_null())
        .then(pl.lit(Found.NOTHING.value, kinds))
        .when(expired)
        .then(pl.lit(Found.EXPIRED.value, kinds))
        .otherwise(pl.lit(Found.ROW.value, kinds))
    )
