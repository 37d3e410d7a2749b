"""The command that publishes tables to PostgreSQL. Not here: publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.settings import settings
from data_platform.core.terminal import AsJson, err, out, print_json, progress

if TYPE_CHECKING:
    from data_platform.bi.publishing import PublishedTable


def publish(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="TABLE", help="Tables by key or name; all published ones by default."),
    ] = None,
    drop_retired: Annotated[
        bool, typer.Option("--drop-retired", help="Also drop columns and tables that no contract has any more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish tables to PostgreSQL for BI tools: the months that changed, without a gap for whoever reads."""
    from data_platform.bi.server import analytics_url

    url = analytics_url(settings())
    load_definitions()
    from data_platform.bi import publishing
    from data_platform.bi.layout import published_tables
    from data_platform.core.lake.store import configured_lake

    chosen = published_tables(tables or [])
    with progress("publishing", None, "tables") as advance:
        done = publishing.publish(configured_lake(), url, chosen, advance)
    if as_json:
        print_json([_facts(one) for one in done])
    else:
        grid = Grid("table", "months loaded", "rows loaded", "rows", "seconds", box=None, pad_edge=False)
        for one in done:
            loaded = str(len(one.loaded)) if one.loaded else ""
            numbers = (loaded, f"{one.rows:,}", f"{one.total:,}", f"{one.seconds:.1f}")
            cells = ("not published", "", "", "") if one.problem else numbers
            grid.add_row(one.table.table_name(), *map(Text, cells))
        out.print(grid)
        for one in done:
            for name, rows in one.nul_rows.items():
                hold = "row holds" if rows == 1 else "rows hold"
                err.print(Text(f"{one.table.table_name()}.{name}: {rows:,} {hold} NUL, shown as \ufffd in PostgreSQL."))
            for note in one.notes:
                err.print(Text(note), soft_wrap=True)
    publishing.require_published(done)
    if drop_retired:
        dropped = publishing.drop_retired(url, published_tables())
        err.print(f"Dropped {', '.join(dropped)}." if dropped else "There was nothing to drop.")


def _facts(one: PublishedTable) -> dict[str, Any]:
    return {
        "table": one.table.key,
        "published": one.problem is None,
        "loaded": list(one.loaded),
        "removed": list(one.removed),
        "rows_loaded": one.rows,
        "rows": one.total,
        "summaries": list(one.summaries),
        "lake_version": one.version,
        "nul_rows": dict(one.nul_rows),
        "notes": list(one.notes),
        "seconds": round(one.seconds, 3),
    }
