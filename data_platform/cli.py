"""The command line: `data-platform simulate | ingest | build | status | table | demo`.
Belongs here: arguments, progress, tables on the screen, errors as one paragraph. Not here: what the commands do."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid
from rich.text import Text

from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
PIPED_WIDTH = 160
out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Day = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]


class Format(StrEnum):
    csv = "csv"
    parquet = "parquet"
    json = "json"


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """A data platform for a game: from raw player events to churn features."""
    _debug.append(debug)


_debug: list[bool] = []


@app.command()
def simulate(
    to: Annotated[
        Path, typer.Option(help="Landing root to write to; the platform's own is DATA_PLATFORM_HOME/landing.")
    ],
    players: Annotated[int, typer.Option(min=1)] = 500,
    days: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    start: Day = None,
    dirty: Annotated[bool, typer.Option("--dirty", help="Add duplicates, late events, broken lines and more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the events and change files of a pretend game, the same ones for the same arguments."""
    from data_platform.simulation import simulate as run

    first = start.date() if start else _today() - dt.timedelta(days=days)
    began = time.perf_counter()
    with _progress("simulating", days, "days") as advance:
        try:
            truth = run(players, days, seed, first, to, dirty, lambda done, _total: advance(f"{done} days", done))
        except FileExistsError as error:
            raise PlatformError(f"{error}.", "Name an empty folder, or the same arguments again.") from None
    events, seconds = truth.totals["received"], time.perf_counter() - began
    if as_json:
        _print_json({"to": str(to), "events": events, "seconds": round(seconds, 2), "truth": str(to / "truth.json")})
    else:
        out.print(
            f"{events:,} event lines of {players:,} players over {days} days from {first}, in {seconds:.1f} s → {to}"
        )


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(help="csv, tsv, json, ndjson or parquet, compressed or not.")],
    mapping: Annotated[Path, typer.Option(help="One DuckDB SELECT over `input` that yields the event columns.")],
    as_json: AsJson = False,
) -> None:
    """Bring your own events: map files to canonical events and put them into landing."""
    from data_platform.gameplay.sources import PLAYER_EVENTS
    from data_platform.sources.mapping import map_file

    mapped = []
    with _progress("mapping", len(files), "files") as advance:
        for number, file in enumerate(files, 1):
            mapped.append(map_file(file, mapping, PLAYER_EVENTS, settings().landing))
            advance(file.name, number)
    if as_json:
        _print_json([{"file": str(m.source), "rows": m.rows, "landed": str(m.landed)} for m in mapped])
        return
    for m in mapped:
        out.print(f"{m.rows:>10,} rows  {m.source.name} → {m.landed}")
    out.print(f"{sum(m.rows for m in mapped):>10,} rows in landing. Next: [bold]data-platform build[/bold]")


@app.command()
def build(
    selection: Annotated[
        list[str] | None, typer.Argument(help="Tables or groups, with all they need; all by default.")
    ] = None,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day to compute.")
    ] = None,
    last: Annotated[dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day to compute.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take in what has landed and compute the days that are out of date (or exactly the days given)."""
    built, seconds = _build(selection or [], first, last)
    if as_json:
        _print_json(
            {
                "runs": built.runs,
                "partitions": built.partitions,
                "failures": built.failures,
                "seconds": round(seconds, 2),
            }
        )
    if built.failures:
        raise PlatformError(
            "The build stopped: " + " | ".join(built.failures),
            "What was published before stays; correct the cause and build again.",
        )
    if not as_json:
        out.print(f"{built.partitions:,} partitions written by {built.runs} Dagster runs in {seconds:.1f} s")
        _tell_unread_files()


@app.command()
def status(as_json: AsJson = False) -> None:
    """Per table: rows, newest day, freshness, checks and rejected rows."""
    from data_platform.core.dagster_home import open_instance
    from data_platform.core.lake import Lake
    from data_platform.operations.status import all_status

    lake = Lake(settings().lake_root, settings().lake_options)
    _load_definitions()
    with open_instance() as instance:
        statuses = all_status(lake, instance, dt.datetime.now(dt.UTC))
    if as_json:
        _print_json([vars(s) | {"age": s.age.total_seconds() if s.age is not None else None} for s in statuses])
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
        fresh = Text(
            f"{s.freshness}{_ago(s.age) if s.freshness in ('late', 'stale') else ''}",
            FRESHNESS_STYLE.get(s.freshness, ""),
        )
        grid.add_row(
            s.key, f"{s.rows:,}", str(s.partitions or ""), s.newest or "", fresh, checks, s.owner.removeprefix("team:")
        )
    out.print(grid)
    _tell_unread_files()


def _tell_unread_files() -> None:
    """Name the files in landing that nothing will ever take in."""
    from data_platform.gameplay.sources import SOURCES
    from data_platform.sources.ingestion import MOST_TOLD, UNREAD_REMEDY
    from data_platform.sources.landing import unread_files

    unread = unread_files(settings().landing, SOURCES)
    if unread:
        told = ", ".join(str(path.relative_to(settings().landing)) for path in unread[:MOST_TOLD])
        err.print(
            Text(f"{len(unread)} files in {settings().landing} are not read: {told}. ", "yellow") + Text(UNREAD_REMEDY)
        )


FRESHNESS_STYLE = {"fresh": "green", "late": "yellow", "stale": "red", "not built": "dim"}


@app.command()
def table(
    key: Annotated[str, typer.Argument(help="For example features/player_churn_features.")],
    first: Annotated[dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"])] = None,
    last: Annotated[dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"])] = None,
    to_file: Annotated[Path | None, typer.Option("--out", help="Write here instead of showing the first rows.")] = None,
    format: Annotated[Format | None, typer.Option(help="By the file's extension if not given.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Look at a table, or export it."""
    from data_platform.core.lake import Lake

    contract = _contract(key)
    lake = Lake(settings().lake_root, settings().lake_options)
    if not lake.exists(contract):
        raise PlatformError(f"{contract.key} has not been built.", f"Run `data-platform build {contract.key}`.")
    frame = lake.scan(contract, first.date() if first else None, last.date() if last else None)
    if contract.partition:
        frame = frame.sort(contract.primary_key) if to_file else frame
    if to_file:
        rows = _export(frame, to_file, format or _format_of(to_file))
        out.print(f"{rows:,} rows of {contract.key} → {to_file}")
        return
    shown = frame.head(limit).collect()
    if as_json:
        _print_json(_plain_rows(shown))
        return
    out.print(Text(contract.table_description(), "dim"))
    _show(shown)


@app.command()
def demo(
    players: Annotated[int, typer.Option(min=1)] = 1000,
    days: Annotated[int, typer.Option(min=1)] = 60,
) -> None:
    """Simulate a game, build every table, and show what was built and where to look."""
    from data_platform.simulation import Truth
    from data_platform.simulation import simulate as run

    landing = settings().landing
    first = _today() - dt.timedelta(days=days)
    out.print(
        f"[bold]1[/bold]  Simulating {players:,} players over {days} days (with duplicates, late and broken lines)"
    )
    truth = Truth.read(landing / "truth.json") if (landing / "truth.json").exists() else None
    if truth is None:
        with _progress("simulating", days, "days") as advance:
            truth = run(players, days, 1, first, landing, True, lambda done, _total: advance(f"{done} days", done))
    else:
        out.print(f"   {landing} holds a simulation already; using it")
    out.print("[bold]2[/bold]  Ingesting and building every table through Dagster")
    built, seconds = _build([], None, None)
    if built.failures:
        raise PlatformError(
            "The build stopped: " + " | ".join(built.failures), "Correct the cause and run the demo again."
        )
    out.print(f"   {built.partitions:,} partitions, {built.runs} runs, {seconds:.1f} s\n")
    status()
    totals = truth.totals
    out.print(
        f"\nSimulated: {totals['received']:,} event lines = {totals['stored']:,} events + "
        f"{totals['rejected_raw']:,} rejected lines; these are {totals['clean']:,} clean events + "
        f"{totals['duplicates']:,} duplicates + {totals['rejected_clean']:,} rejected"
    )
    out.print("\n[bold]Churn features[/bold] of the newest day:")
    newest = dt.datetime.combine(first + dt.timedelta(days=days - 1), dt.time())
    table("features/player_churn_features", first=newest, limit=5)
    out.print(
        f"\n[bold]Where to look[/bold]\n"
        f"  make ui                  Dagster at http://127.0.0.1:3000 (lineage, checks, backfills)\n"
        f"  data-platform status     every table at a glance\n"
        f"  data-platform table features/player_churn_features --out churn.parquet\n"
        f"  {settings().lake_root}  Delta tables for Polars, DuckDB, Spark\n"
        f"  {landing}/player_events  drop .ndjson files here\n"
    )


# ------------------------------------------------------------------ shared by the commands
def _build(selection: list[str], first: dt.datetime | None, last: dt.datetime | None) -> tuple[Any, float]:
    from data_platform.core.dagster_home import open_instance
    from data_platform.operations.build import build as run

    defs = _load_definitions()
    began = time.perf_counter()
    with open_instance() as instance, _progress("building", None, "steps") as advance:
        built = run(
            defs,
            instance,
            selection,
            first.date() if first else None,
            last.date() if last else None,
            lambda told, done, total: advance(told, done, total),
        )
    return built, time.perf_counter() - began


def _load_definitions() -> Any:
    from data_platform.definitions import defs

    return defs


def _contract(key: str) -> Any:
    from data_platform.core.contract import contracts

    _load_definitions()
    found = [t for k, t in contracts().items() if key in (k, t.table_name())]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlatformError(f"{key} names {len(found)} tables.", f"Use one of {', '.join(t.key for t in found)}.")
    raise PlatformError(f"There is no table {key!r}.", "`data-platform status` lists all tables.")


def _format_of(file: Path) -> Format:
    known = {".csv": Format.csv, ".parquet": Format.parquet, ".json": Format.json, ".ndjson": Format.json}
    if file.suffix not in known:
        raise PlatformError(f"The format of {file} is not clear.", "Add --format csv, parquet or json.")
    return known[file.suffix]


def _export(frame: pl.LazyFrame, file: Path, format: Format) -> int:
    """Write all rows, streaming, through a temporary name; rows written."""
    import polars as pl

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
            frame.with_columns(pl.col(lists).cast(pl.List(pl.String)).list.join(" ")).sink_csv(temporary)
    rows = int(frame.select(pl.len()).collect().item())
    temporary.replace(file)
    return rows


UPRIGHT_ROWS = 5
"""Rows side by side when a table is shown upright."""


def _show(frame: pl.DataFrame) -> None:
    """A frame as text, upright when it is too wide for the terminal."""
    if not len(frame):
        out.print("(no rows)")
        return
    rows = _plain_rows(frame)
    upright = sum(max(len(name), 12) + 2 for name in frame.columns) > out.width
    if upright:
        for first in range(0, len(rows), UPRIGHT_ROWS):
            block = rows[first : first + UPRIGHT_ROWS]
            grid = Grid("column", *[f"row {first + n}" for n in range(1, len(block) + 1)], box=None, pad_edge=False)
            for name in frame.columns:
                grid.add_row(name, *[_cell(row[name]) for row in block])
            out.print(grid)
        return
    grid = Grid(*frame.columns, box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*[_cell(value) for value in row.values()])
    out.print(grid)


def _cell(value: Any) -> Text:
    """A value as plain text: no markup, no control characters, at most 40 characters."""
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    told = "" if value is None else str(value)
    told = "".join(c if c.isprintable() else "�" for c in told)
    return Text(told if len(told) <= 40 else told[:39] + "…")


def _plain_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=_json_value) + "\n")


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else str(value)


@contextmanager
def _progress(what: str, total: int | None, unit: str) -> Iterator[Any]:
    """A progress bar on the terminal (stderr); the value is called with (what is being done, done, total)."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=total)

        def advance(told: str, done: int, total: int | None = total) -> None:
            bar.update(task, description=told, completed=done, total=total)

        yield advance


def _ago(age: dt.timedelta | None) -> str:
    if age is None:
        return ""
    hours = age.total_seconds() / 3600
    return f" {hours:.0f} h" if hours < 48 else f" {hours / 24:.0f} days"


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def main() -> None:
    """Entry point: anything that goes wrong is one paragraph and exit code 1, unless --debug asks for more."""
    try:
        app()
    except PlatformError as error:
        if any(_debug):
            traceback.print_exc()
        err.print(Text(f"{error.problem} ", "bold red") + Text(error.remedy))
        raise SystemExit(1) from None
    except Exception as error:
        if any(_debug):
            raise
        err.print(
            Text(f"{type(error).__name__}: {error} ", "bold red") + Text("Run again with --debug for the details.")
        )
        raise SystemExit(1) from None
