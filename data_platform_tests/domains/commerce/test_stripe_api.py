"""Stripe, read from a server that speaks its documented API and injects what goes wrong. Oracle: the server's own
table of objects. Not here: one request (sources/rest), kills (test_stripe_kills)."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator

import polars as pl
import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.domains.commerce.contracts import sources as raw
from data_platform.sources.positions import held, positions
from data_platform.sources.rest import client as rest_client
from data_platform.sources.rest import streams as rest_streams
from data_platform.sources.rest.connector import Options, RestConnector
from data_platform_tests.support.homes import Home, Row
from data_platform_tests.support.http_server import served
from data_platform_tests.support.rest_reading import catch_up, connected, gaps, newest, read_all, section, ways
from data_platform_tests.support.stripe_server import Faults, StripeServer

TABLES: dict[str, type[Table]] = {
    "charges": raw.RawStripeCharges,
    "refunds": raw.RawStripeRefunds,
    "payouts": raw.RawStripePayouts,
    "customers": raw.RawStripeCustomers,
    "subscriptions": raw.RawStripeSubscriptions,
}
HOUR, DAY = 3600, 86_400
EVERYTHING_GOES_WRONG = Faults(
    limited=0.08, broken=0.04, torn=0.05, slow=0.01, repeated=0.1, shuffled=0.1, expired=0.03, late=0.3,
    slow_seconds=0.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(rest_client, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(rest_client, "READ_SECONDS", 0.25)


@pytest.fixture
def stripe() -> StripeServer:
    return StripeServer()


@pytest.fixture
def url(stripe: StripeServer) -> Iterator[str]:
    with served(stripe.app) as client:
        yield str(client.base_url)


def now() -> int:
    return int(time.time())


def a_shop(stripe: StripeServer, charges: int = 450) -> None:
    """Two days of a shop: payments, some given back or disputed later, payouts, customers, subscriptions."""
    began, ends = now() - 2 * DAY, now() - HOUR
    for number in range(charges):
        at = began + number * (ends - began) // charges
        charge = stripe.charge(at)
        if number % 10 == 0:
            refunded = at + 1800
            stripe.make("refunds", refunded, amount=charge["amount"], charge=charge["id"], status="pending")
            stripe.change("charges", charge["id"], "charge.refunded", refunded, amount_refunded=charge["amount"])
        if number % 45 == 0:
            stripe.objects["charges"][charge["id"]]["disputed"] = True
            stripe.tell(
                "charge.dispute.created", {"id": "dp_1", "object": "dispute", "charge": charge["id"]}, at + 1900
            )
        if number % 50 == 0:
            customer = stripe.make("customers", at, email=f"c{number}@example.org")
            stripe.make("subscriptions", at + 5, customer=customer["id"], status="active")
    for day in range(2):
        payout = stripe.make("payouts", began + day * DAY + HOUR, amount=100, currency="usd", status="pending")
        stripe.transactions[payout["id"]] = [
            {"id": f"txn_{day}_{number}", "amount": number, "source": {"id": "ch_1", "object": "charge"}}
            for number in range(130)
        ]


def in_order(objects: dict[str, Row]) -> dict[str, Row]:
    """A payout's transactions came in whatever order their pages were in."""
    for one in objects.values():
        if "balance_transactions" in one:
            one["balance_transactions"]["data"].sort(key=lambda transaction: str(transaction["id"]))
    return objects


def test_what_stripe_holds_is_what_raw_holds_whatever_goes_wrong_on_the_way(
    home: Home, stripe: StripeServer, url: str
) -> None:
    a_shop(stripe)
    stripe.faults = EVERYTHING_GOES_WRONG
    shop = section(url)
    for _ in range(2):  # whatever was stopped for good is begun anew, as the worker would
        for _ in range(20):
            with connected(home, shop) as connector:
                try:
                    catch_up(connector)
                    break
                except PlatformError:
                    continue
        refunds, payouts = list(stripe.objects["refunds"]), list(stripe.objects["payouts"])
        for refund in refunds[:20]:
            stripe.change("refunds", refund, "refund.updated", now() - 3, status="succeeded")
        stripe.change("payouts", payouts[0], "payout.paid", now() - 3, status="paid")
        time.sleep(1.1)
    stripe.faults = Faults()
    time.sleep(2.1)
    read_all(home, shop)
    for kind, table in TABLES.items():
        assert in_order(newest(home, table)) == in_order(stripe.shown(kind)), kind
    assert len(stripe.objects["charges"]) > 450, "some appeared while others were read"
    assert min(stripe.answered[fault] for fault in ("429", "500", "torn")) > 0, stripe.answered
    assert gaps(home).is_empty()
    ledger = home.ledger()
    assert ledger["received_lines"].sum() == ledger["stored_lines"].sum(), "and nothing is rejected"


def test_a_late_change_arrives_by_its_event_and_a_new_object_is_not_asked_for_twice(
    home: Home, stripe: StripeServer, url: str
) -> None:
    shop = section(url, "charges", "charge_changes", days=60, settle="5m", every="10m")
    old = stripe.charge(now() - 40 * DAY, told=False)
    paid = [stripe.charge(now() - HOUR + number) for number in range(30)]
    read_all(home, shop)
    assert newest(home, raw.RawStripeCharges).keys() == {old["id"], *(one["id"] for one in paid)}
    assert stripe.asked[f"/v1/charges/{paid[0]['id']}"] == 0, "its only event is from when it was made"
    stripe.change("charges", old["id"], "charge.refunded", now() - 600, amount_refunded=5)
    stripe.change("charges", old["id"], "charge.updated", now() - 600, description="second of the same second")
    stripe.objects["charges"][paid[0]["id"]]["disputed"] = True
    stripe.tell("charge.dispute.created", {"id": "dp_1", "charge": {"id": paid[0]["id"]}}, now() - 500)
    read_all(home, section(url, "charges", "charge_changes", days=60, settle="5m", every="10m", reread=["2026-01-01"]))
    assert newest(home, raw.RawStripeCharges) == stripe.objects["charges"]
    assert stripe.asked[f"/v1/charges/{old['id']}"] == 1, "two events of one object are one question"


def test_an_object_is_kept_as_stripe_writes_it(home: Home, stripe: StripeServer, url: str) -> None:
    made = stripe.charge(now() - HOUR, amount=12_345_678_901_234_567, description="ü\n€ \u2028", rate=0.1)
    read_all(home, section(url, "charges"))
    (text,) = home.rows(raw.RawStripeCharges)["payload"]
    assert json.loads(text) == made
    assert "12345678901234567," in text


def test_what_is_no_charge_is_rejected_with_its_reason_and_stops_nothing(
    home: Home, stripe: StripeServer, url: str
) -> None:
    good = [stripe.charge(now() - HOUR + number) for number in range(120)]
    odd: dict[str, Row] = {
        "no id": {"object": "charge", "created": now() - HOUR},
        "no time": {"id": "ch_a", "created": None},
        "odd time": {"id": "ch_b", "created": "yesterday"},
        "far time": {"id": "ch_c", "created": "9" * 18},
    }
    stripe.objects["charges"] |= odd
    read_all(home, section(url, "charges"))
    assert newest(home, raw.RawStripeCharges).keys() == {one["id"] for one in good}
    rejected = home.rows(raw.RawStripeChargesRejected)
    assert set(rejected["reason"]) == {"missing_object_id", "missing_created_at", "wrong_type_created_at"}
    assert len(rejected) >= len(odd)


def test_deleted_and_unknown_objects_are_told_as_far_as_stripe_tells_them(
    home: Home, stripe: StripeServer, url: str
) -> None:
    gone = stripe.make("customers", now() - 2 * HOUR, email="gone@example.org")
    stripe.change("customers", gone["id"], "customer.deleted", now() - HOUR)
    stripe.objects["customers"][gone["id"]] = {"id": gone["id"], "object": "customer", "deleted": True, "created": 0}
    lost = stripe.make("customers", now() - 2 * HOUR, email="lost@example.org")
    stripe.change("customers", lost["id"], "customer.updated", now() - HOUR, email="new@example.org")
    del stripe.objects["customers"][lost["id"]]
    stripe.objects["customers"][gone["id"]].pop("created")
    stripe.objects["customers"][gone["id"]]["created"] = None
    stripe.tell("customer.updated", {"object": "customer"}, now() - HOUR)
    read_all(home, section(url, "customers", "customer_changes"))
    found = newest(home, raw.RawStripeCustomers)
    assert found[gone["id"]]["deleted"] is True
    assert found[lost["id"]]["email"] == "new@example.org"
    assert "missing_object_id" in set(home.rows(raw.RawStripeCustomersRejected)["reason"]), "an event of nothing"


def test_a_payout_by_hand_has_no_list_of_transactions(home: Home, stripe: StripeServer, url: str) -> None:
    by_hand = stripe.make("payouts", now() - HOUR, amount=5, automatic=False)
    read_all(home, section(url, "payouts", "payout_changes"))
    assert newest(home, raw.RawStripePayouts) == {by_hand["id"]: by_hand}


def test_a_window_that_holds_too_much_is_halved(
    home: Home, stripe: StripeServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_streams, "MOST_OBJECTS", 40)
    for number in range(300):
        stripe.charge(now() - DAY + number * 60)
    for _ in range(60):  # of one second, which cannot be divided
        stripe.charge(now() - 2 * HOUR)
    read_all(home, section(url, "charges"))
    assert newest(home, raw.RawStripeCharges) == stripe.objects["charges"]
    assert gaps(home).is_empty()
    lines = home.ledger().filter(pl.col("stream") == "rest:shop/charges")["received_lines"]
    assert sorted(lines)[-2] <= 41
    assert max(lines) >= 60


def test_a_date_in_reread_has_everything_read_again_as_it_is_now(home: Home, stripe: StripeServer, url: str) -> None:
    charges = [stripe.charge(now() - age * DAY, told=False) for age in (1, 3, 8)]
    read_all(home, section(url, "charges", days=10))
    for charge in charges:
        stripe.objects["charges"][charge["id"]] = {**charge, "note": "changed, and nobody told"}
    again = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=4)
    for _ in range(2):
        read_all(home, section(url, "charges", days=10, reread=[again]))
    found = newest(home, raw.RawStripeCharges)
    assert [("note" in found[charge["id"]]) for charge in charges] == [True, True, False]
    assert len(home.rows(raw.RawStripeCharges)) == 5, "once"
    assert gaps(home).is_empty()
    with connected(home, section(url, "charges", days=10)) as connector, pytest.raises(PlatformError, match="reread"):
        catch_up(connector)


def test_events_that_stripe_has_forgotten_are_told_and_the_lists_go_on(
    home: Home, stripe: StripeServer, url: str
) -> None:
    options = section(url, "charges", "charge_changes", days=90).options
    for age in (40, 0):  # the machine was off for forty days
        charge = stripe.charge(now() - age * DAY - HOUR)
        clock = dt.datetime.now(dt.UTC) - dt.timedelta(days=age)
        connector = RestConnector("rest.shop", Options.model_validate(options), ways(home), lambda at=clock: at)
        if age:
            catch_up(connector)
            continue
        with pytest.raises(PlatformError, match=r"charge_changes stands at .*older than 30 days"):
            catch_up(connector)
        for _ in range(20):
            with pytest.raises(PlatformError):
                connector.advance(threading.Event())
    home.ingest()
    assert charge["id"] in newest(home, raw.RawStripeCharges)
    read_all(home, section(url, "charges", "charge_changes", days=90, reread=["2026-01-01"]))


def test_a_clock_ahead_of_stripes_closes_no_window(home: Home, stripe: StripeServer, url: str) -> None:
    stripe.charge(now() - HOUR)
    options = Options.model_validate(section(url, "charges").options)
    ahead = RestConnector("rest.shop", options, ways(home), lambda: dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10))
    with pytest.raises(PlatformError, match="clock"):
        catch_up(ahead)
    assert positions(home.lake, home.landing / "stripe_charges") == {}


def test_a_wrong_key_is_told_once_without_it(home: Home, stripe: StripeServer, url: str) -> None:
    with (
        connected(home, section(url, key="sk_live_wrong")) as connector,
        pytest.raises(PlatformError, match="does not accept the key") as error,
    ):
        connector.advance(threading.Event())
    assert "sk_live" not in str(error.value)
    assert stripe.asked.total() == 1


def test_a_stream_that_another_process_reads_is_left_to_it(home: Home, stripe: StripeServer, url: str) -> None:
    stripe.charge(now() - HOUR)
    with connected(home, section(url, "charges", every="1h")) as connector:
        with held(home.landing / "stripe_charges", "rest:shop/charges") as ours:
            assert ours
            catch_up(connector)
            assert stripe.asked.total() == 0
        catch_up(connector)
        assert stripe.asked.total() == 1


def test_two_that_read_at_once_store_every_window_once(home: Home, stripe: StripeServer, url: str) -> None:
    a_shop(stripe, 200)
    stripe.faults = Faults(slow=0.2, slow_seconds=0.05)

    def read() -> None:
        with connected(home, section(url, "charges", days=30)) as connector:
            for _ in range(60):
                connector.advance(threading.Event())

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read_all(home, section(url, "charges", days=30))
    assert newest(home, raw.RawStripeCharges) == stripe.objects["charges"]
    assert (
        home.lake.scan(IngestionLedger)
        .filter(pl.col("stream") == "rest:shop/charges")
        .select(pl.col("begin_position").is_unique().all())
        .collect()
        .item()
    )
    assert gaps(home).is_empty()


def test_where_it_stands_is_told(home: Home, stripe: StripeServer, url: str) -> None:
    of = section(url, "charges", "charge_changes")
    tables = of.external_tables()
    with connected(home, of) as connector:
        catch_up(connector)
        states = connector.states()
    assert [(one.key, one.kind, one.source) for one in tables] == [
        (("rest", "shop", name), "stripe", "stripe_charges") for name in ("charges", "charge_changes")
    ]
    for table in tables:
        (state,) = table.of(states)
        assert state.watermark is not None
        assert state.lag is not None
        assert 1_000_000 <= state.lag < 30_000_000
        assert dt.datetime.now(dt.UTC) - state.watermark < dt.timedelta(seconds=30)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"api": "strip"}, r"no domain declares an API strip\. Did you mean stripe"),
        ({"endpoints": ["charge"]}, r"stripe has no charge\. Did you mean charges"),
        ({"endpoints": ["charge_changes"]}, r"of no use without it\. Add charges"),
        ({"every": "hourly"}, r"\[rest.shop\] every: .*for example 1h"),
        ({"keys": "sk_1"}, r"keys: .*Did you mean key"),
        ({"key": None}, r"key: "),
    ],
)
def test_a_section_that_is_wrong_says_where(changes: Row, said: str) -> None:
    given = section("https://stripe.example")
    with pytest.raises(PlatformError, match=said):
        type(given)(given.kind, given.name, {**given.options, **changes}).external_tables()


def test_a_key_travels_encrypted(home: Home) -> None:
    with pytest.raises(PlatformError, match="https addresses only"):
        section("http://stripe.example").connect(ways(home))
