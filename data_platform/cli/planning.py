"""The command that says what is to be computed, what it costs and what it touches, and computes it: plan.
Not here: how any of it is worked out (operations/plan)."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.terminal import AsJson, days_from_to, load_definitions, out, print_json, progress, tell_waiting
from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings

if TYPE_CHECKING:
    from data_platform.operations.plan import BackfillPlan, TablePlan

MOST_RANGES = 3


def plan(
    selection: Annotated[
        list[str] | None, typer.Argument(help="Tables or groups, with all they need; all by default.")
    ] = None,
    more: Annotated[list[str] | None, typer.Option("--select", help="The same, as an option.")] = None,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day to look at.")
    ] = None,
    last: Annotated[dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day to look at.")] = None,
    go: Annotated[
        bool, typer.Option("--go", help="Compute it. Killed at any point, run it again for the rest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which days of which tables are missing, stale or failed, what computing them costs, and what it touches."""
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations.plan import backfill_plan, compute

    words = [*(selection or []), *(more or [])]
    defs = load_definitions()
    lake = configured_lake()
    with open_instance() as instance:
        made = backfill_plan(defs, instance, lake, words, *days_from_to(first, last))
        if as_json and not go:
            print_json(_as_json(made))
            return
        if not as_json:
            _show(made, _command(words, first, last), go)
        if not go:
            return
        began = time.perf_counter()
        with progress("computing", None, "steps") as advance:
            built = compute(defs, instance, made, advance)
    seconds = time.perf_counter() - began
    if as_json:
        print_json(_as_json(made) | {"runs": built.runs, "written": built.partitions, "failures": list(built.failures)})
    if built.failures:
        raise PlatformError(
            "Not everything was computed: " + " | ".join(built.failures),
            f"{tell_waiting(built.waiting)}All else is; correct the cause and run it again for the rest.",
        )
    if not as_json and made.tables:
        out.print(f"{built.partitions:,} partitions written by {built.runs} Dagster runs in {seconds:.1f} s")


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
    costs += [f"an unknown time for {len(made.unknown)} tables never computed"] if made.unknown else []
    runs = len(made.steps())
    out.print(
        f"\nTotal: {made.partitions:,} partitions of {len(made.tables)} tables in {runs} Dagster "
        f"run{'s' if runs > 1 else ''}; computing takes {' and '.join(costs)}"
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
        out.print(f"{waiting:,} files wait in landing and are not in it; `data-platform build raw` takes them in.")


def _reasons() -> list[Any]:
    from data_platform.operations.staleness import Reason

    return list(Reason)


def _number(days: Sequence[str]) -> Text:
    return Text(f"{len(days):,}" if days else "")


def _ranges(days: Sequence[str]) -> str:
    """Ascending days as ranges: "2024-01-01 to 2024-01-20 (20)"; of many ranges the first ones."""
    if list(days) == [""]:
        return "whole"
    numbered = [(dt.date.fromisoformat(day).toordinal() - n, day) for n, day in enumerate(days)]
    ranges = [[day for _, day in run] for _, run in groupby(numbered, key=lambda pair: pair[0])]
    told = [f"{run[0]} to {run[-1]} ({len(run)})" if len(run) > 1 else run[0] for run in ranges[:MOST_RANGES]]
    rest = ranges[MOST_RANGES:]
    if rest:
        told.append(f"and {len(rest)} more ranges until {rest[-1][-1]} ({sum(map(len, rest))})")
    return ", ".join(told)


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
        return f"{_partitions(days)} of {key}"
    return f"{_partitions(sum(tables.values()))} of {len(tables)} tables, most of {key} ({days:,})"


def _partitions(count: int) -> str:
    return f"{count:,} partition{'' if count == 1 else 's'}"


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
