"""What a table said before it was corrected, so that any row can be read as it was known at any moment.
Belongs here: the journal of corrections, commits with it, reading as of a moment. Not here: any table, joins."""

from __future__ import annotations

import datetime as dt
import fcntl
import random
import time
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.core.contract.calendar import DAY, end_of
from data_platform.core.contract.table import UTC_MICROSECONDS, Table, column
from data_platform.core.errors import PlatformError
from data_platform.core.lake.commits import Commit, Position, StagedFile
from data_platform.core.lake.damage import damaged_files
from data_platform.core.lake.parts import in_parts
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake, StaleWriter

PUBLISHED = "published"
"""Position in a bitemporal table: when its newest publication was made, in microseconds since 1970."""
ATTEMPTS = 400
COMPARED_ROWS = 500_000
"""Most rows compared at a time: about 0.25 KB each, on either side."""
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


# ------------------------------------------------------------------------- the journal
_JOURNALS: dict[type[Table], type[Table]] = {}


def history_of(table: type[Table]) -> type[Table]:
    """The contract of a bitemporal table's journal of corrections: the table's columns and three more.

    A row says: until `known_until` the row of this day and key was this one, or (`existed` false) there was none. With
    a null key it says so of the whole day. At a moment the row with the smallest later `known_until` holds, and the
    table itself where there is none.
    """
    require_history(table)
    if table not in _JOURNALS:
        _JOURNALS[table] = _journal_contract(table)
    return _JOURNALS[table]


def require_history(table: type[Table]) -> None:
    """Raises PlatformError for a table that does not remember what was known before a correction."""
    if not table.bitemporal:
        raise PlatformError(
            f"{table.key} does not remember what was known before a correction.",
            f"Leave known_at out, or declare {table.__name__} `bitemporal = True`: it does from then on.",
        )


def _journal_contract(table: type[Table]) -> type[Table]:
    hints = typing.get_type_hints(table)
    own: dict[str, tuple[Any, Any]] = {
        "recorded_date": (dt.date, column("UTC day of the correction.")),
        "known_until": (
            dt.datetime,
            column("The row held until this moment: that of the publication that changed it."),
        ),
        "existed": (bool, column("False: until then there was no such row, or with a null key no row of the day.")),
    }
    for name, declared in table.columns.items():
        optional = hints[name] if name == table.partition else hints[name] | None
        copied = column(
            declared.description,
            unit=declared.unit,
            personal=declared.personal,
            decimals=declared.decimals,
            derived_from=[declared],
        )
        own[name] = (optional, copied)
    declaration = {
        "__doc__": f"Rows of {table.key} as they were before they were corrected: one row per day, key and correction.",
        "__module__": table.__module__,
        "__annotations__": {name: hint for name, (hint, _) in own.items()},
        "key": f"{table.key}_history",
        "partition": "recorded_date",
        "primary_key": ("recorded_date", *table.primary_key, "known_until"),
        "owner": table.owner,
        "tenant": table.tenant,
        "journal": True,
        "profiled": False,
        "sorted": False,
        **{name: described for name, (_, described) in own.items()},
    }
    made = types.new_class(f"{table.__name__}History", (Table,), exec_body=lambda body: body.update(declaration))
    return typing.cast(type[Table], made)


def entity_key(table: type[Table]) -> list[str]:
    """The primary key without the day."""
    return [name for name in table.primary_key if name != table.partition]


# ---------------------------------------------------------------------------- committing
def commit(
    lake: Lake,
    table: type[Table],
    staged: Sequence[StagedFile],
    days: Iterable[str],
    metadata: Mapping[str, str] | None = None,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Commit:
    """Replace the days by the staged files, as `Lake.commit` does; what they said before goes to the journal first.

    The moment of a commit is taken before the table is read, and it is refused when another one came in between. So
    every row of the journal is true, also one whose commit never happened: "until then it was so" is what the table
    itself still says. Days that are not over have no readers yet and leave nothing behind.

    Writers on one machine take turns. Without that, one that read first and lost could say "until 6" of what another
    replaced at 5; on an object store two writers of the same day at once still could.
    """
    with _taking_turns(lake, table):
        return _commit_in_turn(lake, table, staged, list(days), metadata, clock)


@contextmanager
def _taking_turns(lake: Lake, table: type[Table]) -> Iterator[None]:
    if not lake.local:
        yield
        return
    path = Path(lake.root) / ".locks" / f"{table.key.replace('/', '.')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _commit_in_turn(
    lake: Lake,
    table: type[Table],
    staged: Sequence[StagedFile],
    wanted: Sequence[str],
    metadata: Mapping[str, str] | None,
    clock: Callable[[], dt.datetime],
) -> Commit:
    journal = history_of(table)
    for attempt in range(ATTEMPTS):
        now = (clock() - EPOCH) // dt.timedelta(microseconds=1)
        before = lake.snapshot(table)
        if not staged and not set(before.files["partition"]) & set(wanted):
            return lake.commit(table, [], replacing=wanted, metadata=metadata)
        newest = before.position(PUBLISHED)
        moment = max(now, (newest or 0) + 1)  # also when the clock of another machine is ahead
        for corrected in _corrected(before, staged, wanted, EPOCH + dt.timedelta(microseconds=moment)):
            lake.append(journal, corrected)
        try:
            position = Position(PUBLISHED, newest, moment)
            return lake.commit(table, staged, replacing=wanted, position=position, metadata=metadata)
        except StaleWriter:
            time.sleep(random.random() * min(0.5, 0.01 * 1.3**attempt))
    raise RuntimeError(f"{table.key}: {ATTEMPTS} commits lost to other writers")


def _corrected(
    before: Snapshot, staged: Sequence[StagedFile], days: Sequence[str], moment: dt.datetime
) -> Iterator[pl.DataFrame]:
    """Rows for the journal, in parts: of the days that are over, those that appear and the rows that change."""
    lake, table = before.lake, before.table
    over = [day for day in days if end_of(dt.date.fromisoformat(day)) <= moment]
    filled = {file.partition for file in staged}
    rows = dict(before.files.group_by("partition").agg(pl.col("num_records").sum()).iter_rows())
    appearing = [dt.date.fromisoformat(day) for day in over if day not in rows and day in filled]
    if appearing:
        yield _absent_until(table, appearing, moment)
    for part in in_parts([(day, rows[day]) for day in over if day in rows], COMPARED_ROWS):
        files = before.files.filter(pl.col("partition").is_in(part))
        try:
            old = lake.scan_files(table, sorted(files["path"])).collect()
        except (pl.exceptions.PolarsError, OSError):
            # What a damaged file said is lost. That must not keep its day from being computed again, nor let what
            # is computed now pass for what was known before.
            files = files.filter(~pl.col("path").is_in(damaged_files(before, sorted(files["path"]))))
            old = lake.scan_files(table, sorted(files["path"])).collect()
        said = set(files["partition"])
        if lost := [dt.date.fromisoformat(day) for day in part if day not in said]:
            yield _absent_until(table, lost, moment)
        new = lake.scan_staged(table, [file for file in staged if file.partition in said]).collect()
        changed = changed_rows(table, old, new)
        if len(changed):
            yield _as_journal(table, changed, moment)


def changed_rows(table: type[Table], old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """What the old rows say wherever the new ones differ: the table's columns and `existed`.

    A row that only the new ones have is there with its key, nulls and `existed` false. -0.0 equals 0.0, NaN equals NaN.
    """
    key = list(table.primary_key)
    if old.select(key).equals(new.select(key)):  # as a rule: a third of the time of matching them
        return old.filter(_differ(table, old, new)).with_columns(existed=pl.lit(True))
    places = (
        old.select(key)
        .with_row_index("old_row")
        .join(new.select(key).with_row_index("new_row"), on=key, how="full", coalesce=True)
    )
    both = places.filter(pl.col("old_row").is_not_null() & pl.col("new_row").is_not_null())
    was = old[both["old_row"]]
    changed = was.filter(_differ(table, was, new[both["new_row"]]))
    vanished = old[places.filter(pl.col("new_row").is_null())["old_row"]]
    appeared = places.filter(pl.col("old_row").is_null()).select(key)
    existed = pl.concat([changed, vanished]).with_columns(existed=pl.lit(True))
    return pl.concat([existed, appeared.with_columns(existed=pl.lit(False))], how="diagonal")


def _differ(table: type[Table], old: pl.DataFrame, new: pl.DataFrame) -> pl.Series:
    """For each row whether any value is another; both frames hold the same keys in the same order."""
    differs = pl.Series([False]).new_from_index(0, len(old))
    for name in table.columns:
        if name not in table.primary_key:
            differs |= old[name].ne_missing(new[name])
    return differs


def _absent_until(table: type[Table], days: Sequence[dt.date], moment: dt.datetime) -> pl.DataFrame:
    """Rows for the journal: until the moment nothing was known of the days."""
    absent = pl.DataFrame({table.partition: days}, schema={str(table.partition): pl.Date})
    return _as_journal(table, absent.with_columns(existed=pl.lit(False)), moment)


def _as_journal(table: type[Table], rows: pl.DataFrame, moment: dt.datetime) -> pl.DataFrame:
    """The rows with all columns of the journal, by day: readers skip the parts of a file that hold other days."""
    schema = history_of(table).schema()
    known = pl.lit(moment).cast(UTC_MICROSECONDS)
    completed = rows.with_columns(known_until=known, recorded_date=pl.lit(moment.date()))
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in completed.columns]
    return completed.with_columns(absent).select(list(schema)).sort(table.primary_key)


# ------------------------------------------------------------------------------- reading
@dataclass(frozen=True)
class History:
    """A table and its journal as of one look, of a table that keeps one. The table is opened first: a correction made
    between the two is then known twice, and never missed."""

    table: Snapshot
    kept: Snapshot | None

    @property
    def journal(self) -> Snapshot:
        """Raises PlatformError for a table that keeps none."""
        require_history(self.table.table)
        assert self.kept is not None
        return self.kept

    def corrections(self, since: dt.datetime, first: dt.date, last: dt.date) -> pl.LazyFrame:
        """Journal rows of the days `first`..`last` that held until after `since`: all that can differ at a moment from
        `since` on. Columns of `history_of`. Raises PlatformError for a table that does not remember."""
        day = pl.col(str(self.table.table.partition))
        return self.journal.scan(since.date()).filter(day.is_between(first, last), pl.col("known_until") > since)


def open_history(lake: Lake, table: type[Table], version: int | None = None) -> History:
    """The table (as of a version, where given: what was committed after it is then not known) and its journal."""
    opened = lake.snapshot(table, version)
    return History(opened, lake.snapshot(history_of(table)) if table.bitemporal else None)


def scan_as_known(history: History, known_at: dt.datetime, first: dt.date, last: dt.date) -> pl.LazyFrame:
    """Rows of the days `first`..`last` as they were known at a moment: the table's columns. A day is known from its end
    on, or from its first publication if that was later."""
    table = history.table.table
    day, key = str(table.partition), entity_key(table)
    last = min(last, known_at.astimezone(dt.UTC).date() - DAY)
    said = history.corrections(known_at, first, last).sort("known_until")
    of_days = said.filter(pl.col(key[0]).is_null()).unique(day, keep="first", maintain_order=True)
    of_rows = said.filter(pl.col(key[0]).is_not_null()).unique([day, *key], keep="first", maintain_order=True)
    sooner = pl.col("absent_until").is_null() | (pl.col("known_until") < pl.col("absent_until"))
    before = of_rows.join(of_days.select(day, absent_until="known_until"), on=day, how="left")
    before = before.filter(pl.col("existed"), sooner)
    still = history.table.scan(first, last).join(of_days, on=day, how="anti").join(of_rows, on=[day, *key], how="anti")
    columns = list(table.columns)
    return pl.concat([still.select(columns), before.select(columns)])
