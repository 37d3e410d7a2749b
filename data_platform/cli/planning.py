"""The command that says what is to be computed, what it costs and what it touches, and computes it: plan.
Not here: how any of it is worked out (operations/plan)."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.contract.day_ranges import consecutive
from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import (
    AsJson,
    Tables,
    busy,
    day_option,
    days_from_to,
    out,
    print_json,
    progress,
    tell_waiting,
)

if TYPE_CHECKING:
    from data_platform.operations.plan import BackfillPlan, TablePlan

MOST_RANGES = 3


def plan(
    selection: Tables = None,
    more: Annotated[
        list[str] | None, typer.Option("--select", metavar="TABLE|GROUP", help="The same, as an option.")
    ] = None,
    first: Annotated[dt.datetime | None, day_option("--from", "First day to look at.")] = None,
    last: Annotated[dt.datetime | None, day_option("--to", "Last day to look at.")] = None,
    go: Annotated[
        bool, typer.Option("--go", help="Compute it. Killed at any point, run it again for the rest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which days of which tables are missing, stale or failed, what computing them costs, and what it touches."""
    from data_platform.core.instance.materialisations import of_home
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations.declared import declared_steps
    from data_platform.operations.plan import backfill_plan

    words = [*(selection or []), *(more or [])]
    with busy("reading the lineage"):
        steps = declared_steps()
    with busy("comparing every day with its inputs"), of_home() as record:
        made = backfill_plan(steps, record, configured_lake(), words, *days_from_to(first, last))
    if as_json and not go:
        print_json(_as_json(made))
    if not as_json:
        _show(made, _command(words, first, last), go)
    if go:
        _compute(made, as_json)


def _compute(made: BackfillPlan, as_json: bool) -> None:
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.operations.build import carry_out
    from data_platform.operations.runs import Runs

    defs = load_definitions()
    with open_instance() as instance:
        began = time.perf_counter()
        with progress("computing", None, "steps") as advance:
            built = carry_out(Runs(defs, instance, "data-platform plan"), made.steps(), advance)
    seconds = time.perf_counter() - began
    if as_json:
        print_json(_as_json(made) | {"runs": built.runs, "written": built.partitions, "failures": list(built.failures)})
    if built.failures:
        raise PlatformError(
            "Not everything was computed: " + " | ".join(built.failures),
            f"{tell_waiting(built.waiting)}All else is; correct the cause and run it again for the rest.",
        )
    if not as_json and made.tables:
        by = counted(built.runs, "Dagster run")
        out.print(f"{counted(built.partitions, 'partition')} written by {by} in {seconds:.1f} s")


def _command(words: Sequence[str], first: dt.datetime | None, last: dt.datetime | None) -> str:
    days = [part for option, day in (("--from", first), ("--to", last)) if day for part in (option, str(day.date()))]
    return shlex.join(["data-platform", "plan", *words, *days, "--go"])


def _show(made: BackfillPlan, command: str, go: bool) -> None:
    if not made.tables:
        out.print("Nothing is to be done: no day is missing, stale or failed.")
        _tell_waiting_files()
        return
    grid = Grid("table", "missing", "stale", "failed", "days", "cost", "makes out of date", box=None, pad_edge=False)
    grid.columns[0].no_wrap = True
    for column in (*grid.columns[1:4], grid.columns[5]):
        column.justify = "right"
    for planned in made.tables:
        grid.add_row(
            planned.table.key,
            *(_number(planned.of(reason)) for reason in _reasons()),
            _ranges(list(planned.days)),
            "unknown" if planned.seconds is None else _seconds(planned.seconds),
            _touched(planned.downstream),
        )
    out.print(grid)
    costs = [f"about {_seconds(made.seconds)}"] if len(made.unknown) < len(made.tables) else []
    costs += [f"an unknown time for {counted(len(made.unknown), 'table')} never computed"] if made.unknown else []
    runs = len(made.steps())
    out.print(
        f"\nTotal: {counted(made.partitions, 'partition')} of {counted(len(made.tables), 'table')} in "
        f"{counted(runs, 'Dagster run')}; computing takes {' and '.join(costs)}"
    )
    if made.beyond:
        out.print(f"Out of date after it, and not in this plan: {_touched(made.beyond)}")
    _tell_waiting_files()
    if not go:
        out.print(Text("To compute it: ") + Text(command, "bold"))


def _tell_waiting_files() -> None:
    from data_platform.core.discovery import landing_sources
    from data_platform.sources.landing_files import pending_files

    waiting = sum(len(pending_files(settings().landing / source.name)) for source in landing_sources())
    if waiting:
        wait, them = ("waits in landing and is", "it") if waiting == 1 else ("wait in landing and are", "them")
        out.print(f"{counted(waiting, 'file')} {wait} not in it; `data-platform build raw` takes {them} in.")


def _reasons() -> list[Any]:
    from data_platform.operations.staleness import Reason

    return list(Reason)


def _number(days: Sequence[str]) -> Text:
    return Text(f"{len(days):,}" if days else "")


def _ranges(days: Sequence[str]) -> str:
    """Ascending days as ranges: "2024-01-01 to 2024-01-20 (20)"; of many ranges the first ones."""
    if list(days) == [""]:
        return "whole"
    ranges = consecutive(days)
    texts = [f"{run[0]} to {run[-1]} ({len(run)})" if len(run) > 1 else run[0] for run in ranges[:MOST_RANGES]]
    rest = ranges[MOST_RANGES:]
    if rest:
        texts.append(f"and {counted(len(rest), 'more range')} until {rest[-1][-1]} ({sum(map(len, rest))})")
    return ", ".join(texts)


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _touched(tables: Mapping[Any, int]) -> str:
    """How many days of how many tables, and the largest."""
    if not tables:
        return ""
    key, days = max(((table.key, days) for table, days in tables.items()), key=lambda found: (found[1], found[0]))
    if len(tables) == 1:
        return f"{counted(days, 'partition')} of {key}"
    return f"{counted(sum(tables.values()), 'partition')} of {len(tables)} tables, most of {key} ({days:,})"


def _as_json(made: BackfillPlan) -> dict[str, Any]:
    return {
        "partitions": made.partitions,
        "seconds": made.seconds,
        "unknown_cost": [table.key for table in made.unknown],
        "out_of_date_beyond": {table.key: days for table, days in made.beyond.items()},
        "tables": [_table_as_json(planned) for planned in made.tables],
    }


def _table_as_json(planned: TablePlan) -> dict[str, Any]:
    return {
        "table": planned.table.key,
        **{reason.value: planned.of(reason) for reason in _reasons()},
        "seconds": planned.seconds,
        "downstream": {table.key: days for table, days in planned.downstream.items()},
    }
