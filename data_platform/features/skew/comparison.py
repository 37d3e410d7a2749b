"""Served vectors computed again from the lake, at the version they were served from, and compared value by value.
Not here: how they got into the lake (landing), Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError

from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.features.catalogue import FeatureSet
from data_platform.features.contracts import ServingSkew
from data_platform.features.online.vectors import feature_names, wire_type, wire_value


def skew(lake: Lake, served: pl.DataFrame, tables: Mapping[str, type[Table]]) -> pl.DataFrame:
    """Rows of quality/served_features → rows of quality/serving_skew. Sets that no contract declares are not judged."""
    grain = ["served_date", "feature_set"]
    parts = [ServingSkew.empty().lazy()]
    for (name, day, version), rows in served.group_by("feature_set", "snapshot_date", "table_version"):
        table = tables.get(str(name))
        if table is None:
            continue
        try:
            truth = lake.scan(table, day, day, int(str(version))).collect()
        except (FileNotFoundError, DeltaError):  # vacuumed since, or so is the log
            truth = None
        parts += [part.lazy() for part in _compared(table, rows, truth)]
    found = pl.concat(parts).group_by(*grain, "feature")
    totals = found.agg(pl.sum("compared", "mismatched", "not_verifiable"), pl.col("sample").drop_nulls().first())
    return totals.select(list(ServingSkew.columns)).sort(*grain, "feature").collect()


def _compared(table: type[Table], served: pl.DataFrame, truth: pl.DataFrame | None) -> Iterator[pl.DataFrame]:
    """Rows of ServingSkew for vectors of one snapshot; `truth` None: it is gone."""
    types = {name: wire_type(table.columns[name].dtype) for name in feature_names(table)}
    sent = served.select("served_date", "player_id", "names", said=pl.col("features").str.json_decode(pl.Struct(types)))
    if truth is None:
        known = sent.with_columns(is_known=pl.lit(False), true=pl.lit(None, pl.Struct(types)))
    else:
        values = [wire_value(name, table.columns[name].dtype) for name in types]
        truth = truth.select(
            pl.col(FeatureSet(table).entity).alias("player_id"), pl.struct(values).alias("true"), is_known=pl.lit(True)
        )
        known = sent.join(truth, on="player_id", how="left").with_columns(pl.col("is_known").fill_null(False))
    for name in types:
        said, true = pl.col("said").struct.field(name), pl.col("true").struct.field(name)
        judged = known.filter(pl.col("names").list.contains(name)).select(
            "served_date", "player_id", said=said, true=true, differs=~(pl.col("is_known") & said.eq_missing(true))
        )
        sample = None if truth is None else _sample(judged.filter("differs").head(1))
        counted, wrong = pl.len().cast(pl.Int64), pl.col("differs").sum().cast(pl.Int64)
        gone = truth is None
        yield (
            judged.group_by("served_date")
            .agg(
                feature_set=pl.lit(table.table_name()),
                feature=pl.lit(name),
                compared=pl.lit(0, pl.Int64) if gone else counted,
                mismatched=pl.lit(0, pl.Int64) if gone else wrong,
                not_verifiable=counted if gone else pl.lit(0, pl.Int64),
                sample=pl.lit(sample, pl.String),
            )
            .select(list(ServingSkew.columns))
        )


def _sample(wrong: pl.DataFrame) -> str | None:
    if wrong.is_empty():
        return None
    row: dict[str, Any] = wrong.row(0, named=True)
    return json.dumps({"player_id": row["player_id"], "served": row["said"], "lake": row["true"]})
