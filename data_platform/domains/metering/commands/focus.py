"""Commands for FOCUS files: import a provider's bill, export costs. Not here: how rows are read or written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_platform.core.durable import move_durably
from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import busy, err, out
from data_platform.domains.metering.commands.metering import (
    IssuerName,
    Month,
    TenantOption,
    books_of,
    of_month,
    tell_totals,
)

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(
    name="focus", no_args_is_help=True, help="Bills and costs in FOCUS, the FinOps open cost and usage specification."
)
MOST_NAMED = 5


@app.command("import")
def import_bill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FOCUS 1.0, 1.2 or 1.4, CSV or Parquet.")],
    replace: Annotated[
        bool,
        typer.Option("--replace", help="The file is all of its invoices: rows imported before that it lacks are void."),
    ] = False,
) -> None:
    """Put a provider's bill into landing, to be held against usage; rows that were imported before count once."""
    from data_platform.domains.metering.focus.reading import as_ndjson, read_focus, replaced
    from data_platform.domains.metering.sources import PROVIDER_INVOICES

    found = read_focus(file)
    void = list(replaced(found, _imported_before())) if replace else []
    content = "".join(as_ndjson([*void, *found.lines]))
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    target = settings().landing / PROVIDER_INVOICES.name / f"focus-{digest}.ndjson"
    if found.lines:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_text(content, encoding="utf-8")
        move_durably(temporary, target)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    landed = f"{counted(len(found.lines), 'line')} ({kinds}) → {target}" if found.lines else "no line"
    out.print(f"{counted(found.rows, 'row')} of {file}: {landed}", soft_wrap=True)
    if void:
        out.print(f"{counted(len(void), 'row')} of earlier imports: replaced")
    if found.refused:
        named = "; ".join(f"row {number}: {reason}" for number, reason in found.refused[:MOST_NAMED])
        err.print(f"{counted(len(found.refused), 'row')} refused: {named}.", soft_wrap=True)
        raise typer.Exit(1)
    if found.lines:
        out.print("Next: data-platform build metering/invoice_reconciliation")


def _imported_before() -> pl.LazyFrame:
    """RawProviderInvoices. Raises PlatformError while some of it still waits."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.metering.contracts.invoices import RawProviderInvoices
    from data_platform.domains.metering.sources import PROVIDER_INVOICES
    from data_platform.sources.landing_files import pending_files

    if any(pending_files(settings().landing / PROVIDER_INVOICES.name)):
        raise PlatformError("Invoices wait in landing, and are not known yet.", "Run `data-platform ingest` first.")
    lake = configured_lake()
    return lake.scan(RawProviderInvoices) if lake.exists(RawProviderInvoices) else RawProviderInvoices.empty().lazy()


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to, .csv or .parquet.")],
    month: Month,
    tenant: TenantOption = None,
    issuer: IssuerName = "internal",
) -> None:
    """Write the bill of a month as FOCUS 1.4 (readable as 1.2): of a closed month as it was issued."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.metering.focus.charges import charges
    from data_platform.domains.metering.focus.files import write_focus
    from data_platform.domains.metering.focus.rows import Issuer, focus_rows

    first, _ = of_month(month)
    with busy(f"writing the costs of {month}"):
        bill = charges(books_of(configured_lake(), tenant), first)
        rows = write_focus(focus_rows(bill, first, Issuer(issuer, issuer)), file)
    out.print(f"{counted(rows, 'row')} of {month} → {file}", soft_wrap=True)
    tell_totals(bill)
