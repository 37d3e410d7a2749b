"""What `get_historical_features` gives back: a join that is computed when it is asked for, batch by batch.
Not here: how a row is chosen (point_in_time)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from data_platform.core.durable import move_durably
from data_platform.core.errors import PlatformError
from data_platform.core.spreadsheets import without_formulas
from data_platform.features.store.entities import Entities
from data_platform.features.store.point_in_time import DAY, FOUND, Found, Source, join_as_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STATUS = pl.Enum(["present", "null", "expired", "missing"])
"""`null`: the row says so. `expired`: the newest row is older than the time to live. `missing`: there is no row."""


@dataclass(frozen=True)
class Wanted:
    """The features of one set, and what their columns are called in the result."""

    name: str
    source: Source
    columns: Sequence[str]

    def metadata(self) -> list[str]:
        """Names of the columns that `with_status` adds."""
        return [*(f"{column}__status" for column in self.columns), f"{self.name}__snapshot_date"]


@dataclass(frozen=True)
class HistoricalFeatures:
    """The entities' rows, in their order and with all their columns, and the features beside them.

    Table versions were fixed when it was made: however late or often it is computed, the values are the same. Rows are
    joined in batches, so `write` and `batches` need memory for one batch; the `to_…` need it for the whole result.
    """

    entities: Entities
    wanted: Sequence[Wanted]
    with_status: bool = False

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns and types of the result, without computing it."""
        found = dict(self.entities.frame.collect_schema())
        for one in self.wanted:
            types = one.source.history.table.table.schema()
            found |= {column: types[name] for column, name in zip(one.columns, one.source.features, strict=True)}
        for one in self.wanted if self.with_status else ():
            *statuses, snapshot = one.metadata()
            found |= dict.fromkeys(statuses, STATUS) | {snapshot: pl.Date()}
        return found

    def batches(self) -> Iterator[pl.DataFrame]:
        """The result part by part, in order; one empty part when there are no entities."""
        for batch in self.entities.batches():
            asked = self.entities.wanted(batch)
            values: list[pl.DataFrame] = []
            statuses: list[pl.DataFrame] = []
            for one in self.wanted:
                found = join_as_of(one.source, asked, tell_expired=self.with_status)
                names = dict(zip(one.source.features, one.columns, strict=True))
                values.append(found.select(pl.col(feature).alias(name) for feature, name in names.items()))
                if self.with_status:
                    named = dict(zip(one.metadata(), one.source.features, strict=False))
                    status = [_status(feature).alias(name) for name, feature in named.items()]
                    statuses.append(found.select(*status, pl.col(DAY).alias(one.metadata()[-1])))
            yield pl.concat([batch, *values, *statuses], how="horizontal")

    def to_polars(self) -> pl.DataFrame:
        return pl.concat(list(self.batches()))

    def to_arrow(self) -> pa.Table:
        return self.to_polars().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        return self.to_polars().to_pandas()

    to_df = to_pandas
    """Feast's name."""

    def write(self, file: str | Path) -> int:
        """Write `.parquet`, `.csv` or `.ndjson`, batch by batch through a temporary name; rows written.

        Raises PlatformError for another extension or a folder that does not exist.
        """
        path = Path(file)
        writers = {".parquet": _write_parquet, ".csv": _write_csv, ".ndjson": _write_ndjson}
        if path.suffix not in writers:
            raise PlatformError(f"{path.name} has no known format.", f"Call it {' or '.join(writers)}.")
        if not path.parent.is_dir():
            raise PlatformError(f"There is no folder {path.parent}.", "Create it first.")
        temporary = path.with_name(f".{path.name}.part")
        try:
            rows = writers[path.suffix](self.batches(), temporary)
            move_durably(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return rows


def _status(feature: str) -> pl.Expr:
    given = pl.when(pl.col(feature).is_null()).then(pl.lit("null", STATUS)).otherwise(pl.lit("present", STATUS))
    return (
        pl.when(pl.col(FOUND) == Found.ROW.value)
        .then(given)
        .when(pl.col(FOUND) == Found.EXPIRED.value)
        .then(pl.lit("expired", STATUS))
        .otherwise(pl.lit("missing", STATUS))
    )


def output_names(sets: Sequence[tuple[str, Sequence[str]]], given: Sequence[str], full: bool) -> list[list[str]]:
    """Names of the feature columns per set: `feature`, or `set__feature` when full names are asked for.

    Raises PlatformError when two columns of the result would have the same name.
    """
    named = [[f"{name}__{feature}" if full else feature for feature in features] for name, features in sets]
    counted = Counter([*given, *(column for columns in named for column in columns)])
    twice = sorted(column for column, times in counted.items() if times > 1)
    if twice:
        remedy = "Rename the column of the entities." if full else "Pass full_feature_names=True, or fewer features."
        raise PlatformError(f"The result would have more than one column called {', '.join(twice)}.", remedy)
    return named


def _write_parquet(batches: Iterator[pl.DataFrame], path: Path) -> int:
    import pyarrow.parquet

    rows = 0
    writer: Any = None
    for batch in batches:
        table = batch.to_arrow()
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
        rows += len(batch)
    writer.close()
    return rows


def _write_csv(batches: Iterator[pl.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("wb") as file:
        for number, batch in enumerate(batches):
            without_formulas(batch).write_csv(file, include_header=number == 0)
            rows += len(batch)
    return rows


def _write_ndjson(batches: Iterator[pl.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("wb") as file:
        for batch in batches:
            batch.write_ndjson(file)
            rows += len(batch)
    return rows
