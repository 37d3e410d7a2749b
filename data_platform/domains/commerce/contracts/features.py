"""Contracts of commerce's features: what a model may know of a player's purchases and e-mails at the end of a day.
Not here: joining them with other features (domains/gameplay/contracts/features), facts (star)."""

from __future__ import annotations

from decimal import Decimal

from data_platform.core.contract.table import Personal, Severity, Table, column
from data_platform.domains.commerce.contracts.sources import OWNER
from data_platform.domains.commerce.contracts.star import FctEmailEngagement, FctOrderVersions, FctPayments
from data_platform.domains.gameplay.contracts.snapshots import WINDOW_DAYS, SnapshotFields

COUNTED_PURCHASES = ("orders", "spend", "emails_delivered")
"""What is zero, not null, without any."""


class CommerceFeatureFields(Table):
    """What a player bought and which e-mails were read in the window, as known at the end of the day.

    Every column may be null: rows that were computed before these columns existed have none of them. Amounts are in the
    reporting currency at the planning rate, both of dbt/dbt_project.yml, each order rounded half up to the cent.
    """

    orders: int | None = column(
        "Sales placed in the window and paid by the end of the day, in any currency; 0 with none.",
        unit="orders",
        ge=0,
        derived_from=[FctOrderVersions.order_id, FctOrderVersions.is_paid],
    )
    spend: Decimal | None = column(
        "Amount of these sales, before anything was given back; 0 with none, null beyond 9999999999999999.99.",
        unit="reporting currency",
        ge=0,
        derived_from=[FctOrderVersions.amount, FctOrderVersions.currency],
    )
    days_since_last_order: int | None = column(
        "From the day the newest of these sales was placed on to the snapshot day; null with none.",
        unit="days",
        ge=0,
        le=WINDOW_DAYS - 1,
        derived_from=[FctOrderVersions.order_date],
    )
    refund_share: float | None = column(
        "Given back / spend: refunds made of these sales by the end of the day, and credit notes of the window. Null "
        "without spend; above 1 when credit notes are for older sales.",
        ge=0,
        severity=Severity.WARNING,
        derived_from=[FctPayments.cash, FctPayments.order_id, FctOrderVersions.amount, FctOrderVersions.order_type],
    )
    emails_delivered: int | None = column(
        "E-mails delivered in the window; 0 with none.",
        unit="e-mails",
        ge=0,
        derived_from=[FctEmailEngagement.delivered],
    )
    email_open_rate: float | None = column(
        "Opens in the window / e-mails delivered in it; every opening counts, so it may be above 1. Null with none.",
        ge=0,
        derived_from=[FctEmailEngagement.opens, FctEmailEngagement.delivered],
    )
    email_click_rate: float | None = column(
        "Clicks in the window / e-mails delivered in it; every click counts, so it may be above 1. Null with none.",
        ge=0,
        derived_from=[FctEmailEngagement.clicks, FctEmailEngagement.delivered],
    )


class PlayerCommerceFeatures(SnapshotFields, CommerceFeatureFields):
    """Each player's purchases and e-mails of the 30 days ending with the snapshot day: one row per player with a paid
    sale, a credit note or an e-mail event in the window. A player is the shop's user of the same id; orders of guests
    are nobody's."""

    key = "features/player_commerce_features"
    owner = OWNER

    player_id: str = column(
        "The player: the user of the same id.",
        personal=Personal.PSEUDONYM,
        min_length=1,
        derived_from=[FctOrderVersions.user_id, FctEmailEngagement.user_id],
    )
