"""A reader of Stripe is killed (SIGKILL) at any moment: what raw holds is what Stripe holds, each window once.
Oracle: the stand-in's table of objects."""

from __future__ import annotations

import json
import random
import time

import pytest

from data_platform.domains.commerce.contracts.sources import RawStripeCharges
from data_platform_tests.support.homes import Home, kill
from data_platform_tests.support.http_server import served
from data_platform_tests.support.rest_reading import gaps, newest, read_all, section
from data_platform_tests.support.stripe_server import Faults, StripeServer

DAY = 86_400
POINTS = ["answer:after:7", "segment:before:3", "rename:before:2", "rename:after:3", "segment:after:2", "", "", ""]


def killed_again_and_again(home: Home, points: list[str], seed: int) -> None:
    """One process after the other, each killed at a point, or at a random moment; charges go on being made."""
    chance = random.Random(seed)
    stripe = StripeServer(Faults(limited=0.05, broken=0.02, torn=0.02, expired=0.01))
    began = int(time.time()) - 40 * DAY
    for number in range(1500):
        stripe.charge(began + number * 2300, told=False)
    with served(stripe.app) as client:
        shop = section(str(client.base_url), "charges", "charge_changes", days=41, requests_per_second=150)
        said = json.dumps({**shop.options, "start": str(shop.options["start"])})
        read = 0
        for point in points:
            process = home.start("-m", "data_platform_tests.support.rest_kill_helper", SECTION=said, KILL_AT=point)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.stdout.read()
            if point:
                assert process.wait(60) == -9, process.communicate()[0]
            else:
                time.sleep(chance.uniform(0, 0.6))
                kill(process)
            read += len(list((home.landing / "stripe_charges").glob("*.zst")))
            home.ingest()
            for charge in chance.sample(sorted(stripe.objects["charges"]), 5):
                stripe.change("charges", charge, "charge.updated", int(time.time()) - 5, note=str(chance.random()))
            stripe.charge(int(time.time()) - 5)
        assert read > 5, "they were killed at work"
        stripe.faults = Faults()
        time.sleep(1.1)
        read_all(home, shop)
    assert newest(home, RawStripeCharges) == stripe.objects["charges"]
    assert gaps(home).is_empty()
    stretches = home.ledger().select("stream", "begin_position", "end_position")
    assert stretches.is_duplicated().sum() == 0, "no window is taken in twice"


def test_whenever_it_is_killed_nothing_is_lost_and_no_window_is_stored_twice(home: Home) -> None:
    killed_again_and_again(home, POINTS[:6], seed=1)


@pytest.mark.soak
def test_fifty_kills(home: Home) -> None:
    killed_again_and_again(home, POINTS * 6 + ["sync:before:2", "sync:after:2"], seed=2)
