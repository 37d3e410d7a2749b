"""A real retailer's order lines through the mappings of examples/, day by day, against plain Python over the CSV files.
Skipped where the data is absent. Not here: made-up orders."""

from __future__ import annotations

import csv
import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.domains.commerce.contracts.metrics import CustomerLifetime, RevenueRetentionCohorts
from data_platform.domains.commerce.contracts.sources import RawOrderChanges, RawOrderItemChanges
from data_platform.domains.commerce.contracts.star import FctOrderItems, FctOrders, FctOrderVersions, RejectedRows
from data_platform.domains.commerce.sources import ORDER_ITEMS, ORDERS
from data_platform.sources.files.mapping import map_file
from data_platform_tests.support.commerce_homes import bring_up_to_date, compute_and_publish, contents
from data_platform_tests.support.homes import Home, assert_same_tables
from data_platform_tests.support.running import ROOT
from data_platform_tests.support.shared_data import SHARED_DATA

FILES = sorted((SHARED_DATA / "online_retail_by_day").glob("*.csv"))
OF_DAYS: tuple[type[Table], ...] = (FctOrders, FctOrderItems, FctOrderVersions, RejectedRows)
WHOLE: tuple[type[Table], ...] = (RevenueRetentionCohorts, CustomerLifetime)
TABLES = (*OF_DAYS, *WHOLE)
CENT = Decimal("0.01")

pytestmark = pytest.mark.skipif(not FILES, reason="the retailer's files are not here")
Line = tuple[str, ...]


def shifted(file: Path, to: Path) -> Path:
    """The same file 5,000 days later, because the first day of tests is 2024-01-01."""
    day = dt.date.fromisoformat(file.stem) + dt.timedelta(5000)
    text = file.read_text(encoding="utf-8").replace(f",{file.stem} ", f",{day} ")
    made = to / f"{day}.csv"
    made.write_text(text, encoding="utf-8")
    return made


def read_lines(files: Sequence[Path]) -> dict[str, set[Line]]:
    """Per day its different lines; exact copies are one."""
    return {file.stem: {tuple(row) for row in list(csv.reader(file.open(encoding="utf-8")))[1:]} for file in files}


def money(line: Line) -> Decimal:
    return int(line[3]) * Decimal(line[5])


def is_good(line: Line) -> bool:
    """A sale, or a credit note; at a price in whole cents."""
    return (line[0].startswith("C") or int(line[3]) > 0) and Decimal(line[5]) == Decimal(line[5]).quantize(CENT)


def load(home: Home, file: Path) -> None:
    """Bring a day in, and compute exactly what depends on it."""
    for mapping, source in (("online_retail_orders.sql", ORDERS), ("online_retail_items.sql", ORDER_ITEMS)):
        map_file(file, ROOT / "examples" / mapping, source, home.landing)
    written: dict[type[Table], set[str]] = defaultdict(set)
    for result in home.ingest():
        assert result.rejected == 0
        written[result.source.table] |= set(map(str, result.days))
    assert written == {RawOrderChanges: {file.stem}, RawOrderItemChanges: {file.stem}}
    done = bring_up_to_date(home, written, OF_DAYS, [dt.date.fromisoformat(file.stem)])
    assert all(days == [file.stem] for days in done.values())


def check_days(home: Home, tmp_path: Path, files: Sequence[Path]) -> None:
    made = [shifted(file, tmp_path) for file in files]
    for file in made:
        load(home, file)
    for table in WHOLE:
        compute_and_publish(home, table, [])
    expected = read_lines(made)

    items = home.rows(FctOrderItems)
    by_day = items.group_by("order_date").agg(pl.col("revenue").sum()).rows()
    revenue = {str(day): total for day, total in by_day}
    assert revenue == {day: sum(map(money, filter(is_good, lines))) for day, lines in expected.items()}
    assert len(items) == sum(len(list(filter(is_good, lines))) for lines in expected.values())
    rejected = sum(len(lines) for lines in expected.values()) - len(items)
    assert home.rows(RejectedRows).height == rejected > 0

    totals: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for day, lines in expected.items():
        for line in lines:
            totals[day, line[0]] += money(line)
    orders = home.rows(FctOrders).select("order_date", "order_id", "revenue").rows()
    assert {(str(day), name): amount for day, name, amount in orders} == {
        key: total.quantize(CENT, ROUND_HALF_UP) for key, total in totals.items()
    }
    check_customers(home, expected)

    before = contents(home, TABLES)
    for day in [dt.date.fromisoformat(file.stem) for file in made[:2]]:
        for table in OF_DAYS:
            compute_and_publish(home, table, [day])
    for table in WHOLE:
        compute_and_publish(home, table, [])
    assert_same_tables(contents(home, TABLES), before)


def check_customers(home: Home, expected: dict[str, set[Line]]) -> None:
    """Cohorts and lifetimes, naively: every invoice of a known customer that is no credit note is a purchase."""
    bought: dict[str, dict[dt.date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for day, lines in expected.items():
        invoices: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for line in lines:
            if line[6] and not line[0].startswith("C"):
                invoices[line[0], str(int(float(line[6])))] += money(line)
        for (_, customer), amount in invoices.items():  # an invoice is in whole cents, whatever its prices are
            bought[customer][dt.date.fromisoformat(day)] += amount.quantize(CENT, ROUND_HALF_UP)
    last = max(map(dt.date.fromisoformat, expected))
    lifetimes = {}
    cohorts: dict[tuple[dt.date, int], set[str]] = defaultdict(set)
    for customer, days in bought.items():
        first = min(days)
        repeats = len(days) - 1
        repeat = sum(amount for day, amount in days.items() if day != first)
        mean = (repeat / repeats).quantize(CENT, ROUND_HALF_UP) if repeats else None
        lifetimes[customer] = (repeats, (max(days) - first).days, (last - first).days, sum(days.values()), mean)
        for day in days:
            months = (day.year - first.year) * 12 + day.month - first.month
            cohorts[first.replace(day=1), months].add(customer)
    found = home.rows(CustomerLifetime).select(
        "user_id", "frequency", "recency", "observed_days", "revenue", "monetary_value"
    )
    assert {name: tuple(figures) for name, *figures in found.rows()} == lifetimes
    users = home.rows(RevenueRetentionCohorts).select("cohort_month", "months_since", "users").rows()
    assert {(month, since): count for month, since, count in users} == {key: len(who) for key, who in cohorts.items()}


def test_three_days_agree_to_the_cent_and_running_a_day_again_changes_nothing(home: Home, tmp_path: Path) -> None:
    check_days(home, tmp_path, [FILES[0], FILES[1], FILES[30]])


@pytest.mark.soak
def test_every_day_agrees_to_the_cent(home: Home, tmp_path: Path) -> None:
    check_days(home, tmp_path, FILES)
