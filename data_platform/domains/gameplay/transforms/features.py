"""What may be known of a player's play at the end of a day: engagement, and campaigns.
Not here: the daily parts (`sessions.py`, `activity.py`), both beside what players buy (`domains/churn`). Formulas:
DESIGN §10."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.gameplay.contracts.features import (
    PlayerCampaignFeatures,
    PlayerEngagementFeatures,
)
from data_platform.domains.gameplay.transforms.activity import COUNTED_EVENTS, HOURS
from data_platform.domains.gameplay.transforms.calendar import (
    SNAPSHOT,
    days_after,
    is_weekend,
    last_window_day,
    on_snapshot_days,
    window_maxima,
    window_sums,
)
from data_platform.domains.gameplay.transforms.sessions import (
    MICROSECONDS_PER_MINUTE,
    linked_parts,
    microseconds,
    minutes,
)

RATED_EVENTS = ("combat_start", "spell_cast", "dialogue_choice", "item_acquired")
"""Event types that have a count and a ratio among the features."""
SOCIAL_EVENTS = ("party_join", "message_sent", "trade_completed")
UNKNOWN = "unknown"
MILLION = 1_000_000
PLACES = 2**32
"""More than there are themes or roles."""


def engagement_features(
    session_days: pl.LazyFrame, daily_activity: pl.LazyFrame, player_changes: pl.LazyFrame, days: Sequence[dt.date]
) -> pl.LazyFrame:
    """PlayerEngagementFeatures of the snapshot days `days`: one row per day and player (DESIGN §10).

    Needs PlayerSessionDays and PlayerDailyActivity of D-29..D and PlayerChanges of every day up to D. Has a row for
    each player with an event in the window and for each player known at the end of D, that is, whose latest change by
    then is no deletion. Without events counts and ratios are 0, means and `most_active_hour` null. Lengths in minutes.
    """
    events = _events_in_window(daily_activity, days)
    sessions = _sessions_in_window(session_days, days)
    known = _as_known(player_changes, ["player_id"], days).select(SNAPSHOT)
    rows = known.join(events, on=SNAPSHOT, how="full", coalesce=True).join(sessions, on=SNAPSHOT, how="left")
    rows = rows.with_columns(
        pl.col("total_events", "unique_days_active", "unique_sessions", "weekend_events").fill_null(0)
    )
    rows = rows.with_columns(pl.col(f"{event_type}_count").fill_null(0) for event_type in COUNTED_EVENTS)
    rows = rows.with_columns(
        social_interactions=pl.sum_horizontal(f"{event_type}_count" for event_type in SOCIAL_EVENTS)
    )
    n, total = pl.col("unique_sessions").cast(pl.Int128), pl.col("session_us").cast(pl.Int128)
    # n Σx² - (Σx)² in 128-bit integers: exact, whereas a sum of floats would depend on the order of the rows.
    scatter = (n * pl.col("session_us_squared") - total.pow(2)).cast(pl.Float64)
    variance = scatter / (n * (n - 1) * MICROSECONDS_PER_MINUTE**2).cast(pl.Float64)
    return conform(
        PlayerEngagementFeatures,
        rows.with_columns(
            *(_per_event(f"{event_type}_count").alias(f"{event_type}_ratio") for event_type in RATED_EVENTS),
            weekend_ratio=_per_event("weekend_events"),
            social_ratio=_per_event("social_interactions"),
            level_ups="level_up_count",
            avg_events_per_session=pl.when(n > 0).then(pl.col("total_events") / pl.col("unique_sessions")),
            avg_session_duration_minutes=pl.col("session_us") / (pl.col("unique_sessions") * MICROSECONDS_PER_MINUTE),
            max_session_duration_minutes=minutes(pl.col("longest_session_us")),
            session_duration_std=pl.when(n > 1).then(variance.sqrt()),
        ),
    )


def _per_event(count: str) -> pl.Expr:
    """Share of the player's events; 0 for a player without any."""
    return pl.when(pl.col("total_events") > 0).then(pl.col(count) / pl.col("total_events")).otherwise(0.0)


def _events_in_window(daily_activity: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """Per snapshot day and player with an event: sums of the daily counts, and the busiest hour."""
    counts = [f"{event_type}_count" for event_type in COUNTED_EVENTS]
    hours = [f"hour_{hour}" for hour in HOURS]
    daily = daily_activity.select(
        "activity_date",
        "player_id",
        "total_events",
        *counts,
        *(pl.col("hourly_events").list.get(hour).alias(name) for hour, name in zip(HOURS, hours, strict=True)),
        weekend_events=pl.when(is_weekend(pl.col("activity_date"))).then("total_events").otherwise(0),
        unique_days_active=pl.lit(1, pl.Int64),
    )
    window = window_sums(daily, ["total_events", "weekend_events", "unique_days_active", *counts, *hours], days)
    # The first hour that reaches the maximum. (`list.arg_max` says the same, 60 times slower.)
    busiest = pl.max_horizontal(hours)
    first_busiest = pl.coalesce(
        pl.when(pl.col(name) == busiest).then(hour) for hour, name in zip(HOURS, hours, strict=True)
    )
    return window.with_columns(most_active_hour=first_busiest).drop(hours)


def _sessions_in_window(session_days: pl.LazyFrame, days: Sequence[dt.date]) -> pl.LazyFrame:
    """Per snapshot day and player: number of sessions and sums of their lengths, in microseconds, as integers.

    Of a session only the parts inside the window count. A client's session is all its parts, adjacent or not;
    derived parts belong together when the pause between them is no longer than within a day.
    """
    day = pl.col("activity_date")
    parts = session_days.select("activity_date", "player_id", "session_id", "is_derived", "started_at", "ended_at")
    if days:
        parts = parts.filter(day <= max(days), last_window_day(day) >= min(days))
    # A chain of derived parts goes by the name of its first part; `is_derived` keeps it apart from a client's id.
    chain = pl.when(~pl.col("follows")).then("session_id").forward_fill()
    chained = linked_parts(parts.filter("is_derived")).with_columns(session_id=chain).drop("follows")
    parts = pl.concat([parts.filter(~pl.col("is_derived")), chained])
    if len(set(days)) == 1:
        return _summed(_whole(on_snapshot_days(parts, day, last_window_day(day), days)), SNAPSHOT)
    # Nearly all sessions have one part, whose length is the same in every window: those are summed per day and rolled.
    # Only the others are measured in each window by itself.
    session = ("player_id", "session_id", "is_derived")
    spans = parts.group_by(session).agg(
        pl.col("started_at").min(), pl.col("ended_at").max(), day.min(), last_date=day.max()
    )
    of_one_day = pl.col("activity_date") == pl.col("last_date")
    daily = _summed(spans.filter(of_one_day), ("activity_date", "player_id"))
    longer = parts.join(spans.filter(~of_one_day), on=session, how="semi")
    per_window = _whole(on_snapshot_days(longer, day, last_window_day(day), days))
    sums = ("unique_sessions", "session_us", "session_us_squared")
    together = pl.concat(
        [
            window_sums(daily, sums, days),
            window_maxima(daily.select("activity_date", "player_id", "longest_session_us"), "longest_session_us", days),
            _summed(per_window, SNAPSHOT),
        ],
        how="diagonal",
    )
    return together.group_by(SNAPSHOT).agg(pl.col(sums).sum(), pl.col("longest_session_us").max())


def _whole(parts: pl.LazyFrame) -> pl.LazyFrame:
    """One row per snapshot day and session from its parts in the window."""
    session = (*SNAPSHOT, "session_id", "is_derived")
    return parts.group_by(session).agg(pl.col("started_at").min(), pl.col("ended_at").max())


def _summed(sessions: pl.LazyFrame, grain: Sequence[str]) -> pl.LazyFrame:
    """Number, sum, sum of squares and maximum of the session lengths per `grain`."""
    lengths, length = sessions.select(*grain, length=microseconds("started_at", "ended_at")), pl.col("length")
    return lengths.group_by(grain).agg(
        unique_sessions=pl.len().cast(pl.Int64),
        session_us=length.sum(),
        session_us_squared=length.cast(pl.Int128).pow(2).sum(),
        longest_session_us=length.max(),
    )


def campaign_features(
    participant_changes: pl.LazyFrame, campaign_changes: pl.LazyFrame, days: Sequence[dt.date]
) -> pl.LazyFrame:
    """PlayerCampaignFeatures of the snapshot days `days`: one row per day and player with a campaign (DESIGN §10).

    Needs ParticipantChanges of D-29..D (older ones cannot count: `last_active` never lies after `changed_at`) and
    CampaignChanges of every day up to D. A participation counts when its latest change by the end of D is no deletion
    and its `last_active` is on a day of the window. Difficulty and theme are those of the campaign's latest version
    by then, difficulty to six decimals; a deletion of the campaign does not take them away. An unknown difficulty is
    left out of the mean, an unknown theme counts as the theme `unknown`; a null role counts as `unknown` for the most
    played one, not as a role.
    """
    active_on = pl.col("last_active").dt.date()
    played = _as_known(participant_changes, ["campaign_id", "player_id"], days, for_window=True).filter(
        active_on <= pl.col("snapshot_date"), last_window_day(active_on) >= pl.col("snapshot_date")
    )
    campaigns = _as_known(campaign_changes.filter(pl.col("operation") != "delete"), ["campaign_id"], days).select(
        "snapshot_date", "campaign_id", "difficulty", "theme"
    )
    themes, roles = _places(campaign_changes, "theme"), _places(participant_changes, "role")
    rows = (
        played.join(campaigns, on=["snapshot_date", "campaign_id"], how="left")
        .join(themes, left_on=pl.col("theme").fill_null(UNKNOWN), right_on="preferred_themes")
        .join(roles, left_on=pl.col("role").fill_null(UNKNOWN), right_on="most_played_role")
        .with_columns(_vote("theme_place"), _vote("role_place"))
    )
    # Whole millionths, because a sum of floats depends on its order, also after a `sort()` in the group: measured with
    # 100,000 players, one day alone and the same day among 20 differed in the last bit. NaN, infinity and what is
    # beyond 64 bits become null. Sums have 128 bits: 64 would wrap where two campaigns are off the scale.
    millionths = (pl.col("difficulty") * MILLION).round().cast(pl.Int64, strict=False).cast(pl.Int128)
    players = rows.group_by(SNAPSHOT).agg(
        active_campaigns=pl.len(),
        avg_difficulty=pl.when(millionths.count() > 0)
        .then(millionths.sum().cast(pl.Float64) / (millionths.count() * MILLION))
        .otherwise(0.0),
        max_character_level=pl.col("character_level").max().fill_null(0),
        total_experience=pl.col("experience").cast(pl.Int128).sum(),
        unique_roles=pl.col("role").drop_nulls().n_unique(),
        theme_place=pl.col("theme_place").max() % PLACES,
        role_place=pl.col("role_place").max() % PLACES,
    )
    return conform(PlayerCampaignFeatures, players.join(themes, on="theme_place").join(roles, on="role_place"))


def _places(changes: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Every value of `theme` or `role` by its feature's name, and its place in the alphabet from the end."""
    name = {"theme": "preferred_themes", "role": "most_played_role"}[column]
    values = pl.concat([changes.select(pl.col(column).alias(name)), pl.LazyFrame({name: [UNKNOWN]})])
    ordered = values.drop_nulls().unique().sort(name, descending=True)
    return ordered.with_row_index(f"{column}_place").cast({f"{column}_place": pl.Int64})


def _vote(place: str) -> pl.Expr:
    """One integer, how often the value occurs above its place: the largest is the most frequent value, on a tie the
    first of the alphabet. A third of the time of `mode().min()`, which makes a list per player."""
    return (pl.len().over(*SNAPSHOT, place).cast(pl.Int64) * PLACES + pl.col(place)).alias(place)


def _as_known(
    changes: pl.LazyFrame, key: Sequence[str], days: Sequence[dt.date], *, for_window: bool = False
) -> pl.LazyFrame:
    """The latest change of each `key` at the end of each snapshot day, unless it is a deletion.

    A change holds from its `change_date` until the day before the next change's; with `for_window`, 30 days at most.
    """
    changed = pl.col("change_date")
    if days:
        changes = changes.filter(changed <= max(days))
    replaced_on = changed.shift(-1).over(key, order_by="changed_at")
    last = days_after(replaced_on, -1)
    if for_window:
        last = pl.min_horizontal(last, last_window_day(changed))
    versions = changes.with_columns(last=last).filter(
        pl.col("operation") != "delete", pl.col("last").is_null() | (pl.col("last") >= changed)
    )
    return on_snapshot_days(versions, changed, pl.col("last"), days)
