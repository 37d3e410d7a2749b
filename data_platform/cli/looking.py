"""The command that looks at rows and changes nothing: table. Not here: how tables are (status), computing anything."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from data_platform.core.durable import move_durably
from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import (
    AsJson,
    busy,
    contract,
    day_option,
    days_from_to,
    err,
    out,
    plain_rows,
    print_json,
    show,
)

if TYPE_CHECKING:
    import polars as pl


class Format(StrEnum):
    csv = "csv"
    parquet = "parquet"
    json = "json"


def tell_unread_files() -> None:
    """Name the files in landing that nothing will ever take in."""
    from data_platform.core.discovery import landing_sources
    from data_platform.sources.unread import MOST_NAMED, UNREAD_REMEDY, unread_files

    unread = unread_files(settings().landing, landing_sources())
    if unread:
        names = ", ".join(one.in_words(settings().landing) for one in unread[:MOST_NAMED])
        are = "is" if len(unread) == 1 else "are"
        files = f"{counted(len(unread), 'file')} in {settings().landing} {are} not read: {names}. "
        err.print(Text(files, "yellow") + Text(UNREAD_REMEDY))


def table(
    key: Annotated[str, typer.Argument(metavar="TABLE", help="For example features/player_churn_features.")],
    first: Annotated[dt.datetime | None, day_option("--from", "First day to look at.")] = None,
    last: Annotated[dt.datetime | None, day_option("--to", "Last day to look at.")] = None,
    to_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write here instead of showing the first rows.")
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            help="By the extension if not given. In csv, text that a spreadsheet would compute gets an apostrophe."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Look at a table, or export it."""
    from data_platform.core.lake.damage import Reading, reporting_damage
    from data_platform.core.lake.store import configured_lake

    found = contract(key)
    lake = configured_lake()
    if not lake.exists(found):
        raise PlatformError(f"{found.key} has not been built.", f"Run `data-platform build {found.key}`.")
    days = days_from_to(first, last)
    if any(days) and not found.partition:
        raise PlatformError(f"{found.key} has no days: it is replaced whole.", "Leave out --from and --to.")
    with reporting_damage(lake, [Reading(found, *days)]):
        frame = lake.scan(found, *days)
        if to_file:
            frame = frame.sort(found.primary_key) if found.partition else frame
            there = [
                rows
                for day, rows in lake.partitions(found).select("partition", "rows").iter_rows()
                if (not days[0] or day >= str(days[0])) and (not days[1] or day <= str(days[1]))
            ]
            with busy(f"writing {counted(sum(there), 'row')} of {found.key}"):
                rows = _export(frame, to_file, format or _format_of(to_file))
            out.print(f"{counted(rows, 'row')} of {found.key} → {to_file}")
            return
        shown = frame.head(limit).collect()
    if as_json:
        print_json(plain_rows(shown))
        return
    out.print(Text(found.table_description(), "dim"))
    show(shown)


def _format_of(file: Path) -> Format:
    known = {".csv": Format.csv, ".parquet": Format.parquet, ".json": Format.json, ".ndjson": Format.json}
    if file.suffix not in known:
        raise PlatformError(f"The format of {file} is not clear.", "Add --format csv, parquet or json.")
    return known[file.suffix]


def _export(frame: pl.LazyFrame, file: Path, format: Format) -> int:
    """Write all rows, streaming, through a temporary name; rows written."""
    import polars as pl

    from data_platform.core.spreadsheets import without_formulas

    if not file.parent.is_dir():
        raise PlatformError(f"There is no folder {file.parent}.", "Create it first.")
    temporary = file.with_name(f".{file.name}.part")
    schema = frame.collect_schema()
    lists = [name for name, dtype in schema.items() if isinstance(dtype, pl.List)]
    if format != Format.parquet:
        # Text formats have no bytes.
        binary = [name for name, dtype in schema.items() if dtype == pl.Binary]
        frame = frame.with_columns(pl.col(binary).bin.encode("base64"))
    match format:
        case Format.parquet:
            frame.sink_parquet(temporary)
        case Format.json:
            frame.sink_ndjson(temporary)
        case Format.csv:
            flat = frame.with_columns(pl.col(lists).cast(pl.List(pl.String)).list.join(" "))
            without_formulas(flat).sink_csv(temporary)
    rows = int(frame.select(pl.len()).collect().item())
    move_durably(temporary, file)
    return rows
