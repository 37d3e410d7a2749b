"""A year of a made-up shop in the lake, as if it had been received: 20,000 orders and 500,000 events a day.
Belongs here: raw tables, and the facts of the days before the measured one. Not here: measuring (commerce)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from benchmarks.made_up import amounts, moments, numbered, picked, rows_of
from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.domains.commerce.contracts import sources as raw
from data_platform.domains.commerce.contracts.metrics import SETTLEMENT_DAYS
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents

USERS, PRODUCTS, LINES = 200_000, 500, 2
REFUNDED_EVERY = 20
"""One order in so many is refunded, on the day it was placed."""
EVENTS_A_PLAYER = 8
CURRENCIES = ("EUR", "GBP", "USD")
WINDOW_DAYS = 30


def fill(lake: Lake, days: list[dt.date], orders: int, events: int, tell: Callable[[str, int, int], None]) -> None:
    """What is received of every day; of charges, events and the like only the days that the last one's models read."""
    random = np.random.default_rng(1)
    _write(lake, raw.RawUserChanges, [_users(random, days)])
    _write(lake, raw.RawProductChanges, [_products(random, days[0])])
    for number, day in enumerate(days):
        tell("what the shop receives", number, len(days))
        back = len(days) - 1 - number
        placed = _orders(random, day, orders)
        _write(lake, raw.RawOrderChanges, [_order_changes(placed, "insert"), _order_changes(placed, "update")])
        if back <= 2 * SETTLEMENT_DAYS:
            _write(lake, raw.RawOrderItemChanges, [_items(random, placed)])
            _write(lake, raw.RawStripeCharges, [_charges(placed)])
            _write(lake, raw.RawStripeRefunds, [_refunds(placed)])
            _write(lake, raw.RawStripePayouts, [_payouts(placed)])
            _write(lake, raw.RawSendgridEvents, [_emails(random, placed)])
        if back < WINDOW_DAYS:
            _write(lake, PlayerDailyActivity, [_activity(random, day, events // EVENTS_A_PLAYER)])
    _write(lake, PlayerEvents, [_events(random, days[-1], events)])


def _write(lake: Lake, table: type[Table], frames: list[pl.DataFrame]) -> None:
    lake.commit(table, [file for frame in frames for file in lake.stage(table, frame)])


def _received(table: type[Table], count: int, **columns: Any) -> pl.DataFrame:
    lines = pl.int_range(1, count + 1, eager=True)
    at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    return rows_of(table, **columns, source_file="made-up.ndjson", source_line=lines, received_at=at)


def _users(random: Any, days: list[dt.date]) -> pl.DataFrame:
    """Everybody on the first day; every fifth one changes once, on some day."""
    changed = np.arange(0, USERS, 5)
    number = np.concatenate([np.arange(USERS), changed])
    late = random.integers(1, len(days), len(changed))
    at = pl.concat([
        moments(random, days[0], USERS),
        moments(random, days[0], len(changed)) + pl.Series(late * 86_400_000_000).cast(pl.Duration("us")),
    ])  # fmt: skip
    user = numbered("player-", number, 8)
    return _received(
        raw.RawUserChanges, len(number), change_date=at.dt.date(), user_id=user, email=user + "@example.org",
        country=picked(random, len(number), "DE", "GB", "US"), plan=picked(random, len(number), "free", "gold"),
        registered_at=at[0], operation=pl.Series(["insert"] * USERS + ["update"] * len(changed)), changed_at=at,
    )  # fmt: skip


def _products(random: Any, first: dt.date) -> pl.DataFrame:
    name = numbered("product-", range(PRODUCTS), 4)
    return _received(
        raw.RawProductChanges, PRODUCTS, change_date=first, product_id=name, name=name,
        category=picked(random, PRODUCTS, "gems", "bundle"), list_price=amounts(random, PRODUCTS).cast(pl.String),
        currency="USD", operation="insert", changed_at=dt.datetime.combine(first, dt.time(), dt.UTC),
    )  # fmt: skip


def _orders(random: Any, day: dt.date, count: int) -> pl.DataFrame:
    """order_date, order_id, user_id, price (of a piece; the order has LINES of them), total, currency, ordered_at."""
    price = amounts(random, count)
    return pl.select(
        order_date=day, order_id=numbered(f"order-{day:%Y%m%d}-", range(count), 6),
        user_id=numbered("player-", random.integers(0, USERS, count), 8), price=price,
        total=(price * LINES).cast(pl.Decimal(18, 2)), currency=picked(random, count, *CURRENCIES),
        ordered_at=moments(random, day, count),
    )  # fmt: skip


def _order_changes(placed: pl.DataFrame, operation: str) -> pl.DataFrame:
    paid = operation == "update"
    return _received(
        raw.RawOrderChanges, len(placed), **placed.select("order_date", "order_id", "user_id", "currency",
        "ordered_at").to_dict(), order_type="sale", status="paid" if paid else "pending",
        total_amount=placed["total"].cast(pl.String), operation=operation,
        changed_at=placed["ordered_at"] + dt.timedelta(seconds=30 if paid else 0),
    )  # fmt: skip


def _items(random: Any, placed: pl.DataFrame) -> pl.DataFrame:
    lines = placed.select(pl.all().repeat_by(LINES).explode())
    number = numbered("-", np.arange(len(lines)) % LINES, 1)
    return _received(
        raw.RawOrderItemChanges, len(lines), **lines.select("order_date", "order_id", "currency",
        "ordered_at").to_dict(), order_item_id=lines["order_id"] + number,
        product_id=numbered("product-", random.integers(0, PRODUCTS, len(lines)), 4), quantity=1,
        unit_price=lines["price"].cast(pl.String), operation="insert", changed_at=lines["ordered_at"],
    )  # fmt: skip


def _objects(table: type[Table], frame: pl.DataFrame, object_id: pl.Expr, *payload: pl.Expr | str) -> pl.DataFrame:
    made = frame.select(
        object_id=object_id, created_date="order_date", created_at="ordered_at",
        payload=pl.struct(*payload).struct.json_encode(),
    )  # fmt: skip
    return _received(table, len(made), **made.to_dict(), observed_at=made["created_at"])


CHARGE_ID, REFUND_ID = "ch-" + pl.col("order_id"), "re-" + pl.col("order_id")
CENTS = (pl.col("total") * 100).cast(pl.Int64)
LOWER = pl.col("currency").str.to_lowercase()
SUCCEEDED, ORDER = pl.lit("succeeded").alias("status"), pl.struct("order_id").alias("metadata")


def _charges(placed: pl.DataFrame) -> pl.DataFrame:
    fields = (CHARGE_ID.alias("id"), CENTS.alias("amount"), LOWER, SUCCEEDED, ORDER)
    return _objects(raw.RawStripeCharges, placed, CHARGE_ID, *fields)


def _refunded(placed: pl.DataFrame) -> pl.DataFrame:
    return placed.gather_every(REFUNDED_EVERY)


def _refunds(placed: pl.DataFrame) -> pl.DataFrame:
    fields = (REFUND_ID.alias("id"), CENTS.alias("amount"), CHARGE_ID.alias("charge"), LOWER, SUCCEEDED, ORDER)
    return _objects(raw.RawStripeRefunds, _refunded(placed), REFUND_ID, *fields)


def _payouts(placed: pl.DataFrame) -> pl.DataFrame:
    """One per currency, of all that moved on the day."""

    def moved(rows: pl.DataFrame, kind: str, source: pl.Expr, amount: pl.Expr) -> pl.DataFrame:
        one = pl.struct(
            ("txn-" + source).alias("id"), pl.lit(kind).alias("type"), source.alias("source"), amount.alias("amount"),
            pl.lit(0).alias("fee"), amount.alias("net"), LOWER,
        )  # fmt: skip
        return rows.select("order_date", "currency", "ordered_at", data=one)

    every = [
        moved(placed, "charge", CHARGE_ID, CENTS),
        moved(_refunded(placed), "refund", REFUND_ID, -CENTS),
    ]
    paid = pl.concat(every).group_by("order_date", "currency").agg(pl.col("ordered_at").max(), "data")
    listed = pl.struct("data").alias("balance_transactions")
    name = pl.format("po-{}-{}", "order_date", "currency")
    return _objects(raw.RawStripePayouts, paid, name, pl.lit("paid").alias("status"), LOWER, listed)


def _emails(random: Any, placed: pl.DataFrame) -> pl.DataFrame:
    """Every receipt is delivered, and some are opened."""
    opened = placed.filter(pl.Series(random.random(len(placed)) < 0.6))
    every = pl.concat([placed.with_columns(event=pl.lit("delivered")), opened.with_columns(event=pl.lit("open"))])
    name = pl.format("{}-{}", "event", "order_id")
    fields = ("event", name.alias("sg_event_id"), ("msg-" + pl.col("order_id")).alias("sg_message_id"), "user_id")
    return _objects(raw.RawSendgridEvents, every, name, *fields)


def _activity(random: Any, day: dt.date, players: int) -> pl.DataFrame:
    chosen = random.choice(USERS, min(players, USERS), replace=False)
    counts = {name: 0 for name, declared in PlayerDailyActivity.columns.items() if declared.dtype.is_integer()}
    return rows_of(
        PlayerDailyActivity, activity_date=day, player_id=numbered("player-", chosen, 8),
        **{**counts, "total_events": EVENTS_A_PLAYER},
    )  # fmt: skip


def _events(random: Any, day: dt.date, count: int) -> pl.DataFrame:
    return rows_of(
        PlayerEvents, event_date=day, event_id=numbered(f"event-{day:%Y%m%d}-", range(count), 8),
        player_id=numbered("player-", random.integers(0, USERS, count), 8),
        campaign_id=numbered("campaign-", random.integers(0, 1000, count), 4),
        event_type=picked(random, count, "combat_start", "spell_cast", "dialogue_choice", "level_up"),
        event_data='{"damage": 12, "target": "goblin"}', session_id=numbered("s-", random.integers(0, 10**6, count), 7),
        timestamp=moments(random, day, count),
    )  # fmt: skip
