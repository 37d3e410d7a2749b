"""Commands that bring data in and compute tables: simulate, ingest, build, demo. Not here: looking at tables."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from data_platform.cli import looking, status
from data_platform.cli.definitions import load_definitions
from data_platform.core.contract.calendar import today_utc
from data_platform.core.errors import PlatformError, counted, did_you_mean
from data_platform.core.importing import importing
from data_platform.core.settings import home_settings, settings
from data_platform.core.terminal import (
    AsJson,
    Tables,
    day_option,
    days_from_to,
    err,
    out,
    print_json,
    progress,
    tell_waiting,
)

Players = Annotated[int, typer.Option(min=1, help="Players in the game.")]
Days = Annotated[int, typer.Option(min=1, help="Days that it lasts.")]


def simulate(
    to: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Landing root to write to; the platform's own is DATA_PLATFORM_HOME/landing."),
    ],
    players: Players = 500,
    days: Days = 60,
    seed: Annotated[int, typer.Option(min=0, help="Another number is another game.")] = 1,
    start: Annotated[
        dt.datetime | None, day_option("--start", "First day of the game; by default it ends yesterday.")
    ] = None,
    dirty: Annotated[bool, typer.Option("--dirty", help="Add duplicates, late events, broken lines and more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the events and change files of a pretend game, the same ones for the same arguments."""
    from data_platform.domains.gameplay.simulation.truth import Truth
    from data_platform.simulation import simulate as run

    first = start.date() if start else today_utc() - dt.timedelta(days=days)
    began = time.perf_counter()
    with progress("simulating", days, "days") as advance:
        try:
            written = run(
                players, days, seed, first, to, dirty, lambda done, _total: advance(counted(done, "day"), done)
            )
        except FileExistsError as error:
            raise PlatformError(f"{error}.", "Name an empty folder, or the same arguments again.") from None
    events, seconds = Truth.read(written).totals["received"], time.perf_counter() - began
    if as_json:
        print_json({"to": str(to), "events": events, "seconds": round(seconds, 2), "truth": str(written)})
    else:
        out.print(
            f"{counted(events, 'event line')} of {counted(players, 'player')} over {counted(days, 'day')} "
            f"from {first}, in {seconds:.1f} s → {to}"
        )


def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="csv, tsv, txt, json, ndjson, jsonl or parquet, also with .gz or .zst."),
    ],
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One DuckDB SELECT over `input` that yields the event columns.")
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instead of a mapping: a shape that is known, for example otel or litellm."),
    ] = None,
    stated: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD=VALUE", help="With --shape: a field where the file does not say it."),
    ] = None,
    into: Annotated[
        str, typer.Option(metavar="SOURCE", help="Landing folder, for example `orders`.")
    ] = "player_events",
    delimiter: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Between the columns of a CSV; by default what the header shows.")
    ] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether a CSV's first line names the columns.")
    ] = None,
    quote: Annotated[str, typer.Option(metavar="TEXT", help="Around CSV values that hold a delimiter.")] = '"',
    escape: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Before a quote inside quotes; by default the quote.")
    ] = None,
    null: Annotated[str, typer.Option(metavar="TEXT", help="CSV text that means no value, for example NA.")] = "",
    encoding: Annotated[str, typer.Option(metavar="NAME", help="Of text files, for example latin-1.")] = "utf-8",
    date_format: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Of texts mapped to a time, for example %d/%m/%Y; others are then rejected."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring your own events (or orders, users, …): map files to canonical lines and put them into landing."""
    from data_platform.core.discovery import landing_sources
    from data_platform.sources.files.foreign_files import FileFormat
    from data_platform.sources.files.mapping import map_file

    if shape is not None and mapping is None:
        _ingest_shaped(files, shape, stated or [], as_json)
        return
    if mapping is None or shape is not None or stated:
        raise PlatformError(
            "A file needs either a mapping or a known shape.", "Name --mapping FILE, or --shape NAME with any --field."
        )
    source = next((source for source in landing_sources() if source.name == into), None)
    if source is None:
        names = [source.name for source in landing_sources()]
        raise PlatformError(
            f"There is no landing folder {into!r}.",
            f"{did_you_mean(into, names)}Folders are {', '.join(names)}.",
        )
    form = FileFormat(delimiter, header, quote, escape, null, encoding, date_format)
    mapped = []
    with progress("mapping", len(files), "files") as advance:
        for number, file in enumerate(files, 1):

            def read(rows: int, name: str = file.name, before: int = number - 1) -> None:
                advance(f"{name}: {counted(rows, 'row')}" if rows else name, before)

            read(0)
            mapped.append(map_file(file, mapping, source, settings().landing, form, read))
    if as_json:
        print_json([{"file": str(m.source), "rows": m.rows, "landed": str(m.landed)} for m in mapped])
        return
    for m in mapped:
        out.print(f"{m.rows:>10,} rows  {m.source.name} → {m.landed}")
    out.print(f"{sum(m.rows for m in mapped):>10,} rows in landing. Next: [bold]data-platform build[/bold]")


def _ingest_shaped(files: list[Path], name: str, stated: list[str], as_json: bool) -> None:
    from data_platform.sources.files.shapes import land_file, shape_called

    shape = shape_called(name)
    fields = dict(_field(one) for one in stated)
    shaped = [land_file(file, shape, settings().landing, fields) for file in files]
    if as_json:
        print_json(
            [
                {
                    "file": str(s.landed.source),
                    "rows": s.landed.rows,
                    "landed": str(s.landed.landed),
                    "left_out": s.left_out,
                }
                for s in shaped
            ]
        )
        return
    for one in shaped:
        out.print(f"{one.landed.rows:>10,} rows  {one.landed.source.name} → {one.landed.landed}")
        for reason, count in sorted(one.left_out.items()):
            out.print(f"{count:>10,} left out: {reason}", markup=False)
    rows = sum(one.landed.rows for one in shaped)
    out.print(f"{rows:>10,} rows in landing. Next: [bold]data-platform build[/bold]")


def _field(stated: str) -> tuple[str, str]:
    name, equals, value = stated.partition("=")
    if not equals or not name:
        raise PlatformError(f"--field {stated} names no field and value.", "Write --field tenant_id=acme.")
    return name, value


def build(
    selection: Tables = None,
    first: Annotated[dt.datetime | None, day_option("--from", "First day to compute.")] = None,
    last: Annotated[dt.datetime | None, day_option("--to", "Last day to compute.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take in what has landed and compute the days that are out of date (or exactly the days given)."""
    built, seconds = _build(selection or [], first, last)
    if as_json:
        print_json(
            {
                "runs": built.runs,
                "partitions": built.partitions,
                "failures": built.failures,
                "waiting": {key: sorted(days) for key, days in built.waiting.items()},
                "seconds": round(seconds, 2),
            }
        )
    if built.failures:
        raise PlatformError(
            "Not everything was built: " + " | ".join(built.failures),
            f"{tell_waiting(built.waiting)}All else is up to date; correct the cause and run `data-platform build` "
            "again.",
        )
    if not as_json:
        runs = counted(built.runs, "Dagster run")
        still = _files_that_wait()
        idle = "Every table is up to date." if still else "No file waits in landing, and every table is up to date."
        out.print(
            f"{counted(built.partitions, 'partition')} written by {runs} in {seconds:.1f} s" if built.runs else idle
        )
        if still:
            waits = "waits" if still == 1 else "wait"
            out.print(
                f"{counted(still, 'file')} {waits} in landing that somebody still writes to; the next build takes it "
                "in once that is over."
            )
        looking.tell_unread_files()


def _files_that_wait() -> int:
    """Files that a build left in landing: those that changed within the last seconds, or came meanwhile."""
    from data_platform.core.discovery import landing_sources
    from data_platform.sources.ingestion import what_waits

    return what_waits(landing_sources(), settings().landing, 1, time.time()).files


def demo(
    players: Players = 1000,
    days: Days = 60,
) -> None:
    """Simulate a game, build every table, and show what was built and where to look."""
    from data_platform.domains.gameplay.simulation.truth import Truth
    from data_platform.simulation import simulate as run

    landing = settings().landing
    first = today_utc() - dt.timedelta(days=days)
    out.print(
        f"[bold]1[/bold]  Simulating {counted(players, 'player')} over {counted(days, 'day')} (with duplicates, late "
        "and broken lines)"
    )
    written = landing / "truth.json"
    if not written.exists():
        _start_home(first)
        with progress("simulating", days, "days") as advance:
            run(players, days, 1, first, landing, True, lambda done, _total: advance(counted(done, "day"), done))
    else:
        out.print(f"   {landing} holds a simulation already; using it")
    out.print("[bold]2[/bold]  Ingesting and building every table through Dagster")
    built, seconds = _build([], None, None)
    if built.failures:
        raise PlatformError(
            "Not everything was built: " + " | ".join(built.failures),
            f"{tell_waiting(built.waiting)}Correct the cause and run the demo again.",
        )
    out.print(f"   {counted(built.partitions, 'partition')}, {counted(built.runs, 'run')}, {seconds:.1f} s\n")
    status.status()
    ended = first + dt.timedelta(days=days - 1)
    out.print(f"The simulated game ended with {ended}, and freshness tells how long ago that is.")
    totals = Truth.read(written).totals
    out.print(
        f"\nSimulated: {totals['received']:,} event lines = {totals['stored']:,} events + "
        f"{totals['rejected_raw']:,} rejected lines; these are {totals['clean']:,} clean events + "
        f"{totals['duplicates']:,} duplicates + {totals['rejected_clean']:,} rejected"
    )
    _tell_of_parts(written)
    out.print("\n[bold]Churn features[/bold] of the newest day:")
    looking.table("features/player_churn_features", first=dt.datetime.combine(ended, dt.time()), limit=5)
    out.print(
        f"\n[bold]Where to look[/bold]\n"
        f"  make ui                  Dagster at http://127.0.0.1:3000 (lineage, checks, backfills)\n"
        f"  data-platform status     every table at a glance\n"
        f"  data-platform table features/player_churn_features --out churn.parquet\n"
        f"  {settings().lake_root}  Delta tables for Polars, DuckDB, Spark\n"
        f"  {landing}/player_events  drop .ndjson files here\n"
    )


def _tell_of_parts(truth: Path) -> None:
    """What the domains' parts of the simulation say of the tables that were built of them."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.simulation.company import known_parts

    lake, facts = configured_lake(), json.loads(truth.read_text())
    for part in known_parts():
        for line in part.told(lake, facts):
            out.print(line, markup=False, highlight=False)


def _start_home(first: dt.date) -> None:
    """Days of a new home begin with its game: Dagster's bars of partitions are full, not 5 % of two years."""
    kept = home_settings(settings().home)
    if "first_day" not in settings().model_fields_set and not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"# Written by `data-platform demo`.\nDATA_PLATFORM_FIRST_DAY={first}\n")
        settings.cache_clear()


def _build(selection: list[str], first: dt.datetime | None, last: dt.datetime | None) -> tuple[Any, float]:
    with importing():
        from data_platform.operations.ahead import dbt_meanwhile

    days = days_from_to(first, last)
    with dbt_meanwhile(selection, any(days)):
        defs = load_definitions()
        with importing():
            from data_platform.core.instance.dagster_home import open_instance
            from data_platform.operations.build import build as run

        began = time.perf_counter()
        with _one_of_few(), open_instance() as instance, progress("building", None, "steps") as advance:
            built = run(defs, instance, selection, *days, lambda step, done, total: advance(step, done, total))
        return built, time.perf_counter() - began


@contextmanager
def _one_of_few() -> Iterator[None]:
    """Say so when another build of this home is at work. Both are right, and each may compute what the other does."""
    home = settings().home
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".building").open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            err.print(f"Another build of {home} is at work; this one goes on beside it and may do the same work twice.")
        yield
