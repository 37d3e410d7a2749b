"""Commands about contracts: contracts diff, contracts export. Not here: what counts as breaking."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.errors import counted
from data_platform.core.terminal import AsJson, busy, err, out, print_json

app = typer.Typer(no_args_is_help=True, help="Compare contracts with an earlier revision, or export them.")


@app.command()
def diff(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A git revision, for example HEAD~1 or main.")],
    if_there: Annotated[
        bool, typer.Option("--if-there", help="Succeed when REV cannot be compared with (CI, shallow clones).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What changed in the contracts since REV; exit code 1 when something breaks that is not declared."""
    from data_platform.operations.contract_changes import DECLARATIONS, RevisionMissing, compare_with

    try:
        with busy(f"reading the contracts of {revision}"):
            compared = compare_with(revision)
    except RevisionMissing as missing:
        if not if_there:
            raise
        err.print(Text(f"Contracts are not compared: {missing.problem}", "yellow"))
        return
    undeclared = compared.undeclared
    if as_json:
        print_json(
            {
                "revision": revision,
                "changes": [vars(change) | {"downstream": list(change.downstream)} for change in compared.changes],
                "declared": sorted(compared.declared),
                "undeclared": sorted({change.table for change in undeclared}),
            }
        )
        raise typer.Exit(1 if undeclared else 0)
    if not compared.changes:
        out.print(f"The contracts are those of {revision}.")
        return
    grid = Grid("table", "change", "", box=None, pad_edge=False)
    for change in compared.changes:
        declared = " (declared)" if change.table in compared.declared else ""
        mark = Text(f"breaks {change.breaks}{declared}", "red") if change.breaking else Text("compatible", "green")
        grid.add_row(change.table, Text(change.what), mark)
    out.print(grid)
    for table in sorted({change.table for change in compared.changes if change.breaking}):
        downstream = next(change.downstream for change in compared.changes if change.table == table)
        names = ", ".join(downstream) or "no table"
        out.print(Text(f"\nDownstream of {table}: {names}"))
    if undeclared:
        tables = sorted({change.table for change in undeclared})
        err.print(
            Text(f"\n{len(undeclared)} breaking changes are not declared. ", "bold red")
            + Text(f"Undo them, or add to {DECLARATIONS}: " + "; ".join(f"- BREAKING {t}: why" for t in tables))
        )
        raise typer.Exit(1)


@app.command()
def export(
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; made if it is not there.")],
    as_json: AsJson = False,
) -> None:
    """Write every contract as an Open Data Contract Standard 3.1 file."""
    from data_platform.core.contract.table import contracts
    from data_platform.operations.odcs import export as write

    load_definitions()
    files = write(list(contracts().values()), to)
    if as_json:
        print_json([str(file) for file in files])
    else:
        out.print(f"{counted(len(files), 'contract')} → {to}")
