"""Commerce features said a second time: naive, one player and day at a time, plain Python over what happened.
Not here: polars, or anything imported from the transforms that these functions judge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

Line = Mapping[str, Any]
Row = dict[str, Any]

WINDOW = 30
PAID = ("paid", "fulfilled", "refunded", "partially_refunded")
NO_PURCHASES: Row = {
    "orders": 0,
    "spend": Decimal("0.00"),
    "days_since_last_order": None,
    "refund_share": None,
    "emails_delivered": 0,
    "email_open_rate": None,
    "email_click_rate": None,
}


@dataclass(frozen=True)
class Trade:
    """Everything that happened in a shop: changes of orders {order_id, user_id, order_type, status, currency, amount,
    ordered_at, changed_at, operation, rejected}, refunds {order_id, currency, amount, status, created_at} and e-mail
    events {user_id, event, at}."""

    changes: Sequence[Line]
    refunds: Sequence[Line]
    emails: Sequence[Line]

    def until(self, last: dt.date) -> Trade:
        """What had happened by the end of a day."""
        return Trade(
            [one for one in self.changes if one["changed_at"].date() <= last],
            [one for one in self.refunds if one["created_at"].date() <= last],
            [one for one in self.emails if one["at"].date() <= last],
        )


def in_window(moment: dt.datetime, day: dt.date) -> bool:
    return 0 <= (day - moment.date()).days < WINDOW


def in_reporting_currency(amount: Decimal, currency: str, rates: Mapping[str, Decimal]) -> Decimal:
    """Rounded half up to the cent."""
    cents = Fraction(amount) * 100 / Fraction(rates[currency])
    return Decimal(floor(cents + Fraction(1, 2))).scaleb(-2)


def commerce_row(player: str, trade: Trade, rates: Mapping[str, Decimal], day: dt.date) -> Row | None:
    """One player's commerce features; None when nothing of the player is in the window."""
    then = trade.until(day)
    sales: list[Line] = []
    given_back = Decimal(0)
    has_returned = False
    for order_id in sorted({one["order_id"] for one in then.changes}):
        newest = max((c for c in then.changes if c["order_id"] == order_id), key=lambda c: c["changed_at"])
        statuses = [one["status"] for one in then.changes if one["order_id"] == order_id]
        if newest["operation"] == "delete" or newest["rejected"] or not {*PAID}.intersection(statuses):
            continue
        if newest["user_id"] != player or not in_window(newest["ordered_at"], day):
            continue
        if newest["order_type"] == "return":
            has_returned = True
            given_back += in_reporting_currency(newest["amount"], newest["currency"], rates)
            continue
        sales.append(newest)
        for refund in then.refunds:
            succeeded = refund["status"] == "succeeded" and in_window(refund["created_at"], day)
            if succeeded and refund["order_id"] == order_id:
                given_back += in_reporting_currency(refund["amount"], refund["currency"], rates)
    emails = [one["event"] for one in then.emails if one["user_id"] == player and in_window(one["at"], day)]
    if not sales and not has_returned and not emails:
        return None
    spend = sum((in_reporting_currency(sale["amount"], sale["currency"], rates) for sale in sales), Decimal("0.00"))
    delivered = emails.count("delivered")
    return {
        "snapshot_date": day,
        "player_id": player,
        "orders": len(sales),
        "spend": spend,
        "days_since_last_order": min(((day - sale["ordered_at"].date()).days for sale in sales), default=None),
        "refund_share": float(given_back / spend) if spend else None,
        "emails_delivered": delivered,
        "email_open_rate": emails.count("open") / delivered if delivered else None,
        "email_click_rate": emails.count("click") / delivered if delivered else None,
    }


def commerce_rows(trade: Trade, rates: Mapping[str, Decimal], days: Sequence[dt.date]) -> list[Row]:
    """Commerce features of every player and day."""
    players = {one["user_id"] for one in (*trade.changes, *trade.emails)} - {None}
    rows = [commerce_row(player, trade, rates, day) for day in days for player in sorted(players)]
    return [row for row in rows if row is not None]
