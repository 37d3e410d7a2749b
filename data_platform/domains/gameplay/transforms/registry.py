"""The state of players, campaigns and participants as it was known on a day, from their change logs.
Not here: how change logs and SCD2 histories are made (core/contract/change_logs), features."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.change_logs import DELETED
from data_platform.domains.gameplay.transforms.calendar import days_after, on_snapshot_days


def as_of(changes: pl.LazyFrame, day: dt.date, key: Sequence[str]) -> pl.LazyFrame:
    """The state as known at the end of `day`: the latest change per `key` up to then, deleted entities left out."""
    return _latest(changes.filter(pl.col("change_date") <= day), key).filter(~DELETED)


def as_of_days(
    changes: pl.LazyFrame, days: Sequence[dt.date], key: Sequence[str], window: int | None = None
) -> pl.LazyFrame:
    """`as_of` for many days at once: the rows known at the end of each of `days`, each with its `snapshot_date`.

    Each day's last change of an entity speaks for the days until the entity's next one. With a `window` only the
    changes of that many days, ending with the snapshot day, are looked at. Select the columns needed before.
    """
    lasts = _latest(changes, ["change_date", *key])
    last = days_after(pl.col("change_date").shift(-1).over(key, order_by="change_date"), -1)
    if window is not None:
        last = pl.min_horizontal(last, days_after(pl.col("change_date"), window - 1))
    speaking = lasts.with_columns(_last=last).filter(~DELETED)
    return on_snapshot_days(speaking, pl.col("change_date"), pl.col("_last"), days).drop("_last")


def _latest(changes: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    return changes.filter(pl.col("changed_at") == pl.col("changed_at").max().over(by))
