"""Commands on what was rejected: rejected show, rejected replay. Not here: what makes a line or row acceptable."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.errors import PlatformError, counted
from data_platform.core.terminal import (
    AsJson,
    cell,
    day_option,
    days_from_to,
    out,
    plain_rows,
    print_json,
    progress,
    tell_waiting,
)

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(no_args_is_help=True, help="Rejected lines and rows: show them, replay them after a fix.")

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only what was rejected for this reason.")
]
MOST_DAYS = 31
"""Days shown one by one; a script gets all of them."""
LONGEST_CELL = 100
NOT_SHOWN = ("file_digest", "received_at", "received_date", "row_digest", "line_bytes")


@app.command("show")
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="For example raw/player_events; all by default.")
    ] = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Count rejected lines and rows by reason and day, and look at some."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations import rejected

    load_definitions()
    lake = configured_lake()
    if name is None:
        found = {}
        with progress("counting", len(rejected.rejected_tables()), "tables") as advance:
            for number, one in enumerate(rejected.rejected_tables()):
                advance(f"counting {one.key}", number)
                found[one.key] = rejected.counts(lake, one, rejected.chosen_rows(one, reason))
        _show_all(found, as_json)
        return
    table = rejected.rejected_table(name)
    chosen = rejected.chosen_rows(table, reason)
    counts = rejected.counts(lake, table, chosen)
    rows = rejected.newest_rows(lake, table, chosen, limit)
    if as_json:
        print_json({"table": table.key, "counts": plain_rows(counts), "rows": plain_rows(rows)})
        return
    if counts.is_empty():
        out.print(f"Nothing is rejected in {table.key}{f' for {reason}' if reason else ''}.", markup=False)
        return
    out.print(Text(f"{table.key}: {counts['rows'].sum():,} rejected"))
    _show_days(counts)
    if len(rows):
        out.print()
        columns = [column for column in rows.columns if column not in NOT_SHOWN]
        grid = Grid(*columns, box=None, pad_edge=False)
        for row in rows.select(columns).iter_rows():
            grid.add_row(*(cell(value, LONGEST_CELL) for value in row))
        out.print(grid)


def _show_all(found: dict[str, pl.DataFrame], as_json: bool) -> None:
    totals: list[dict[str, Any]] = [
        {
            "table": key,
            "reason": reason,
            "rows": part["rows"].sum(),
            "first": part["day"].min(),
            "last": part["day"].max(),
        }
        for key, counts in found.items()
        for (reason,), part in counts.group_by("reason", maintain_order=True)
    ]
    totals.sort(key=lambda total: (total["table"], -total["rows"]))
    if as_json:
        print_json(totals)
        return
    if not totals:
        out.print("Nothing is rejected.")
        return
    grid = Grid("table", "reason", "rows", "first day", "last day", box=None, pad_edge=False)
    grid.columns[2].justify = "right"
    for total in totals:
        grid.add_row(
            total["table"], cell(total["reason"]), f"{total['rows']:,}", str(total["first"]), str(total["last"])
        )
    out.print(grid)


def _show_days(counts: pl.DataFrame) -> None:
    """A grid of day by reason, newest day last; earlier days as one row."""
    days = counts["day"].unique().sort()
    reasons = counts["reason"].unique().sort().to_list()
    grid = Grid("day", box=None, pad_edge=False)
    for reason in reasons:
        grid.add_column(cell(reason), justify="right")
    earlier = days.head(max(0, len(days) - MOST_DAYS)).to_list()
    shown: list[tuple[str, list[dt.date]]] = [(f"{counted(len(earlier), 'day')} before", earlier)] if earlier else []
    shown += [(str(day), [day]) for day in days.tail(MOST_DAYS)]
    known = {(day, reason): rows for day, reason, rows in counts.iter_rows()}
    for label, some in shown:
        numbers = [sum(known.get((day, reason), 0) for day in some) for reason in reasons]
        grid.add_row(label, *(f"{number:,}" if number else "" for number in numbers))
    out.print(grid)


@app.command("replay")
def replay(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="For example raw/player_events.")],
    reason: Reason = None,
    first: Annotated[
        dt.datetime | None, day_option("--from", "First day of receipt; of the event, for clean rows.")
    ] = None,
    last: Annotated[dt.datetime | None, day_option("--to", "Last such day.")] = None,
    as_json: AsJson = False,
) -> None:
    """After a fix: judge what was rejected again, exactly once. What is accepted now is no longer rejected."""
    from data_platform.core.discovery import landing_sources
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations import rejected
    from data_platform.sources.ingestion import landing_of

    defs = load_definitions()
    lake = configured_lake()
    table = rejected.rejected_table(name)
    chosen = rejected.to_judge_again(table, reason, *days_from_to(first, last))
    total = int(rejected.counts(lake, table, chosen)["rows"].sum())
    source = next((source for source in landing_sources() if source.rejected is table), None)
    with open_instance() as instance, progress("replaying", total, "lines" if source else "rows") as advance:

        def follow(judged: int) -> None:
            advance("replaying", judged)

        if source is not None:
            replayed = rejected.replay_lines(defs, instance, landing_of(source, lake), chosen, follow)
            unit, accepted = "lines", "stored"
        else:
            replayed = rejected.replay_rows(defs, instance, lake, table, chosen, follow)
            unit, accepted = "rows", "no longer rejected"
    summary = rejected.summary_of(replayed, unit, accepted)
    if as_json:
        print_json(
            {
                "table": table.key,
                "replayed": replayed.judged,
                "accepted": replayed.accepted,
                "still_rejected": dict(replayed.still),
                "failures": replayed.built.failures,
            }
        )
    else:
        if source is None:
            out.print(f"Rows rejected at cleaning are judged by computing their days of {_computed(table)} again.")
        out.print(summary)
    if replayed.built.failures:
        raise PlatformError(
            "Not everything was replayed: " + " | ".join(replayed.built.failures),
            f"{tell_waiting(replayed.built.waiting)}What was decided is kept; correct the cause and run it again for "
            "the rest.",
        )
    if replayed.accepted and not as_json:
        out.print("Days that depend on them are out of date now. Next: [bold]data-platform plan[/bold]")


def _computed(table: Any) -> str:
    from data_platform.core.contract.lineage import computed_with

    return str(computed_with(table).key)
