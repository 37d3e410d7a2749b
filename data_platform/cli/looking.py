"""Commands that look and change nothing: status, table. Not here: computing anything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.terminal import (
    AsJson,
    ago,
    contract,
    days_from_to,
    err,
    load_definitions,
    out,
    plain_rows,
    print_json,
    show,
)
from data_platform.core.durable import move_durably
from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings

if TYPE_CHECKING:
    import polars as pl

    from data_platform.core.lake import Lake
    from data_platform.operations.status import TableStatus


class Format(StrEnum):
    csv = "csv"
    parquet = "parquet"
    json = "json"


def status(as_json: AsJson = False) -> None:
    """Per table: rows, newest day, freshness, checks and rejected rows."""
    from data_platform.core.dagster_home import open_instance
    from data_platform.core.lake import configured_lake
    from data_platform.domains import SOURCES
    from data_platform.operations.status import all_status

    lake = configured_lake()
    load_definitions()
    with open_instance() as instance:
        statuses = all_status(lake, instance, SOURCES, dt.datetime.now(dt.UTC))
    if as_json:
        print_json([vars(s) | {"age": s.age.total_seconds() if s.age is not None else None} for s in statuses])
        return
    grid = Grid("table", "rows", "days", "newest", "freshness", "checks", "owner", box=None, pad_edge=False)
    grid.columns[0].no_wrap, grid.columns[0].min_width = True, max(len(s.key) for s in statuses)
    for name in ("rows", "days"):
        next(c for c in grid.columns if c.header == name).justify = "right"
    for s in statuses:
        checks = (
            Text("✗ " + ", ".join(s.failed_checks), "red")
            if s.failed_checks
            else Text(f"✓ {s.checks}" if s.checks else "", "green")
        )
        state = s.freshness.replace("_", " ")
        late = s.freshness in ("stale", "critical")
        fresh = Text(f"{state}{ago(s.age)}" if late else state, FRESHNESS_STYLE.get(state, ""))
        grid.add_row(
            s.key, f"{s.rows:,}", str(s.partitions or ""), s.newest or "", fresh, checks, s.owner.removeprefix("team:")
        )
    out.print(grid)
    _tell_why_not_fresh(statuses)
    _tell_withdrawn(lake)
    tell_unread_files()


def _tell_why_not_fresh(statuses: Sequence[TableStatus]) -> None:
    """One line per reason, with the tables it holds for."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for s in statuses:
        if s.freshness in ("critical", "stale"):
            reasons.setdefault((s.freshness, s.reason), []).append(s.key)
    for (state, reason), keys in sorted(reasons.items()):
        out.print(Text(f"{state}: ", FRESHNESS_STYLE[state]) + Text(f"{reason} ({', '.join(keys)})"))


def _tell_withdrawn(lake: Lake) -> None:
    from data_platform.core.received import IngestionLedger

    files = lake.scan(IngestionLedger).select("withdrawn_lines").drop_nulls().collect()
    if len(files):
        lines = files["withdrawn_lines"].sum()
        out.print(
            f"{len(files):,} files with {lines:,} lines are withdrawn: [bold]data-platform withdraw[/bold] lists them."
        )


def tell_unread_files() -> None:
    """Name the files in landing that nothing will ever take in."""
    from data_platform.domains import SOURCES
    from data_platform.sources.unread import MOST_TOLD, UNREAD_REMEDY, unread_files

    unread = unread_files(settings().landing, SOURCES)
    if unread:
        told = ", ".join(one.told(settings().landing) for one in unread[:MOST_TOLD])
        err.print(
            Text(f"{len(unread)} files in {settings().landing} are not read: {told}. ", "yellow") + Text(UNREAD_REMEDY)
        )


FRESHNESS_STYLE = {"fresh": "green", "stale": "yellow", "critical": "red", "not built": "dim"}


def table(
    key: Annotated[str, typer.Argument(help="For example features/player_churn_features.")],
    first: Annotated[dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"])] = None,
    last: Annotated[dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"])] = None,
    to_file: Annotated[Path | None, typer.Option("--out", help="Write here instead of showing the first rows.")] = None,
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
    from data_platform.core.damage import Reading, damage_told
    from data_platform.core.lake import configured_lake

    found = contract(key)
    lake = configured_lake()
    if not lake.exists(found):
        raise PlatformError(f"{found.key} has not been built.", f"Run `data-platform build {found.key}`.")
    days = days_from_to(first, last)
    if any(days) and not found.partition:
        raise PlatformError(f"{found.key} has no days: it is replaced whole.", "Leave out --from and --to.")
    with damage_told(lake, [Reading(found, *days)]):
        frame = lake.scan(found, *days)
        if to_file:
            frame = frame.sort(found.primary_key) if found.partition else frame
            rows = _export(frame, to_file, format or _format_of(to_file))
            out.print(f"{rows:,} rows of {found.key} → {to_file}")
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
