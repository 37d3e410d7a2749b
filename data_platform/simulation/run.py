"""Runs the pretend game day by day, from players to files. Holds the order of things and nothing else."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from data_platform.simulation.commerce import Shop
from data_platform.simulation.dirt import no_strays, soil
from data_platform.simulation.events import Texts, catalogue, devices, devices_of, happenings, with_ids
from data_platform.simulation.text import DAY, midnight
from data_platform.simulation.truth import Tally, Truth
from data_platform.simulation.world import World
from data_platform.simulation.writer import Landing

# Independent streams of random numbers, so that dirt does not change what the players do.
_EVENTS, _DIRT = 2, 3
TOTALS = "event_totals"


def simulate(
    players: int,
    days: int,
    seed: int,
    start: date,
    to: Path,
    dirty: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Simulate the game and write what arrives to the landing root `to`; returns (and writes) the true counts.

    `players` is how many register in all: some before `start`, so that day one is not empty, and the rest evenly over
    the `days`. Equal arguments give equal bytes. `progress` is told days done and days in all. Only one day's events,
    and late ones on their way, are in memory at a time.
    """
    if min(players, days) < 1 or seed < 0:
        raise ValueError(f"needs at least one player, one day and a seed from 0: got {players=}, {days=}, {seed=}")
    _refuse_another(to / "truth.json", (players, days, seed, str(start), dirty))
    first = midnight(start)
    end = first + days * DAY
    tally = Tally(days, start)
    world = World(players, days, seed, first)
    shop = Shop(world.players, days, seed, first, dirty)
    event_type, event_data = catalogue()
    after_midnight, on_the_way = pl.DataFrame(), no_strays()
    with Landing(to, tally) as landing:
        for day in range(days):
            today, name = first + day * DAY, str(start + timedelta(day))
            tomorrow = today + DAY
            device = devices_of(world.players)
            sessions, changes = world.live(day)
            for table, rows in changes.items():
                landing.write_changes(name, table, rows)
            trade = shop.trade(day, sessions, changes.get("players"))
            for folder, rows in {**trade.changes, **trade.objects}.items():
                landing.write_rows(name, folder, rows)

            texts = Texts(
                player=_quoted("player_id", world.players.id),
                campaign=pl.concat([pl.Series(['"campaign_id":null']), _quoted("campaign_id", world.campaigns.id)]),
                event_type=event_type,
                event_data=event_data,
                device=devices(day),
            )
            rng = np.random.default_rng([seed, _EVENTS, day])
            events = happenings(sessions, device, rng)
            if day:
                events = pl.concat([after_midnight, events])
            is_today = pl.col("at") < tomorrow
            after_midnight = events.filter(~is_today)
            events = with_ids(events.filter(is_today).sort("at", maintain_order=True), rng)
            if dirty:
                dirt = np.random.default_rng([seed, _DIRT, day])
                events, strays = soil(events, texts, today, end, day, dirt)
                on_the_way = pl.concat([on_the_way, strays])
            arrives = pl.col("arrives") < tomorrow
            landing.write_events(day, name, events, on_the_way.filter(arrives), texts)
            on_the_way = on_the_way.filter(~arrives)
            if progress:
                progress(day + 1, days)
        truth = tally.truth(players, seed, dirty)
        landing.write_rows(name, TOTALS, _control_totals(truth, first))
    truth.write(to / "truth.json")
    return truth


def _control_totals(truth: Truth, first: int) -> pl.DataFrame:
    """What the game servers count of each day once its last event has arrived."""
    counts = [day.clean for day in truth.dates.values()]
    starts_at = [first + day * DAY for day in range(len(counts))]
    return pl.DataFrame({"starts_at": starts_at, "events": counts, "counted_at": [at + DAY for at in starts_at]})


def _refuse_another(truth: Path, arguments: tuple[int, int, int, str, bool]) -> None:
    """Two simulations in one folder would overwrite each other in part, and then no truth would be true."""
    if truth.exists():
        there = Truth.read(truth)
        if (there.players, there.days, there.seed, there.start, there.dirty) != arguments:
            raise FileExistsError(f"{truth.parent} already holds another simulation: choose an empty folder")


def _quoted(name: str, values: pl.Series) -> pl.Series:
    return pl.select(pl.format('"{}":"{}"', pl.lit(name), values)).to_series()
