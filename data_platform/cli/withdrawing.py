"""The command withdraw: list what was taken in, take a file out again. Not here: how (operations/withdrawal)."""

from __future__ import annotations

from typing import Annotated

import typer

from data_platform.cli.definitions import load_definitions
from data_platform.core.errors import PlatformError, counted
from data_platform.core.terminal import AsJson, busy, out, plain_rows, print_json, show

MOST_LISTED = 20


def withdraw(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|SOURCE/FILE|SOURCE/BATCH", help="What to take out; the newest files are listed by default."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a file that should not have landed out again: its rows and its rejected lines."""
    from data_platform.core.discovery import landing_sources
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.lake.store import configured_lake
    from data_platform.operations import withdrawal
    from data_platform.sources.ingestion import landing_of

    lake = configured_lake()
    if name is None:
        files = withdrawal.received_files(lake).select(*withdrawal.LISTED, "withdrawn_lines", "withdrawn_at")
        if as_json:
            print_json(plain_rows(files))
        else:
            show(files.head(MOST_LISTED))
        return
    found = withdrawal.files_named(lake, name)
    entries = found.filter(found["withdrawn_lines"].is_null())
    lines = int(entries["received_lines"].sum())
    failures: tuple[str, ...] = ()
    if len(entries):
        folder = entries["source"][0]
        source = next((source for source in landing_sources() if source.name == folder), None)
        if source is None:
            raise PlatformError(
                f"{name} is of the landing folder {folder}, which no installed domain has.",
                "Install the domain's package again, then withdraw the file.",
            )
        defs = load_definitions()
        what = f"taking out {counted(lines, 'line')} of {counted(len(entries), 'file')}"
        with open_instance() as instance, busy(what):
            failures = withdrawal.withdraw(defs, instance, landing_of(source, lake), entries).failures
    if as_json:
        print_json({"files": entries["source_file"].to_list(), "lines": lines, "failures": list(failures)})
    if failures:
        raise PlatformError(
            "The withdrawal stopped: " + " | ".join(failures),
            "It is planned: correct the cause and run `data-platform build`.",
        )
    if as_json:
        return
    if entries.is_empty():
        out.print(f"{name} is withdrawn already, since {str(found['withdrawn_at'].max())[:16]}.", markup=False)
        return
    out.print(f"{counted(len(entries), 'file')} withdrawn, {counted(lines, 'line')}.")
    out.print("Days that depend on them are out of date now. Next: [bold]data-platform build[/bold]")
