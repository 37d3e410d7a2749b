"""What the verdict ledger says of each table as of now. Pure functions over rows of CheckResults.
Not here: what counts as a problem that someone is told of (alerts)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import Severity
from data_platform.core.quality.validation import Status

KEY = ("asset", "asset_partition", "check_name")
HISTORY = 100
"""Newest verdicts that are shown of a table."""
FAILING = (Status.FAILED.value, Status.ERRORED.value)


@dataclass(frozen=True)
class Counts:
    """Rules of a table by what their newest verdict on the newest day they judged was."""

    passed: int = 0
    failed: int = 0
    errored: int = 0
    not_judged: int = 0


def newest(verdicts: pl.LazyFrame) -> pl.LazyFrame:
    """The verdict that holds for each (asset, asset_partition, check_name). Same columns."""
    return verdicts.group_by(KEY).agg(pl.all().sort_by("recorded_at").last())


def counts(holding: pl.DataFrame) -> dict[str, Counts]:
    """Counts per asset, from verdicts that hold: each rule counts once, with its newest day."""
    last = holding.group_by("asset", "check_name").agg(pl.col("status").sort_by("asset_partition").last())
    found = last.group_by("asset").agg(
        (pl.col("status") == status.value).sum().alias(status.value) for status in Status
    )
    return {row.pop("asset"): Counts(**row) for row in found.to_dicts()}


def judged_days(holding: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Per asset, one row per judged day: day, judged_at, broken (an error rule fails), warned (a warning rule does)."""
    fails = pl.col("status").is_in(FAILING)
    blocks = pl.col("severity") == Severity.ERROR.value
    days = (
        holding.with_columns(day=pl.col("asset_partition").str.to_date(strict=False))
        .drop_nulls("day")
        .group_by("asset", "day")
        .agg(
            judged_at=pl.col("recorded_at").max(),
            broken=(fails & blocks).any(),
            warned=(fails & (pl.col("severity") == Severity.WARNING.value)).any(),
        )
        .sort("day")
    )
    return {str(asset): frame.drop("asset") for (asset,), frame in days.group_by("asset")}


def newest_first(verdicts: pl.LazyFrame) -> pl.DataFrame:
    """The newest hundred verdicts of each asset, all columns: newest first, failures before passes of one moment."""
    numbered = verdicts.with_row_index("number")
    failing = pl.col("status").is_in(FAILING)
    order = ("recorded_at", "failing", "asset_partition")
    # Sorted by few columns and picked by number: sorting whole rows took 400 MB for 365,000 verdicts.
    narrow = numbered.select("number", "asset", "recorded_at", "asset_partition", failing=failing)
    chosen = narrow.sort(order, descending=True).group_by("asset").head(HISTORY).select("number").collect()
    rows = numbered.join(chosen.lazy(), on="number", how="semi").drop("number").with_columns(failing=failing)
    return rows.collect().sort(order, descending=True).drop("failing")


def of_the_applied_contract(holding: pl.DataFrame) -> pl.DataFrame:
    """Without rules that a newer contract dropped: those are judged no more, and would stay failed for ever."""
    applied = pl.col("contract_version").sort_by("recorded_at").last().over("asset", "asset_partition")
    return holding.filter(pl.col("contract_version") == applied)
