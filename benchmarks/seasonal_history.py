"""Made-up clean events with weekdays, hours, growth and noise, straight as frames: the past that faults are
injected into. Not here: any fault, the simulated company (data_platform/simulation)."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from data_platform.domains.gameplay.contracts.events import PlayerEvents

START = dt.date(2024, 1, 1)
EVENTS_A_DAY = 2_500
PLAYERS = 900
CAMPAIGNS = 60
GROWTH = 1.002
"""A day: 6 % a month."""
WEEKDAYS = (0.92, 0.88, 0.9, 0.95, 1.1, 1.35, 1.25)
HOURS = np.array([3, 2, 1.5, 1, 1, 1, 1.5, 2, 3, 3.5, 4, 4.5, 5, 5, 4.5, 4.5, 5, 6, 7, 8, 8.5, 8, 6.5, 4.5])
PLATFORMS = ("windows", "macos", "linux", "ios", "android", "playstation")
PLATFORM_SHARES = np.array([0.38, 0.1, 0.07, 0.2, 0.17, 0.08])
# type → weight, and the payload: text in which {a} and {b} are whole numbers and {x} is an amount of money
EVENT_TYPES = {
    "login": (9, '{"method":"sso","queue_seconds":{a}}'),
    "logout": (8, '{"reason":"user","minutes":{b}}'),
    "combat_start": (15, '{"enemy_level":{a},"ambush":false}'),
    "combat_end": (15, '{"result":"victory","damage_dealt":{b},"damage_taken":{a}}'),
    "spell_cast": (14, '{"mana_cost":{a},"damage":{b}}'),
    "dialogue_choice": (12, '{"npc":"oracle","choice":{a}}'),
    "item_acquired": (9, '{"rarity":"common","quantity":{a}}'),
    "message_sent": (7, '{"channel":"party","length":{b}}'),
    "purchase": (6, '{"price":{x},"currency":"EUR"}'),
    "level_up": (5, '{"new_level":{a}}'),
}


def seasonal_days(days: int, seed: int, events_a_day: int = EVENTS_A_DAY) -> list[pl.DataFrame]:
    """Clean PlayerEvents, one frame per day from START."""
    random = np.random.default_rng(seed)
    popularity = random.lognormal(0, 1, PLAYERS)
    return [_day(START + dt.timedelta(day), day, random, popularity, events_a_day) for day in range(days)]


def _day(
    date: dt.date, number: int, random: np.random.Generator, popularity: np.ndarray, events_a_day: int
) -> pl.DataFrame:
    volume = events_a_day * GROWTH**number * WEEKDAYS[date.weekday()] * random.lognormal(0, 0.04)
    size = int(random.poisson(volume))
    weekend = date.weekday() >= 5
    hours = HOURS * np.where((np.arange(24) > 8) & (np.arange(24) < 17), 1.5 if weekend else 1.0, 1.0)
    hour = random.choice(24, size, p=_noisy(hours, random))
    seconds = np.sort(hour * 3600 + random.random(size) * 3600)
    at_work = popularity * random.binomial(1, 0.5, PLAYERS)
    player = random.choice(PLAYERS, size, p=at_work / at_work.sum())
    types = list(EVENT_TYPES)
    kind = random.choice(len(types), size, p=_noisy(np.array([weight for weight, _ in EVENT_TYPES.values()]), random))
    platform = np.array(PLATFORMS)[np.searchsorted(np.cumsum(PLATFORM_SHARES), (player * 0.6180339) % 1).clip(0, 5)]
    release = 10 + number // 14 - random.binomial(1, 0.3, size)
    frame = pl.DataFrame(
        {
            "player": player,
            "hour": hour // 3,
            "event_type": np.array(types)[kind],
            "payload": np.array([payload for _, payload in EVENT_TYPES.values()])[kind],
            "seconds": seconds,
            "a": random.integers(1, 30, size),
            "b": (random.lognormal(3.5, 0.6, size)).astype(int) + 1,
            "x": np.round(random.lognormal(1.8, 0.7, size), 2),
            "campaign": np.where(random.random(size) < 0.8, player % CAMPAIGNS, -1),
            "latency": random.lognormal(0.3, 0.8, size),
            "no_clock": random.random(size) < 0.03,
            "platform": platform,
            "release": release,
        }
    )
    payload = pl.col("payload")
    for name in ("a", "b", "x"):
        payload = payload.str.replace(f"{{{name}}}", pl.col(name).cast(pl.String), literal=True)
    start = dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC)
    at = pl.lit(start) + pl.duration(microseconds=(pl.col("seconds") * 1e6).cast(pl.Int64))
    columns = frame.with_row_index("n").select(
        event_date=pl.lit(date),
        event_id=pl.format("e-{}-{}", pl.lit(number), "n"),
        player_id=pl.format("player-{}", "player"),
        campaign_id=pl.when(pl.col("campaign") >= 0).then(pl.format("campaign-{}", "campaign")),
        event_type="event_type",
        event_data=payload,
        session_id=pl.format("s-{}-{}-{}", pl.lit(number), "player", "hour"),
        timestamp=at,
        client_timestamp=pl.when(~pl.col("no_clock")).then(
            at - pl.duration(microseconds=(pl.col("latency") * 1e6).cast(pl.Int64))
        ),
        device_info=_device(),
        extra_fields=pl.lit(None, pl.String),
    )
    return columns.cast(PlayerEvents.schema())


def _device() -> pl.Expr:
    parts = [pl.lit('{"platform":"'), "platform", pl.lit('","app_version":"2.'), pl.col("release").cast(pl.String)]
    return pl.concat_str([*parts, pl.lit('.0"}')])


def _noisy(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Shares that differ from day to day by more than chance: about 4 % each."""
    drawn = weights * random.lognormal(0, 0.04, len(weights))
    return np.asarray(drawn / drawn.sum())
