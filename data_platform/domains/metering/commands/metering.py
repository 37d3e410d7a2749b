"""Commands for whoever answers for costs: close a month, see what could be saved. Not here: how that is found."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import AsJson, busy, err, out, plain_rows, print_json, today

if TYPE_CHECKING:
    import polars as pl

    from data_platform.core.lake.store import Lake
    from data_platform.domains.metering.closing import Obstacle

app = typer.Typer(
    name="metering", no_args_is_help=True, help="What calls of language models cost: close a month, find savings."
)
Month = Annotated[str, typer.Option("--month", metavar="MONTH", help="For example 2026-10 (UTC).")]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="Of this tenant alone.")]
IssuerName = Annotated[str, typer.Option("--issuer", metavar="NAME", help="Who bills the tenants.")]


def of_month(text: str) -> tuple[dt.date, dt.date]:
    """First and last day of `2026-10`. Raises PlatformError."""
    from data_platform.domains.metering.closing import month_of, next_month

    try:
        first = month_of(text)
    except ValueError:
        raise PlatformError(f"{text} is no month.", "Write it as 2026-10.") from None
    return first, next_month(first) - dt.timedelta(days=1)


def monthly(lake: Lake, month: str, tenant: str | None = None) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """Daily costs, allocation and reconciliation of a month; without rows where nothing was built."""
    import polars as pl

    from data_platform.domains.metering.contracts.costs import TenantDailyCosts
    from data_platform.domains.metering.contracts.invoices import InvoiceReconciliation
    from data_platform.domains.metering.contracts.shared_costs import CostAllocation

    if not lake.exists(TenantDailyCosts):
        raise PlatformError("No costs have been built.", "Run `data-platform build metering`.")
    days = of_month(month)
    costs, allocation, reconciliation = (
        lake.scan(table, *days) if lake.exists(table) else table.empty().lazy()
        for table in (TenantDailyCosts, CostAllocation, InvoiceReconciliation)
    )
    if tenant is not None:
        costs, allocation = (frame.filter(pl.col("tenant_id") == tenant) for frame in (costs, allocation))
    return costs, allocation, reconciliation


def tell_totals(costs: pl.LazyFrame, allocation: pl.LazyFrame) -> None:
    """What it sums to, by currency: of calls, and of shared costs."""
    import polars as pl

    from data_platform.domains.metering.money import EXACT

    parts = [
        costs.filter(pl.col("currency") != "").select("currency", "cost", kind=pl.lit("calls")),
        allocation.drop_nulls("amount").select("currency", cost="amount", kind=pl.lit("shared costs")),
    ]
    sums = pl.concat(parts).group_by("currency", "kind").agg(pl.col("cost").sum()).sort("currency", "kind").collect()
    for currency, kind, cost in sums.select("currency", "kind", "cost").iter_rows():
        out.print(f"  {kind}: {EXACT.normalize(cost):f} {currency}")


@app.command()
def close(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the FOCUS export goes, .csv or .parquet.")],
    month: Month,
    issuer: IssuerName = "internal",
) -> None:
    """Say whether a month can be closed; if so, write its costs as FOCUS. Nothing is written while anything is open."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.metering.closing import obstacles
    from data_platform.domains.metering.focus.files import write_focus
    from data_platform.domains.metering.focus.rows import Issuer, focus_rows

    lake, first = configured_lake(), of_month(month)[0]
    with busy(f"looking at {month}"):
        frames = monthly(lake, month)
        found = [*late(lake, month), *obstacles(first, today(), *frames)]
    for one in found:
        err.print(
            Text(f"{one.problem}. ", "yellow") + Text(f"{one.remedy[:1].upper()}{one.remedy[1:]}."), soft_wrap=True
        )
    if found:
        raise PlatformError(
            f"{month} cannot be closed: {counted(len(found), 'open point')}.", "Settle them, build, and ask again."
        )
    costs, allocation, _ = frames
    rows = write_focus(focus_rows(costs, allocation, first, Issuer(issuer, issuer)), file)
    out.print(f"{month} can be closed: {counted(rows, 'row')} → {file}", soft_wrap=True)
    tell_totals(costs, allocation)


def late(lake: Lake, month: str) -> list[Obstacle]:
    """Files that wait, and days of the month that are out of date."""
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
    tables = ["metering/cost_allocation", "metering/invoice_reconciliation"]
    with of_home() as record:
        plan = backfill_plan(declared_steps(), record, lake, tables, *of_month(month))
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
