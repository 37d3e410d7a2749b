"""From player events as received to clean ones: each once, the rest rejected with a reason or counted as duplicates.
Belongs here: what makes two events the same, and which of two wins. Not here: reading lines, anything computed later.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.canonical import as_text, canonical_row, row_digest
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
    rows = [
        canonical_row(PlayerEvents.columns, event)
        for event in texts.select(as_text(PlayerEvents.columns)).iter_rows(named=True)
    ]
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
