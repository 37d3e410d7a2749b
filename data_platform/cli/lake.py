"""Commands for the lake itself: scrub, maintain, migrate, accept. Not here: what they do."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import TABLES, AsJson, busy, err, out, print_json, progress

app = typer.Typer(
    no_args_is_help=True, help="Look after the lake: checksums, small files, changed types, restored backups."
)
Selection = Annotated[list[str] | None, typer.Argument(metavar=TABLES, help="Tables or groups; all by default.")]


@app.command()
def scrub(selection: Selection = None, as_json: AsJson = False) -> None:
    """Read every file and compare it with the checksum that was taken when it was written."""
    load_definitions()
    from data_platform.core.lake.damage import damage_error
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations.scrubbing import scrub as run
    from data_platform.operations.selection import named_tables

    tables = sorted(named_tables(selection or []), key=lambda table: table.key)
    with progress("reading", len(tables), "tables") as advance:
        done = run(configured_lake(), tables, lambda one: advance(one.table.key, tables.index(one.table) + 1))
    if as_json:
        found = [
            {"table": one.table.key, "files": one.files, "bytes": one.bytes, "damaged": one.damaged} for one in done
        ]
        print_json(found)
    if damaged := [one for one in done if one.damaged]:
        errors = [damage_error(one.table, one.damaged) for one in damaged]
        raise PlatformError(" ".join(error.problem for error in errors), " ".join(error.remedy for error in errors))
    if not as_json:
        read, unsummed = sum(one.bytes for one in done), sum(one.unsummed for one in done)
        older = f"; {unsummed:,} of them are older than checksums and were decoded instead" if unsummed else ""
        out.print(
            f"{counted(sum(one.files for one in done), 'file')}, {read / 1e6:,.1f} MB: all as they were written{older}."
        )


@app.command()
def maintain(as_json: AsJson = False) -> None:
    """Merge small files, delete those that were replaced a while ago, and sum up logs, as happens every night."""
    load_definitions()
    from data_platform.core.contract.table import contracts
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations.maintenance import Maintained
    from data_platform.operations.maintenance import maintain as run

    keys = list(contracts())
    kept = dt.timedelta(days=settings().keep_replaced_days)
    with progress("maintaining", len(keys), "tables") as advance:

        def follow(key: str, _table: Maintained) -> None:
            advance(key, keys.index(key) + 1)

        done = run(configured_lake(), kept, follow)
    if as_json:
        print_json({key: [asdict(task) for task in table.tasks] for key, table in done.items()})
        return
    for key, table in done.items():
        for note in filter(None, (task.note for task in table.tasks)):
            err.print(Text(f"{key}: {note}."))
    stored = [task for table in done.values() for task in table.tasks if task.task == "vacuum"]
    before, after = (sum(getattr(task, when).bytes for task in stored) for when in ("before", "after"))
    merged, deleted = (sum(getattr(table, what) for table in done.values()) for what in ("merged", "deleted"))
    summary = f"{counted(merged, 'file')} merged, {counted(deleted, 'file')} deleted"
    out.print(f"{counted(len(done), 'table')}: {summary}; {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB after.")


@app.command()
def migrate(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Its key, for example `clean/player_events`.")],
    empty: Annotated[
        bool, typer.Option("--empty", help="Drop the rows: for values that the new type cannot hold.")
    ] = False,
) -> None:
    """Rewrite a table whose contract changed a column's type: every value as it was, in one commit."""
    load_definitions()
    from data_platform.core.contract.lineage import computed_with, inputs_of
    from data_platform.core.lake.bitemporal import history_of
    from data_platform.core.lake.rewriting import migrate as run
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations.selection import named_tables

    lake = configured_lake()
    for found in sorted(named_tables([table]), key=lambda one: one.key):
        if empty and (found.journal or not inputs_of(computed_with(found))):
            raise PlatformError(
                f"{found.key} cannot be computed again, so its rows are not dropped.",
                "Keep the column's type and declare a new column beside it.",
            )
        for one in (found, history_of(found)) if found.bitemporal else (found,):
            if lake.exists(one):
                with busy(f"rewriting {one.key}, {counted(int(lake.partitions(one)['rows'].sum()), 'row')}"):
                    rows = run(lake, one, empty=empty and one is found)
                outcome = f"{counted(rows, 'row')} rewritten" if rows else "nothing to rewrite"
                out.print(f"{one.key}: {outcome}")
        if empty:
            out.print(f"Next: data-platform build {found.key} --from {settings().first_day}")


@app.command()
def accept(as_json: AsJson = False) -> None:
    """Take the lake as it is now, after restoring a backup for example: what it lacks is computed again."""
    load_definitions()
    from data_platform.core.discovery import landing_sources
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations.restoring import accept as run

    with open_instance() as instance, busy("comparing the lake with its record"):
        done = run(configured_lake(), instance, landing_sources(), settings().landing)
    if as_json:
        print_json({"changed": done.changed, "files_put_back": done.put_back})
        return
    for change in done.changed:
        out.print(change, soft_wrap=True)
    if done.put_back:
        out.print(f"Back in landing: {counted(done.put_back, 'file')}.")
    out.print("The lake is accepted. Next: data-platform build" if done.changed else "Nothing had changed.")
