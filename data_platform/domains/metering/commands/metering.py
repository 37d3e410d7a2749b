"""Commands for whoever answers for costs: close a month, see what could be saved. Not here: how that is found."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from data_platform.core.contract.calendar import next_month, today_utc
from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import AsJson, busy, err, out, plain_rows, print_json

if TYPE_CHECKING:
    import polars as pl

    from data_platform.core.contract.table import Table
    from data_platform.core.lake.store import Lake
    from data_platform.domains.metering.closing import Obstacle
    from data_platform.domains.metering.focus.charges import Books

app = typer.Typer(
    name="metering", no_args_is_help=True, help="What calls of language models cost: close a month, find savings."
)
Month = Annotated[str, typer.Option("--month", metavar="MONTH", help="For example 2026-10 (UTC).")]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="Of this tenant alone.")]
IssuerName = Annotated[str, typer.Option("--issuer", metavar="NAME", help="Who bills the tenants.")]


def of_month(text: str) -> tuple[dt.date, dt.date]:
    """First and last day of `2026-10`. Raises PlatformError."""
    from data_platform.domains.metering.closing import month_of

    try:
        first = month_of(text)
    except ValueError:
        raise PlatformError(f"{text} is no month.", "Write it as 2026-10.") from None
    return first, next_month(first) - dt.timedelta(days=1)


def _rows(lake: Lake, table: type[Table], first: dt.date | None = None, last: dt.date | None = None) -> pl.LazyFrame:
    """Of the days, or all; none where nothing was built."""
    return lake.scan(table, first, last) if lake.exists(table) else table.empty().lazy()


def books_of(lake: Lake, tenant: str | None = None) -> Books:
    """What bills are made of, of everybody or of a tenant. Raises PlatformError before anything was built."""
    import polars as pl

    from data_platform.domains.metering.contracts.billing import RawBilledCharges, TenantSkuCosts
    from data_platform.domains.metering.contracts.costs import CostAdjustments, TenantDailyCosts
    from data_platform.domains.metering.contracts.shared_costs import CostAllocation
    from data_platform.domains.metering.focus.charges import Books

    if not lake.exists(TenantDailyCosts):
        raise PlatformError("No costs have been built.", "Run `data-platform build metering`.")
    theirs = pl.col("tenant_id") == tenant if tenant is not None else pl.lit(True)
    tables = (TenantSkuCosts, CostAllocation, CostAdjustments, RawBilledCharges)
    return Books(*(_rows(lake, table).filter(theirs) for table in tables))


def tell_totals(bill: pl.LazyFrame) -> None:
    """What a bill sums to, by currency: of calls, of shared costs, of what is corrected."""
    import polars as pl

    from data_platform.domains.metering.money import EXACT

    calls = pl.when(pl.col("shared_cost_id").is_null()).then(pl.lit("calls")).otherwise(pl.lit("shared costs"))
    kind = pl.when(pl.col("charge_class").is_null()).then(calls).otherwise("corrections, " + calls)
    sums = bill.group_by("currency", kind.alias("kind")).agg(pl.col("amount").sum()).sort("currency", "kind").collect()
    for currency, what, amount in sums.iter_rows():
        out.print(f"  {what}: {EXACT.normalize(amount):f} {currency}")


@app.command()
def close(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the FOCUS export goes, .csv or .parquet.")],
    month: Month,
    issuer: IssuerName = "internal",
) -> None:
    """Say whether a month can be closed; if so, write its bill as FOCUS and keep it: what is corrected later is on the
    bill of the next month. Nothing is written while anything is open. Of a month that is closed the same bill again."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.metering.closing import obstacles, open_before
    from data_platform.domains.metering.contracts.costs import TenantDailyCosts
    from data_platform.domains.metering.contracts.invoices import InvoiceReconciliation
    from data_platform.domains.metering.contracts.shared_costs import CostAllocation
    from data_platform.domains.metering.focus.charges import charges, closed_months
    from data_platform.domains.metering.focus.files import write_focus
    from data_platform.domains.metering.focus.rows import Issuer, focus_rows

    lake, (first, last) = configured_lake(), of_month(month)
    books = books_of(lake)
    closed = closed_months(books.billed)
    if first in closed:
        kept = charges(books, first)
        rows = write_focus(focus_rows(kept, first, Issuer(issuer, issuer)), file)
        out.print(f"{month} was closed before; its bill: {counted(rows, 'row')} → {file}", soft_wrap=True)
        tell_totals(kept)
        return
    with busy(f"looking at {month}"):
        tables = (TenantDailyCosts, CostAllocation, InvoiceReconciliation)
        frames = [_rows(lake, table, first, last) for table in tables]
        found = [*open_before(first, closed), *late(lake, min({first} | closed), last)]
        found += obstacles(first, today_utc(), *frames)
    for one in found:
        err.print(
            Text(f"{one.problem}. ", "yellow") + Text(f"{one.remedy[:1].upper()}{one.remedy[1:]}."), soft_wrap=True
        )
    if found:
        raise PlatformError(
            f"{month} cannot be closed: {counted(len(found), 'open point')}.", "Settle them, build, and ask again."
        )
    bill = charges(books, first).collect()
    rows = write_focus(focus_rows(bill.lazy(), first, Issuer(issuer, issuer)), file)
    _keep(bill, first)
    out.print(f"{month} is closed: {counted(rows, 'row')} → {file}", soft_wrap=True)
    tell_totals(bill.lazy())
    out.print("Its bill is in landing. Next: data-platform build raw/billed_charges")


def _keep(bill: pl.DataFrame, month: dt.date) -> None:
    """Put the bill into landing, whole or not at all."""
    from data_platform.core.durable import move_durably
    from data_platform.domains.metering.focus.charges import as_lines
    from data_platform.domains.metering.sources import BILLED_CHARGES

    now = dt.datetime.now(dt.UTC)
    target = settings().landing / BILLED_CHARGES.name / f"bill-{month:%Y-%m}.ndjson"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    with temporary.open("w", encoding="utf-8") as lines:
        lines.writelines(as_lines(bill, month, now))
    move_durably(temporary, target)


def late(lake: Lake, first: dt.date, last: dt.date) -> list[Obstacle]:
    """Files that wait, and days that are out of date."""
    from data_platform.core.instance.materialisations import of_home
    from data_platform.domains.metering.closing import Obstacle
    from data_platform.domains.metering.sources import SOURCES
    from data_platform.operations.declared import declared_steps
    from data_platform.operations.plan import backfill_plan
    from data_platform.sources.landing_files import pending_files

    found = []
    waiting = [source.name for source in SOURCES if any(pending_files(settings().landing / source.name))]
    if waiting:
        found.append(Obstacle(f"files wait in landing: {', '.join(waiting)}", "run `data-platform ingest`"))
    tables = [
        "metering/cost_allocation", "metering/cost_adjustments", "metering/invoice_reconciliation",
        "metering/tenant_sku_costs",
    ]  # fmt: skip
    with of_home() as record:
        plan = backfill_plan(declared_steps(), record, lake, tables, first, last)
    stale = {planned.table.key: len(planned.days) for planned in plan.tables if planned.table.partition}
    if stale:
        named = ", ".join(f"{key} ({counted(days, 'day')})" for key, days in stale.items())
        found.append(Obstacle(f"out of date: {named}", "run `data-platform build metering`"))
    return found


@app.command()
def savings(month: Month, tenant: TenantOption = None, as_json: AsJson = False) -> None:
    """What a month's calls would have cost less, by tenant: what to do, what must hold for it, and what it rests on."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.metering.contracts.savings import ASSUMPTIONS, SavingsOpportunities
    from data_platform.domains.metering.savings_report import in_words, summed_up

    lake = configured_lake()
    if not lake.exists(SavingsOpportunities):
        raise PlatformError("No savings have been worked out.", "Run `data-platform build metering`.")
    found = summed_up(lake.scan(SavingsOpportunities, *of_month(month)), tenant)
    if as_json:
        print_json(plain_rows(found))
        return
    if found.is_empty():
        out.print(f"Nothing could have been saved in {month}, as far as the tables tell.")
        return
    for text in in_words(found):
        out.print(text, soft_wrap=True)
    out.print("\nWhat must hold for it; of several kinds for the same calls one alone can be had:")
    for kind in sorted(set(found["kind_of_saving"])):
        out.print(f"  {kind}: {ASSUMPTIONS[kind]}", soft_wrap=True)
