"""SendGrid: the numbers of each day, and the events that its webhook sends.
Belongs here: SendGrid's own shape. Not here: verifying and storing what is sent, windows, retries (sources/rest)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from data_platform.core.contract.calendar import DAY
from data_platform.sources.rest.declarations import (
    Api,
    ApiObject,
    ApiUnusable,
    Asks,
    Endpoint,
    Webhook,
    text_of_seconds,
    utc_text,
)
from data_platform.sources.rest.windows import Window
from data_platform.sources.rest.written import Written, written


def stats(api: Asks, window: Window) -> Iterator[ApiObject]:
    """The numbers of the whole account, an object a day."""
    asked = {
        "start_date": f"{window.read_from:%Y-%m-%d}",
        "end_date": f"{window.end - DAY:%Y-%m-%d}",
        "aggregated_by": "day",
    }
    answer = api.get("/v3/stats", asked)
    if not isinstance(answer.body.value, list):
        raise ApiUnusable("/v3/stats answers with something that is no list.", "Is base_url that of the API?")
    for day in answer.body.elements():
        date = day.field("date")
        made = f"{date}T00:00:00Z" if isinstance(date, str) else None
        yield ApiObject(date, made, utc_text(answer.asked_at), day.text)


def events(body: bytes, received_at: dt.datetime) -> Iterator[ApiObject]:
    """The events of one delivery. Raises ValueError for a body that is no JSON array."""
    for event in written(body).elements():
        yield _event(event, received_at)


def _event(event: Written, received_at: dt.datetime) -> ApiObject:
    made = text_of_seconds(event.field("timestamp"))
    return ApiObject(event.field("sg_event_id"), made, utc_text(received_at), event.text)


API = Api(
    name="sendgrid",
    base_url="https://api.sendgrid.com",
    requests_per_second=2,
    endpoints=(
        Endpoint(
            "stats",
            "sendgrid_stats",
            stats,
            "SendGrid's numbers of each day, when the day is over; opens and clicks of three days come later.",
            step=DAY,
            longest=30 * DAY,
            overlap=3 * DAY,
        ),
    ),
    webhook=Webhook(
        "events",
        "sendgrid_events",
        "x-twilio-email-event-webhook-signature",
        "x-twilio-email-event-webhook-timestamp",
        events,
        "What SendGrid's webhook tells of each message: delivered, opened, clicked, bounced, …",
    ),
)
