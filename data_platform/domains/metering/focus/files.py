"""FOCUS rows written to a file, CSV or Parquet, whole or not at all. Not here: what the rows are (rows)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data_platform.core.durable import move_durably
from data_platform.core.errors import PlatformError
from data_platform.core.spreadsheets import without_formulas

DATE_TIME = "%Y-%m-%dT%H:%M:%SZ"


def write_focus(rows: pl.LazyFrame, file: Path) -> int:
    """Write all rows, streaming, through a temporary name; how many they are. Raises PlatformError for another format.

    In CSV, text that a spreadsheet would compute gets an apostrophe.
    """
    if not file.parent.is_dir():
        raise PlatformError(f"There is no folder {file.parent}.", "Create it first.")
    temporary = file.with_name(f".{file.name}.part")
    match file.suffix:
        case ".parquet":
            rows.sink_parquet(temporary)
            written = pl.scan_parquet(temporary)
        case ".csv":
            without_formulas(rows).sink_csv(temporary, datetime_format=DATE_TIME)
            written = pl.scan_csv(temporary, infer_schema=False)
        case _:
            raise PlatformError(f"The format of {file} is not clear.", "Name the file .csv or .parquet.")
    count = int(written.select(pl.len()).collect().item())
    move_durably(temporary, file)
    return count
