"""What can go wrong with a day of data, as functions that break a good one: 20 kinds, each by a strength of 0 to 1.
Not here: the good days (seasonal_history), judging (faults)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from data_platform.core.contract.table import Table
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents

Break = Callable[[pl.DataFrame, np.random.Generator, float], pl.DataFrame]


@dataclass(frozen=True)
class FaultKind:
    """A way to break a day of a table."""

    name: str
    table: type[Table]
    apply: Break


def _some(frame: pl.DataFrame, random: np.random.Generator, share: float) -> pl.Series:
    return pl.Series(random.random(len(frame)) < share)


def _replaced(frame: pl.DataFrame, where: pl.Series, **values: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(where).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def _copies(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(name) + "-again")


def _busy_hours(frame: pl.DataFrame, random: np.random.Generator, count: int) -> list[int]:
    """Hours with at least 3 % of the day's events: fewer than 75 of 2,500 could be missing by chance."""
    hours = frame["timestamp"].dt.hour().value_counts().filter(pl.col("count") >= 0.03 * len(frame))["timestamp"]
    return [int(hour) for hour in random.choice(hours.sort().to_numpy(), count, replace=False)]


def _member(name: str, change: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """The payload with one number changed."""
    before, number, after = (
        pl.col("event_data").str.extract(rf'^(.*"{name}":)(-?[0-9.]+)(.*)$', part) for part in (1, 2, 3)
    )
    changed = change(number.cast(pl.Float64)).round(2).cast(pl.String)
    return pl.coalesce(pl.concat_str([before, changed, after]), "event_data")


def nulls(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """5 to 60 % of a nullable column."""
    name = str(random.choice(["campaign_id", "session_id", "device_info", "client_timestamp", "event_data"]))
    return _replaced(frame, _some(frame, random, 0.05 + 0.55 * strength), **{name: pl.lit(None)})


def shifted_units(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """A number in a payload times 60, 100 or 1000, or a tenth of it, on 30 to 100 % of the rows."""
    name = str(random.choice(["damage_dealt", "mana_cost", "queue_seconds", "minutes", "length"]))
    factor = float(random.choice([0.1, 60, 100, 1000]))
    where = _some(frame, random, 0.3 + 0.7 * strength)
    return _replaced(frame, where, event_data=_member(name, lambda number: number * factor))


def duplicated_hours(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """One to three hours twice, under new ids."""
    hours = _busy_hours(frame, random, 1 + int(2 * strength))
    again = frame.filter(pl.col("timestamp").dt.hour().is_in(hours))
    return pl.concat([frame, _copies(again, "event_id")])


def missing_hours(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """One to three hours without events."""
    return frame.filter(~pl.col("timestamp").dt.hour().is_in(_busy_hours(frame, random, 1 + int(2 * strength))))


def swapped_columns(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """Two text columns (or the two clocks) exchanged, on 30 to 100 % of the rows."""
    pairs = [("player_id", "session_id"), ("event_type", "session_id"), ("session_id", "campaign_id")]
    one, other = pairs[int(random.integers(len(pairs)))]
    where = _some(frame, random, 0.3 + 0.7 * strength)
    swapped = {one: pl.col(other), other: pl.col(one)}
    return _replaced(frame, where, **swapped).filter(
        pl.col("player_id").is_not_null(), pl.col("event_type").is_not_null()
    )


def truncated_day(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """The last 10 to 60 % of the day's rows are not there."""
    return frame.head(round(len(frame) * (0.9 - 0.5 * strength)))


def frozen_values(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """One payload per event type, or one moment, on 40 to 100 % of the rows."""
    where = _some(frame, random, 0.4 + 0.6 * strength)
    if random.random() < 0.5:
        return _replaced(frame, where, event_data=pl.col("event_data").first().over("event_type"))
    return _replaced(frame, where, timestamp=pl.col("timestamp").min() + pl.duration(hours=7))


def enum_typo(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """An event type or a platform spelt differently on 30 to 100 % of its rows."""
    where = _some(frame, random, 0.3 + 0.7 * strength)
    if random.random() < 0.5:
        return _replaced(frame, where, event_type=pl.col("event_type").str.replace("spell_cast", "spel_cast"))
    return _replaced(frame, where, device_info=pl.col("device_info").str.replace('"android"', '"Android"'))


def timezone_shift(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """Server time moved by one to eight hours; what leaves the day comes back at its other end."""
    hours = int(random.choice([-1, 1])) * (1 + round(7 * strength))
    start = pl.col("event_date").cast(pl.Datetime("us", "UTC"))
    into = ((pl.col("timestamp") - start).dt.total_microseconds() + hours * 3_600_000_000) % 86_400_000_000
    return frame.with_columns(timestamp=start + pl.duration(microseconds=into))


def currency_change(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """Prices in another currency: 4.3 (zloty) to 160 (yen) times as large, on 40 to 100 % of the rows."""
    factor = float(random.choice([4.3, 11.5, 90, 160]))
    where = _some(frame, random, 0.4 + 0.6 * strength)
    return _replaced(frame, where, event_data=_member("price", lambda number: number * factor))


def more_volume(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """1.6 to 3 times the events, under new ids."""
    again = frame.filter(_some(frame, random, min(1.0, 0.6 + strength)))
    more = [_copies(again, "event_id")] + ([_copies(_copies(frame, "event_id"), "event_id")] if strength > 0.8 else [])
    return pl.concat([frame, *more])


def zeroed_numbers(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """A count of players' days is 0 on 40 to 100 % of the rows."""
    name = str(random.choice(["engagement_points", "combat_start_count", "item_acquired_count"]))
    return _replaced(frame, _some(frame, random, 0.4 + 0.6 * strength), **{name: pl.col(name) * 0})


def wrong_dates(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """Clients tell a date days or a year off, on 20 to 100 % of the rows."""
    days = int(random.choice([-365, -1, 1, 30]))
    where = _some(frame, random, 0.2 + 0.8 * strength)
    return _replaced(frame, where, client_timestamp=pl.col("client_timestamp") + dt.timedelta(days))


def constant_ids(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """One player, session or event id on 20 to 100 % of the rows."""
    name = str(random.choice(["player_id", "session_id", "event_id"]))
    return _replaced(frame, _some(frame, random, 0.2 + 0.8 * strength), **{name: pl.col(name).first()})


def negative_values(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """A number in a payload below zero on 20 to 100 % of its rows."""
    name = str(random.choice(["damage_dealt", "price", "mana_cost", "enemy_level"]))
    where = _some(frame, random, 0.2 + 0.8 * strength)
    return _replaced(frame, where, event_data=_member(name, lambda number: -number))


def emptied_payloads(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """`{}` instead of the payload on 20 to 100 % of the rows."""
    return _replaced(frame, _some(frame, random, 0.2 + 0.8 * strength), event_data=pl.lit("{}"))


def missing_platform(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """No events of one platform, from the small ones (7 % of the events) to the large."""
    platform = ("linux", "playstation", "macos", "android", "windows")[round(4 * strength)]
    return frame.filter(~frame["device_info"].str.contains(platform, literal=True).fill_null(False))


def clock_skew(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """Clients' clocks 5 to 60 minutes off, on 30 to 100 % of the rows."""
    off = dt.timedelta(minutes=float(random.choice([-1, 1])) * (5 + 55 * strength))
    where = _some(frame, random, 0.3 + 0.7 * strength)
    return _replaced(frame, where, client_timestamp=pl.col("client_timestamp") + off)


def renamed_member(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """A member of a payload under another name on 30 to 100 % of its rows."""
    name = str(random.choice(["damage_dealt", "price", "mana_cost", "npc", "rarity"]))
    where = _some(frame, random, 0.3 + 0.7 * strength)
    renamed = pl.col("event_data").str.replace(f'"{name}":', f'"{name}_v2":', literal=True)
    return _replaced(frame, where, event_data=renamed)


def missing_players(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """A computed table without 25 to 75 % of its players."""
    return frame.filter(~_some(frame, random, 0.25 + 0.5 * strength))


def scaled_points(frame: pl.DataFrame, random: np.random.Generator, strength: float) -> pl.DataFrame:
    """A computed number times 0.1 to 10, or swapped with another."""
    factor = float(random.choice([0.1, 0.5, 2, 10]))
    where = _some(frame, random, 0.4 + 0.6 * strength)
    if random.random() < 0.5:
        return _replaced(frame, where, engagement_points=pl.col("engagement_points") * factor)
    swapped = {"total_events": pl.col("level_up_count") + 1, "level_up_count": pl.col("total_events")}
    return _replaced(frame, where, **swapped)


KINDS = (
    *(
        FaultKind(one.__name__.replace("_", " "), PlayerEvents, one)
        for one in (
            *(nulls, shifted_units, duplicated_hours, missing_hours, swapped_columns, truncated_day, frozen_values),
            *(enum_typo, timezone_shift, currency_change, more_volume, wrong_dates, constant_ids, negative_values),
            *(emptied_payloads, missing_platform, clock_skew, renamed_member),
        )
    ),
    *(
        FaultKind(one.__name__.replace("_", " "), PlayerDailyActivity, one)
        for one in (zeroed_numbers, missing_players, scaled_points)
    ),
)
