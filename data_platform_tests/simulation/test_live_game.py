"""A pretend game that is played now: what it sends is received, and is right. Not here: simulations in files."""

from __future__ import annotations

import datetime as dt
import threading

import polars as pl

from data_platform.sdk import Client
from data_platform.simulation.live import known_scenario, play, wait_for
from data_platform.simulation.scenario import Scenario
from data_platform_tests.support.collectors import collecting
from data_platform_tests.support.homes import Home


def test_a_game_that_is_played_now_is_received_as_it_happens(home: Home) -> None:
    began = dt.datetime.now(dt.UTC)
    assert known_scenario(home.landing) is None
    with collecting(home) as collector:
        assert wait_for(str(collector.base_url), 10)
        client = Client(str(collector.base_url), flush_seconds=0.1)
        played = play(client, Scenario(50, 1, 1, "2024-01-01", False), 2000, threading.Event(), most_events=300)
        client.close()
    assert played == client.stats().sent == 300
    assert not wait_for(str(collector.base_url), 0.5)
    home.ingest()
    events = home.raw()
    assert events["event_id"].n_unique() == len(events) == 300
    assert home.rejected().is_empty()
    assert events["timestamp"].min() >= began  # type: ignore[operator]
    assert (events["client_timestamp"] <= events["timestamp"]).all()
    assert events["event_type"].n_unique() > 3
    assert events.filter(pl.col("session_id").is_null()).is_empty()
