"""Customers as known at the end of a day equal plain Python over the lines of that time; later ones change nothing.
Not here: what counts as paid (test_commerce_lifecycles), sums that do not fit (test_money_values)."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl

from data_platform.domains.commerce.contracts.metrics import CustomerLifetime, CustomerLifetimeSnapshots
from data_platform.domains.commerce.contracts.star import FctOrderVersions
from data_platform_tests.support.commerce_homes import compute_and_publish, order, receive
from data_platform_tests.support.homes import Home, Row

DAYS = [dt.date(2024, 2, 26) + dt.timedelta(n) for n in range(20)]
PAID = {"paid", "fulfilled", "refunded"}
FIELDS = ("user_id", "currency", "frequency", "recency", "observed_days", "first_order_date", "last_order_date",
          "revenue", "monetary_value")  # fmt: skip


def histories(seed: int) -> list[Row]:
    """Changes of 60 orders over the days; midnight is a common hour."""
    chance, lines = random.Random(seed), []
    for number in range(60):
        day, minute = chance.choice(DAYS), chance.choice([0, 1, 700, 1439])
        at = f"{day} {minute // 60:02}:{minute % 60:02}"
        fixed = {"user_id": chance.choice(["u-1", "u-2", "u-3", None]), "currency": chance.choice(["USD", "EUR"]),
                 "order_type": chance.choice(["sale", "sale", "sale", "return"])}  # fmt: skip
        moments = sorted(chance.sample(range(0, 20 * 1440, 720), chance.randint(1, 4)))
        for step, after in enumerate([0, *moments[1:]]):
            changed = dt.datetime.fromisoformat(f"{at}:00Z") + dt.timedelta(minutes=after)
            lines.append(order(
                f"o-{number}", at, f"{chance.randint(0, 9999) / 100:.2f}",
                chance.choice(["pending", "paid", "paid", "refunded", "cancelled"]), **fixed,
                operation="delete" if step and chance.random() < 0.1 else "update" if step else "insert",
                changed_at=changed.isoformat(),
            ))  # fmt: skip
    return lines


def known_at_the_end_of(day: dt.date, lines: Iterable[Row], observed: dt.date | None = None) -> set[tuple[Any, ...]]:
    """CustomerLifetime by the changes until then, one at a time."""
    newest: dict[str, Row] = {}
    ever_paid: set[str] = set()
    for line in sorted(lines, key=lambda one: str(one["changed_at"])):
        if dt.datetime.fromisoformat(line["changed_at"]).date() <= day:
            newest[line["order_id"]] = line
            ever_paid |= {line["order_id"]} if line["status"] in PAID else set()
    purchases: dict[tuple[str, str], dict[dt.date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for name, line in newest.items():
        if name in ever_paid and line["operation"] != "delete" and line["order_type"] == "sale" and line["user_id"]:
            bought = dt.datetime.fromisoformat(line["ordered_at"]).date()
            purchases[line["user_id"], line["currency"]][bought] += Decimal(line["total_amount"])
    found = set()
    for who, days in purchases.items():
        first, last, times = min(days), max(days), len(days) - 1
        mean = (sum(days.values()) - days[first]) / times if times else None
        found.add((
            *who, times, (last - first).days, ((observed or day) - first).days, first, last, sum(days.values()),
            None if mean is None else mean.quantize(Decimal("0.01"), ROUND_HALF_UP),
        ))  # fmt: skip
    return found


def test_every_customer_is_as_known_at_the_end_of_each_day(home: Home) -> None:
    lines = histories(seed=7)
    receive(home, "orders", {"orders": lines})
    compute_and_publish(home, FctOrderVersions, DAYS)
    compute_and_publish(home, CustomerLifetimeSnapshots, DAYS[:9])
    compute_and_publish(home, CustomerLifetimeSnapshots, DAYS[9:])
    snapshots = home.rows(CustomerLifetimeSnapshots)
    for day in DAYS:
        found = set(snapshots.filter(pl.col("snapshot_date") == day).select(FIELDS).rows())
        assert found == known_at_the_end_of(day, lines), day
    compute_and_publish(home, CustomerLifetime, [])
    now = set(home.rows(CustomerLifetime).select(FIELDS).rows())
    assert now == known_at_the_end_of(dt.date(2025, 1, 1), lines, observed=DAYS[-1])
    assert now != known_at_the_end_of(DAYS[9], lines, observed=DAYS[-1]), "nothing to leak"


def test_what_happens_later_changes_no_snapshot(home: Home) -> None:
    lines = histories(seed=8)
    middle = DAYS[9]
    early = [one for one in lines if dt.datetime.fromisoformat(one["changed_at"]).date() <= middle]
    receive(home, "early", {"orders": early})
    found = []
    for name, more in (("none", []), ("late", [one for one in lines if one not in early])):
        if more:
            receive(home, name, {"orders": more})
        compute_and_publish(home, FctOrderVersions, DAYS)
        compute_and_publish(home, CustomerLifetimeSnapshots, DAYS[:10])
        found.append(home.rows(CustomerLifetimeSnapshots).sort(CustomerLifetimeSnapshots.primary_key))
    assert len(found[0]) > 20
    assert found[0].equals(found[1])
