"""Stripe: lists of objects by the time they were made, and what changed in them later by its events.
Belongs here: Stripe's own shape. Not here: paging, windows, retries (sources/rest)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from data_platform.sources.rest.declarations import (
    Api,
    ApiObject,
    ApiRefusal,
    Asks,
    Endpoint,
    Parameters,
    Read,
    text_of_seconds,
    utc_text,
)
from data_platform.sources.rest.pages import CursorList
from data_platform.sources.rest.windows import Window
from data_platform.sources.rest.written import Written

LIST = CursorList()
EVENTS_KEPT = dt.timedelta(days=30)
Completed = Callable[[Asks, Written], Written]
NOT_FOUND = 404


def _as_it_is(_: Asks, found: Written) -> Written:
    return found


def with_transactions(api: Asks, payout: Written) -> Written:
    """A payout with the balance transactions that it pays out, each with the object it comes from. Stripe knows them
    of automatic payouts alone."""
    if payout.field("automatic") is False or not isinstance(payout.field("id"), str):
        return payout
    asked: Parameters = {"payout": payout.value["id"], "expand[]": ["data.source"]}
    found = {one.field("id"): one.text for one, _ in LIST.objects(api, "/v1/balance_transactions", asked)}
    return payout.with_member("balance_transactions", f'{{"object":"list","data":[{",".join(found.values())}]}}')


def listed(path: str, more: Parameters | None = None, completed: Completed = _as_it_is) -> Read:
    """The objects of a list that were made in a window."""

    def read(api: Asks, window: Window) -> Iterator[ApiObject]:
        for found, answer in LIST.objects(api, path, {**_made_in(window), **(more or {})}):
            yield _object(completed(api, found), answer.asked_at)

    return read


def changed(
    path: str, types: Mapping[str, str], more: Parameters | None = None, completed: Completed = _as_it_is
) -> Read:
    """The objects that events of a window tell of (type of event → field of its object that names them), as they are
    now: what an event shows of them is old, in the account's version of the API, and events of one second have no
    order."""

    def read(api: Asks, window: Window) -> Iterator[ApiObject]:
        told: dict[str, Written] = {}
        for event, answer in LIST.objects(api, "/v1/events", {"types[]": list(types), **_made_in(window)}):
            about = event.field("data", "object", types.get(str(event.field("type")), "id"))
            about = about.get("id") if isinstance(about, dict) else about
            if not isinstance(about, str) or not about:
                yield _object(event, answer.asked_at, object_id=None)  # rejected, and seen
            elif not _listed_later(event, types, window):
                told.setdefault(about, event)
        for object_id, event in told.items():
            found = _now(api, path, object_id, event, more or {}, completed)
            if not _made_before(found, window):
                yield found

    return read


def _made_in(window: Window) -> dict[str, int]:
    return {"created[gte]": int(window.read_from.timestamp()), "created[lt]": int(window.end.timestamp())}


def _object(found: Written, observed_at: dt.datetime, object_id: object = ..., created: object = None) -> ApiObject:
    return ApiObject(
        found.field("id") if object_id is ... else object_id,
        text_of_seconds(found.field("created") or created),
        utc_text(observed_at),
        found.text,
    )


def _listed_later(event: Written, types: Mapping[str, str], window: Window) -> bool:
    """Whether the list shows what this event tells: it is read `settle` after the object was made at the earliest, by
    our clock; by Stripe's at least half of that. Nearly all events are of this kind: a charge succeeds when made."""
    made = event.field("data", "object", "created")
    if types.get(str(event.field("type"))) != "id":
        return False
    try:
        made_at, told_at = int(made), int(event.field("created"))
    except (TypeError, ValueError):
        return False
    return made_at >= window.since.timestamp() and told_at - made_at < window.settle.total_seconds() / 2


def _now(api: Asks, path: str, object_id: str, event: Written, more: Parameters, completed: Completed) -> ApiObject:
    """An object as it is now, or, when Stripe has it no more, as the event shows it."""
    data = event.member("data")
    shown = data.member("object") if data else None
    created = event.field("data", "object", "created") if event.field("data", "object", "id") == object_id else None
    try:
        answer = api.get(f"{path}/{quote(object_id, safe='')}", more)
    except ApiRefusal as refusal:
        if refusal.status != NOT_FOUND:
            raise
        told_at = dt.datetime.fromtimestamp(int(event.field("created") or 0), dt.UTC)
        return _object(shown or event, told_at)
    # Of a deleted customer it tells the id and nothing else.
    return _object(completed(api, answer.body), answer.asked_at, created=created)


def _made_before(found: ApiObject, window: Window) -> bool:
    return found.created_at is not None and found.created_at < utc_text(window.since)


def _endpoints(
    name: str,
    singular: str,
    source: str,
    types: Mapping[str, str],
    listing: Parameters | None = None,
    single: Parameters | None = None,
    completed: Completed = _as_it_is,
) -> tuple[Endpoint, Endpoint]:
    """A list, and what changed in it."""
    path = f"/v1/{name}"
    return (
        Endpoint(name, source, listed(path, listing, completed), f"Stripe's {name}, by the time they were made."),
        Endpoint(
            f"{singular}_changes",
            source,
            changed(path, types, single, completed),
            f"Stripe's {name} that its events say have changed, as they are now.",
            kept=EVENTS_KEPT,
            completes=name,
        ),
    )


def _of(*types: str, named_by: str = "id") -> dict[str, str]:
    return dict.fromkeys(types, named_by)


CHARGES = _of(
    "charge.captured", "charge.expired", "charge.failed", "charge.pending", "charge.refunded", "charge.succeeded",
    "charge.updated",
) | _of(
    "charge.dispute.closed", "charge.dispute.created", "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn", "charge.dispute.updated", named_by="charge",
)  # fmt: skip
REFUNDS = _of("charge.refund.updated", "refund.created", "refund.failed", "refund.updated")
PAYOUTS = _of(
    "payout.canceled", "payout.created", "payout.failed", "payout.paid", "payout.reconciliation_completed",
    "payout.updated",
)  # fmt: skip
CUSTOMERS = _of("customer.created", "customer.deleted", "customer.updated")
SUBSCRIPTIONS = _of(
    "customer.subscription.created", "customer.subscription.deleted", "customer.subscription.paused",
    "customer.subscription.pending_update_applied", "customer.subscription.pending_update_expired",
    "customer.subscription.resumed", "customer.subscription.updated",
)  # fmt: skip

API = Api(
    name="stripe",
    base_url="https://api.stripe.com",
    # A quarter of what live mode takes: the shop asks too.
    requests_per_second=25,
    # The newest version with fields as the models read them; without it the account's own counts, and may change.
    headers={"Stripe-Version": "2024-06-20"},
    endpoints=(
        *_endpoints("charges", "charge", "stripe_charges", CHARGES),
        *_endpoints(
            "refunds",
            "refund",
            "stripe_refunds",
            REFUNDS,
            listing={"expand[]": ["data.charge"]},
            single={"expand[]": ["charge"]},
        ),
        *_endpoints("payouts", "payout", "stripe_payouts", PAYOUTS, completed=with_transactions),
        *_endpoints("customers", "customer", "stripe_customers", CUSTOMERS),
        *_endpoints(
            "subscriptions",
            "subscription",
            "stripe_subscriptions",
            SUBSCRIPTIONS,
            listing={"status": "all"},  # without it, those that ended are not listed
        ),
    ),
)
