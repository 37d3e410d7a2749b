"""From player events as received to clean ones: each once, the rest rejected with a reason or counted as duplicates.
Belongs here: what makes two events the same, and which of two wins. Not here: reading lines, anything computed later.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS, Column
from data_platform.core.text import says_something
from data_platform.domains.gameplay.contracts.events import PlayerEvents, PlayerEventsRejected

MISSING_EVENT_TYPE = "missing_event_type"
CONFLICTING_DUPLICATE = "conflicting_duplicate"
SAME_ID_DAYS = 7
"""How far back the same event_id on another date is looked for."""

CONTENT = tuple(PlayerEvents.columns)
"""What an event says. File, line and time of receipt are not content: a retry differs in them."""
JSON_COLUMNS = tuple(name for name, declared in PlayerEvents.columns.items() if declared.is_json)
IDENTITY = PlayerEvents.primary_key
FORMATTED_MICROSECONDS = 8 * 10**18
"""Times up to about the year 255,000 can be written as text."""
MAX_JSON_DEPTH = 100
"""Deeper payloads are compared as text. A fixed bound: Python's own depends on how deep the caller's stack is."""


@dataclass(frozen=True)
class CleanedEvents:
    """Where every raw row went: raw rows = clean + duplicates + rejected, on each day."""

    clean: pl.DataFrame
    """PlayerEvents."""
    rejected: pl.DataFrame
    """PlayerEventsRejected."""
    duplicates: pl.DataFrame
    """One row per event_date of the input: event_date, duplicates (extra copies that were dropped)."""


def clean_events(raw: pl.DataFrame) -> CleanedEvents:
    """Sort whole days of RawPlayerEvents into clean events, rejected events and a count of duplicates.

    Per (event_date, event_id): identical content is kept once; a row without event type is rejected
    (`missing_event_type`, once per distinct content); of the rest the earliest timestamp wins, then the smallest
    row_digest, and the others are rejected (`conflicting_duplicate`). The order of rows in the result is free.
    """
    events = raw.select(CONTENT)
    # Hashing the id and counting hashes takes a fifth of counting ids; a collision merely sends two rows the long way.
    plain = events["event_id"].hash().is_unique() & events.select(typed=_has_type())["typed"]
    if plain.all():
        kept, rejected, counted = events.clear(), PlayerEventsRejected.empty(), _no_copies()
    else:
        kept, rejected, counted = _examine(events.filter(~plain))
        events = events.filter(plain)
    days = raw.select(pl.col("event_date").unique())
    duplicates = days.join(counted, on="event_date", how="left").with_columns(pl.col("duplicates").fill_null(0))
    return CleanedEvents(pl.concat([events, kept]), rejected, duplicates)


def ids_on_two_dates(events: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """The event_ids of each day that also occur on an earlier date, at most 7 days before.

    In: PlayerEvents of the days and the 7 days before each. Out: one row per event_date, event_id and other_date.
    """
    dated, fingerprint = events.select("event_date", "event_id"), pl.col("event_id").hash()
    # Equal neighbours among sorted hashes: a quarter of the time of is_duplicated() on them.
    hashes = dated.select(fingerprint.sort().alias("hash"))
    suspects = hashes.filter(pl.col("hash") == pl.col("hash").shift()).unique()
    repeated = dated.join(suspects, left_on=fingerprint, right_on="hash", how="semi").unique()
    earlier = repeated.select("event_id", other_date="event_date")
    apart = pl.col("event_date") - pl.col("other_date")
    return (
        repeated.filter(pl.col("event_date").is_in(list(days)))
        .join(earlier, on="event_id")
        .filter(apart >= dt.timedelta(days=1), apart <= dt.timedelta(days=SAME_ID_DAYS))
        .select("event_date", "event_id", "other_date")
    )


def canonical_event(event: Mapping[str, str | None]) -> str:
    """The content of an event (its columns as text, see `_as_text`) as JSON, one text per value.

    Sorted keys, no spaces, ASCII only; UTC times with microseconds and Z.
    """
    fields = (f"{json.dumps(name)}:{_canonical_field(name, event[name])}" for name in sorted(CONTENT))
    return "{" + ",".join(fields) + "}"


def row_digest(canonical: str) -> str:
    """BLAKE2b of the canonical content, 16 bytes as hex: the same in every process, on every machine, for ever."""
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


# ------------------------------------------------------------------------------- the few rows that need a closer look
def _has_type() -> pl.Expr:
    return says_something("event_type")


def _no_copies() -> pl.DataFrame:
    return pl.DataFrame(schema={"event_date": pl.Date, "duplicates": pl.Int64})


def _examine(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(clean, rejected, duplicates per day) of events whose id is not alone or whose type is missing."""
    # Copies are mostly copies to the letter: counting them first leaves little for the parser below.
    texts = events.group_by(CONTENT).agg(copies=pl.len().cast(pl.Int64))
    alone = pl.struct(IDENTITY).is_unique() & _has_type()
    settled = texts.filter(alone)
    values = _by_value(texts.filter(~alone))

    typed = values.filter(_has_type()).sort("timestamp", "row_digest")
    first = pl.struct(IDENTITY).is_first_distinct()
    clean = [settled.select(CONTENT), typed.filter(first).select(CONTENT)]
    rejected = [
        _rejected(values.filter(~_has_type()), MISSING_EVENT_TYPE),
        _rejected(typed.filter(~first), CONFLICTING_DUPLICATE),
    ]
    copies = pl.concat([part.select("event_date", duplicates=pl.col("copies") - 1) for part in (settled, values)])
    return pl.concat(clean), pl.concat(rejected), copies.group_by("event_date").agg(pl.col("duplicates").sum())


def _by_value(texts: pl.DataFrame) -> pl.DataFrame:
    """One row per distinct value of the content (of several spellings the smallest), with `row` and `row_digest`."""
    rows = [canonical_event(event) for event in texts.select(_as_text()).iter_rows(named=True)]
    spelled = texts.with_columns(pl.Series("row", rows, dtype=pl.String))
    values = (
        spelled.sort(JSON_COLUMNS)
        .group_by("row", maintain_order=True)
        .agg(pl.col(CONTENT).first(), pl.col("copies").sum())
    )
    digests = pl.Series("row_digest", [row_digest(row) for row in values["row"]], dtype=pl.String)
    return values.with_columns(digests)


def _rejected(values: pl.DataFrame, reason: str) -> pl.DataFrame:
    return values.with_columns(reason=pl.lit(reason)).select(list(PlayerEventsRejected.columns))


class _Number(str):
    """A JSON number as text, so that no digit is lost to a float."""


_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _number(text: str) -> _Number:
    """One spelling per number: 1, 1.0 and 1e0 are the same, and 1e400 stays what it is."""
    try:
        exact = Decimal(text).normalize(_EXACT)
    except InvalidOperation:  # an exponent of more than 18 digits
        return _Number(text)
    if not exact:
        return _Number("0")
    return _Number(format(exact, "f") if -20 < exact.adjusted() < 20 else str(exact))


def _as_text() -> list[pl.Expr]:
    """Every column as text. Polars writes the times: Python has no year 10,000, which ingestion once let in."""
    return [_time_as_text(declared) if declared.dtype.is_temporal() else pl.col(name)
            for name, declared in PlayerEvents.columns.items()]  # fmt: skip


def _time_as_text(declared: Column) -> pl.Expr:
    time = pl.col(declared.name)
    if declared.dtype != UTC_MICROSECONDS:
        return time.dt.strftime("%Y-%m-%d")
    # Formatting panics from the year 262,143 on: such a time is told by its number of microseconds.
    can_be_written = time.to_physical().is_between(-FORMATTED_MICROSECONDS, FORMATTED_MICROSECONDS)
    written = pl.when(can_be_written).then(time).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.coalesce(written, time.to_physical().cast(pl.String)).alias(declared.name)


def _canonical_field(name: str, value: str | None) -> str:
    if value is None:
        return "null"
    return _canonical_text(value) if name in JSON_COLUMNS else json.dumps(value)


def _canonical_text(text: str) -> str:
    """The canonical form of a JSON text; a text that is no JSON, or too deep, stands for itself as a string."""
    try:
        return _canonical_value(json.loads(text, parse_int=_number, parse_float=_number), MAX_JSON_DEPTH)
    except (ValueError, RecursionError):
        return json.dumps(text)


def _canonical_value(value: Any, depth: int) -> str:
    if depth == 0:
        raise RecursionError(f"JSON deeper than {MAX_JSON_DEPTH}")
    if isinstance(value, _Number):
        return value
    if isinstance(value, dict):
        fields = (f"{json.dumps(key)}:{_canonical_value(value[key], depth - 1)}" for key in sorted(value))
        return "{" + ",".join(fields) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_canonical_value(item, depth - 1) for item in value) + "]"
    return json.dumps(value)
