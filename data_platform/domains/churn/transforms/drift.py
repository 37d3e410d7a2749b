"""How far one day's features are from those a model was trained on: the population stability index.
Not here: which day, which training set (assets), what is too far (the contract)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.churn.contracts.learning import ChurnFeatureDrift

BINS = 10
HALF_A_ROW = 0.5
"""Every bin counts so much more than it holds, or one new value among a million rows would be infinitely far."""


def feature_drift(
    snapshot: dt.date, rows: pl.DataFrame, training: pl.DataFrame, features: Sequence[str], training_set_id: str
) -> pl.DataFrame:
    """ChurnFeatureDrift of one day: one row per feature. In: rows of the day and of the training set, with features."""
    measured = [
        {
            "snapshot_date": snapshot,
            "feature": feature,
            "psi": stability_index(training[feature], rows[feature]),
            "chance": (BINS - 1) * (1 / len(rows) + 1 / len(training)),
            "null_share": rows[feature].null_count() / len(rows),
            "training_null_share": training[feature].null_count() / len(training),
            "rows": len(rows),
            "training_set_id": training_set_id,
        }
        for feature in features
    ]
    return conform(ChurnFeatureDrift, pl.LazyFrame(measured, schema=ChurnFeatureDrift.schema())).collect()


def stability_index(expected: pl.Series, found: pl.Series) -> float:
    """Σ (found - expected) · ln(found / expected) over the shares of ten bins; 0 for equal distributions.

    Numbers: bins between the deciles of the expected ones. Text: the values expected, and all others together. Nulls
    are a bin of their own.
    """
    counts = _counts(expected, expected), _counts(found, expected)
    places = counts[0].keys() | counts[1].keys()
    index = 0.0
    for place in places:
        was, now = (
            (count.get(place, 0) + HALF_A_ROW) / (sum(count.values()) + HALF_A_ROW * len(places)) for count in counts
        )
        index += (now - was) * math.log(now / was)
    return index


def _counts(values: pl.Series, expected: pl.Series) -> dict[object, int]:
    """Bin → values in it; the bin of nulls is None."""
    value = pl.col("value")
    if values.dtype == pl.String:
        known = expected.drop_nulls().unique().to_list()
        place = pl.when(value.is_in(known)).then(value).otherwise(pl.lit("\0other"))
    else:
        ordered = expected.drop_nulls().sort()
        ranks = [(len(ordered) * n - 1) // BINS for n in range(1, BINS)] if len(ordered) else []
        edges = ordered.gather(ranks).unique().to_list()
        place = pl.sum_horizontal(pl.lit(0), *[(value > edge).cast(pl.Int32) for edge in edges])
    placed = pl.DataFrame({"value": values}).select(place=pl.when(value.is_not_null()).then(place))
    return dict(placed.group_by("place").len().iter_rows())
