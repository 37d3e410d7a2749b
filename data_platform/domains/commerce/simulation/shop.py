"""What players buy: products, orders with their lines, Stripe's charges, refunds and payouts, SendGrid's events.

Knows players by slot and when they play; not how lines are written. Orders are as change capture delivers them (full
rows, decimals as text), payments and e-mail events as the APIs do (minor units, nested objects).
"""

import numpy as np
import polars as pl

from data_platform.domains.commerce.simulation.dirt import soil_orders, withhold
from data_platform.domains.gameplay.simulation.game import Game
from data_platform.domains.gameplay.simulation.players import COUNTRIES
from data_platform.domains.gameplay.simulation.world import Sessions
from data_platform.simulation.company import Company, Part
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.text import DAY, HOUR, MINUTE, SECOND, Ints, uuids
from data_platform.simulation.writer import Landing

CURRENCIES = {
    "US": "USD", "CA": "CAD", "BR": "BRL", "GB": "GBP", "DE": "EUR", "FR": "EUR", "PL": "PLN", "IN": "INR",
    "KR": "KRW", "JP": "JPY", "AU": "AUD",
}  # fmt: skip
# A US cent in minor units of the currency; won and yen have none smaller.
RATES = {
    "USD": 1.0,
    "CAD": 1.4,
    "BRL": 5.0,
    "GBP": 0.8,
    "EUR": 0.9,
    "PLN": 4.0,
    "INR": 80.0,
    "KRW": 13.0,
    "JPY": 1.5,
    "AUD": 1.5,
}
WHOLE = ("KRW", "JPY")
KINDS = (("cosmetic", 499), ("bundle", 1999), ("subscription", 999), ("expansion", 2999), ("gems", 199))
_PRODUCTS = 40
_BUYS = 0.12  # chance of an order by someone who plays that day
_PAYS, _REFUNDED, _PARTLY = 0.94, 0.05, 0.01
_OPENS, _CLICKS = 0.6, 0.15
_STREAM = 5  # of random numbers: nobody plays otherwise because of what is sold
_OPEN_ORDERS = {
    "order_id": pl.String, "user_id": pl.String, "currency": pl.String, "minor": pl.Int64, "ordered_at": pl.Int64,
    "charge_id": pl.String, "part": pl.Int64, "due": pl.Int64,
}  # fmt: skip


class Shop(Part):
    """The state of the shop. Those who play in the game buy in it."""

    def __init__(self, scenario: Scenario, company: Company) -> None:
        super().__init__(scenario, company)
        self._game = company.part(Game)
        rng = scenario.random(_STREAM)
        country = pl.Series([code for code, _, _ in COUNTRIES]).gather(self._game.world.players.country)
        self._currency = country.replace_strict(CURRENCIES, return_dtype=pl.String)
        self._kind = rng.integers(0, len(KINDS), _PRODUCTS)
        self._cents = np.array([cents for _, cents in KINDS])[self._kind] + 100 * rng.integers(0, 10, _PRODUCTS)
        self._refunds = pl.DataFrame(schema=_OPEN_ORDERS)
        self._settling = pl.DataFrame(schema={"source": pl.String, "type": pl.String, "currency": pl.String,
                                              "minor": pl.Int64, "at": pl.Int64})  # fmt: skip
        self._withheld = pl.DataFrame()

    def live(self, day: int, landing: Landing) -> None:
        """Orders of those who play, refunds that fall due, yesterday's payouts."""
        rng = self.scenario.random(_STREAM, day)
        today = self.scenario.midnight(day)
        orders, items = self._orders(self._game.sessions, today, rng)
        charges = _charges(orders, rng)
        changes = {"products": self._products(day, today, rng), "order_items": items}
        changes["orders"] = pl.concat([_inserted(orders), _settled(orders, charges), self._refunded(today)])
        refunds = self._refund(today, orders, charges, rng)
        payouts = self._pay_out(today, rng)
        self._settle(charges, refunds)
        if "players" in self._game.changes:
            changes["users"] = _users(self._game.changes["players"])
        if self.scenario.dirty:
            dirt = self.scenario.random(_STREAM, day, 1)
            changes["order_items"], changes["orders"] = soil_orders(changes["order_items"], changes["orders"], dirt)
            if day + 1 < self.scenario.days:
                changes["orders"], self._withheld = withhold(changes["orders"], self._withheld, dirt)
            elif len(self._withheld):
                changes["orders"] = pl.concat([self._withheld, changes["orders"]])
        objects = {
            "stripe_charges": _charge_objects(charges),
            "stripe_refunds": _refund_objects(refunds),
            "stripe_payouts": payouts,
            "sendgrid_events": _emails(orders, charges, rng),
        }
        for written_at, folders in (("changed_at", changes), ("created_at", objects)):
            for folder, rows in folders.items():
                if len(rows):
                    landing.write_rows(self.scenario.date(day), folder, rows.sort(written_at, maintain_order=True))

    def _products(self, day: int, today: int, rng: np.random.Generator) -> pl.DataFrame:
        """All products on the first day; afterwards a new price now and then."""
        changed = np.arange(_PRODUCTS) if day == 0 else np.flatnonzero(rng.random(_PRODUCTS) < 0.01)
        if day:
            self._cents[changed] = np.maximum(99, self._cents[changed] + rng.choice([-100, 100, 200], len(changed)))
        return pl.DataFrame(
            {
                "product_id": [f"product-{slot + 1:03}" for slot in changed],
                "name": [f"{KINDS[self._kind[slot]][0].title()} {slot + 1}" for slot in changed],
                "category": [KINDS[self._kind[slot]][0] for slot in changed],
                "list_price": [f"{self._cents[slot] // 100}.{self._cents[slot] % 100:02}" for slot in changed],
                "currency": ["USD"] * len(changed),
                "operation": ["update" if day else "insert"] * len(changed),
                "changed_at": today + np.full(len(changed), MINUTE if day else 0),
            },
            schema_overrides={name: pl.String for name in ("product_id", "name", "category", "list_price", "currency")},
        )

    def _orders(self, sessions: Sessions, today: int, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The orders placed in the day's first sessions, with `minor` units to pay, and their lines as change rows."""
        who, first = np.unique(sessions.player, return_index=True)
        buys = rng.random(len(who)) < _BUYS
        who, first = who[buys], first[buys]
        length = sessions.end[first] - sessions.start[first]
        at = np.minimum(sessions.start[first] + (rng.random(len(who)) * length).astype(np.int64), today + DAY - 1)
        orders = pl.DataFrame(
            {
                "order_id": uuids(rng, len(who)),
                "user_id": self._game.world.players.id.gather(who),
                "currency": self._currency.gather(who),
                "ordered_at": at,
                "fails": rng.random(len(who)) > _PAYS,
            }
        ).sort("ordered_at", maintain_order=True)
        lines = 1 + rng.binomial(3, 0.25, len(orders))
        order = np.repeat(np.arange(len(orders)), lines)
        product, quantity = rng.integers(0, _PRODUCTS, len(order)), 1 + rng.binomial(4, 0.1, len(order))
        currency = orders["currency"].gather(order)
        rate = currency.replace_strict(RATES, return_dtype=pl.Float64).to_numpy()
        minor = np.maximum(1, np.round(self._cents[product] * rate)).astype(np.int64)
        total = np.zeros(len(orders), np.int64)
        np.add.at(total, order, minor * quantity)
        items = pl.DataFrame(
            {
                "order_item_id": uuids(rng, len(order)),
                "order_id": orders["order_id"].gather(order),
                "product_id": pl.Series([f"product-{slot + 1:03}" for slot in product], dtype=pl.String),
                "quantity": quantity,
                "minor": minor,
                "currency": currency,
                "ordered_at": orders["ordered_at"].gather(order),
            }
        ).with_columns(unit_price=decimal_text("minor"), operation=pl.lit("insert"), changed_at="ordered_at")
        return orders.with_columns(minor=pl.Series(total)), items.drop("minor")

    def _refunded(self, today: int) -> pl.DataFrame:
        """Orders whose refund falls due today, as change rows; the refunds themselves are made by `_refund`."""
        due = self._refunds.filter(pl.col("due") < today + DAY)
        status = pl.when(pl.col("part") == pl.col("minor")).then(pl.lit("refunded")).otherwise(
            pl.lit("partially_refunded")
        )  # fmt: skip
        return _changes(due, status, "update", pl.col("due"))

    def _refund(
        self, today: int, orders: pl.DataFrame, charges: pl.DataFrame, rng: np.random.Generator
    ) -> pl.DataFrame:
        """Refunds that fall due today; some of today's charges are given back within five days."""
        paid = charges.filter(pl.col("status") == "succeeded")
        chance = rng.random(len(paid))
        gives = paid.with_columns(
            part=pl.when(pl.Series(chance < _PARTLY)).then(pl.col("minor") // 2 + 1).otherwise(pl.col("minor")),
            due=pl.col("at") + pl.Series(rng.integers(2 * HOUR, 5 * DAY, len(paid))),
        ).filter(pl.Series(chance < _REFUNDED))
        due = pl.col("due") < today + DAY
        now, self._refunds = self._refunds.filter(due), self._refunds.filter(~due)
        # What falls due on the day of the order itself waits for tomorrow's file: its order is still being settled.
        gives = gives.with_columns(due=pl.max_horizontal("due", pl.lit(today + DAY)))
        self._refunds = pl.concat([self._refunds, gives.select(pl.col(n).cast(t) for n, t in _OPEN_ORDERS.items())])
        return now.with_columns(refund_id=_stripe_ids("re", rng, len(now)))

    def _settle(self, charges: pl.DataFrame, refunds: pl.DataFrame) -> None:
        """Remember what the next payouts pay out."""
        paid = charges.filter(pl.col("status") == "succeeded")
        moved = [
            paid.select(source="charge_id", type=pl.lit("charge"), currency="currency", minor="minor", at="at"),
            refunds.select(
                source="refund_id", type=pl.lit("refund"), currency="currency", minor=-pl.col("part"), at="due"
            ),
        ]
        self._settling = pl.concat([self._settling, *moved])

    def _pay_out(self, today: int, rng: np.random.Generator) -> pl.DataFrame:
        """One payout per currency at six in the morning, of everything that moved before today."""
        before = pl.col("at") < today
        due, self._settling = self._settling.filter(before), self._settling.filter(~before)
        fee = pl.when(pl.col("type") == "charge").then(pl.col("minor") * 29 // 1000 + 30).otherwise(0)
        due = due.with_columns(
            id=_stripe_ids("txn", rng, len(due)), object=pl.lit("balance_transaction"), amount="minor", fee=fee,
            net=pl.col("minor") - fee, created=pl.col("at") // SECOND, currency=pl.col("currency").str.to_lowercase(),
        )  # fmt: skip
        listed = pl.struct("id", "object", "type", "source", "amount", "fee", "net", "currency", "created")
        paid = due.group_by("currency", maintain_order=True).agg(net=pl.col("net").sum(), data=listed).sort("currency")
        at = today + 6 * HOUR
        return paid.with_columns(id=_stripe_ids("po", rng, len(paid)), at=pl.lit(at)).select(
            object_id="id",
            created_at="at",
            observed_at="at",
            payload=pl.struct(
                "id", pl.lit("payout").alias("object"), pl.col("net").alias("amount"), "currency",
                pl.lit("paid").alias("status"), (pl.col("at") // SECOND).alias("created"),
                (pl.col("at") // SECOND).alias("arrival_date"),
                pl.struct(pl.lit("list").alias("object"), "data").alias("balance_transactions"),
            ),
        )  # fmt: skip


def decimal_text(minor: str) -> pl.Expr:
    """Minor units as the decimal text that change capture delivers; needs the column `currency`."""
    units = pl.col(minor)
    cents = (units % 100).cast(pl.String).str.pad_start(2, "0")
    return (
        pl.when(pl.col("currency").is_in(list(WHOLE)))
        .then(units.cast(pl.String))
        .otherwise(pl.format("{}.{}", units // 100, cents))
    )


def _changes(orders: pl.DataFrame, status: pl.Expr, operation: str, changed_at: pl.Expr) -> pl.DataFrame:
    return orders.select(
        "order_id", "user_id", pl.lit("sale").alias("order_type"), status.alias("status"), "currency",
        decimal_text("minor").alias("total_amount"), "ordered_at", pl.lit(operation).alias("operation"),
        changed_at.alias("changed_at"),
    )  # fmt: skip


def _inserted(orders: pl.DataFrame) -> pl.DataFrame:
    return _changes(orders, pl.lit("pending"), "insert", pl.col("ordered_at"))


def _settled(orders: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """Every order again once its charge succeeded or failed."""
    known = orders.join(charges.select("order_id", "at"), on="order_id", maintain_order="left")
    status = pl.when(pl.col("fails")).then(pl.lit("cancelled")).otherwise(pl.lit("paid"))
    return _changes(known, status, "update", pl.col("at") + SECOND)


def _users(player_changes: pl.DataFrame) -> pl.DataFrame:
    """Every player is a user of the shop."""
    return player_changes.select(
        pl.col("player_id").alias("user_id"), "email", "country", pl.col("subscription_tier").alias("plan"),
        "registered_at", "operation", "changed_at",
    )  # fmt: skip


def _charges(orders: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    wait: Ints = rng.integers(5 * SECOND, 90 * SECOND, len(orders))
    return orders.with_columns(
        charge_id=_stripe_ids("ch", rng, len(orders)),
        at=pl.col("ordered_at") + pl.Series(wait),
        status=pl.when(pl.col("fails")).then(pl.lit("failed")).otherwise(pl.lit("succeeded")),
    )


def _charge_objects(charges: pl.DataFrame) -> pl.DataFrame:
    return charges.select(
        object_id="charge_id",
        created_at="at",
        observed_at=pl.col("at") + 2 * SECOND,
        payload=pl.struct(
            pl.col("charge_id").alias("id"), pl.lit("charge").alias("object"), pl.col("minor").alias("amount"),
            pl.col("currency").str.to_lowercase(), "status", (pl.col("status") == "succeeded").alias("paid"),
            (pl.col("at") // SECOND).alias("created"), pl.struct("order_id").alias("metadata"),
        ),
    )  # fmt: skip


def _refund_objects(refunds: pl.DataFrame) -> pl.DataFrame:
    return refunds.select(
        object_id="refund_id",
        created_at="due",
        observed_at=pl.col("due") + 2 * SECOND,
        payload=pl.struct(
            pl.col("refund_id").alias("id"), pl.lit("refund").alias("object"), pl.col("part").alias("amount"),
            pl.col("charge_id").alias("charge"), pl.col("currency").str.to_lowercase(),
            pl.lit("succeeded").alias("status"), pl.lit("requested_by_customer").alias("reason"),
            (pl.col("due") // SECOND).alias("created"), pl.struct("order_id").alias("metadata"),
        ),
    )  # fmt: skip


def _emails(orders: pl.DataFrame, charges: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The receipt of every paid order: delivered, perhaps opened, perhaps clicked."""
    paid = charges.filter(pl.col("status") == "succeeded")
    paid = paid.with_columns(message="msg-" + uuids(rng, len(paid)))
    chance = rng.random(len(paid))
    sent = (("delivered", 1.0, 10 * SECOND), ("open", _OPENS, 20 * SECOND), ("click", _CLICKS, 40 * SECOND))
    rounds = [
        paid.filter(pl.Series(chance < share)).with_columns(event=pl.lit(event), sent=pl.col("at") + after)
        for event, share, after in sent
    ]
    events = pl.concat(rounds)
    return events.with_columns(id="sg-" + uuids(rng, len(events))).select(
        object_id="id",
        created_at="sent",
        observed_at="sent",
        payload=pl.struct(
            pl.format("{}@example.org", "user_id").alias("email"), (pl.col("sent") // SECOND).alias("timestamp"),
            "event", pl.col("id").alias("sg_event_id"), pl.col("message").alias("sg_message_id"),
            pl.lit("receipt").alias("category"), "user_id",
        ),
    )  # fmt: skip


def _stripe_ids(kind: str, rng: np.random.Generator, count: int) -> pl.Series:
    return f"{kind}_" + uuids(rng, count).str.replace_all("-", "").str.head(24)
