"""Replay of a long discussion from the lake, with snapshots and without, among a lake full of others; and what the fold
and the table of states cost by event. The marts (research_marts) are a part of it. Not here: search, graphs."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator
from statistics import quantiles

import numpy as np
import polars as pl

from benchmarks.bench import START, Bench
from benchmarks.research_marts import research_marts
from benchmarks.table import Row
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.domains.research.contracts.discussions import DiscussionEvents, Discussions, DiscussionSnapshots
from data_platform.domains.research.replay import replay
from data_platform.domains.research.transforms.discussion_state import State, events_of, fold
from data_platform.domains.research.transforms.discussions import discussion_snapshots, discussion_states

LONG = 10_000
"""Events of the discussion that is replayed."""
LONG_DAYS = 10
DAYS = 30
OTHERS_A_DAY = 33_000
"""Events of other discussions: a million a month."""
EVENTS_OF_OTHERS = 40
REPLAYS = 60
MOST_MILLISECONDS = 100


def research(bench: Bench) -> Iterator[Row]:
    yield from replays(bench)
    yield from research_marts(bench)


def replays(bench: Bench) -> Iterator[Row]:
    long, others = bench.scaled(LONG), bench.scaled(OTHERS_A_DAY)
    lake = Lake(str(bench.fresh_home() / "lake"))
    events = pl.concat([_long(long), *(events_of_others(day, others) for day in range(DAYS))])
    days = sorted(events["event_date"].unique())
    with bench.following("publishing events") as follow:
        follow("publishing events", 0, 1)
        Publication(DiscussionEvents).publish(lake, [events], days, "benchmark", [])
        began = time.perf_counter()
        states = discussion_states(lake.scan(DiscussionEvents)).collect()
        states_seconds = time.perf_counter() - began
        Publication(Discussions).publish(lake, [states], [], "benchmark", [])
        snapshots = discussion_snapshots(lake.scan(DiscussionEvents), days)
        Publication(DiscussionSnapshots).publish(lake, [snapshots], days, "benchmark", [])
    whole = replay(lake, "long", snapshots=False)
    assert whole.state == replay(lake, "long").state
    assert whole.state.events == long

    rng = random.Random(7)
    places = [rng.randint(1, long) for _ in range(REPLAYS)]
    moments = [whole.events["occurred_at"][place - 1] for place in places]
    what = f"replay of a discussion of {long:,} events among {len(events):,}, from the lake"
    kinds: tuple[tuple[str, Callable[[int], object], bool], ...] = (
        ("as it stands, with snapshots", lambda n: replay(lake, "long"), True),
        ("after any event, with snapshots", lambda n: replay(lake, "long", places[n]), True),
        ("at any moment, with snapshots", lambda n: replay(lake, "long", moments[n]), True),
        ("as it stands, from the start", lambda n: replay(lake, "long", snapshots=False), False),
    )
    for kind, ask, has_goal in kinds:
        before = time.process_time()
        median, p95 = _milliseconds(ask)
        processor = 1000 * (time.process_time() - before) / REPLAYS
        goal = (f"< {MOST_MILLISECONDS} ms", p95 < MOST_MILLISECONDS) if has_goal else ("", None)
        yield Row(
            f"{what}: {kind}, p95",
            f"{p95:.0f} ms",
            f"p50 {median:.0f} ms, {processor:.0f} ms of a processor",
            "",
            *goal,
        )
    stream = events_of(whole.events)
    _, fold_p95 = _milliseconds(lambda n: fold(stream, State("long", "t-1")))
    yield Row(f"… the fold alone of {long:,} events", f"{fold_p95:.1f} ms")
    yield Row(
        f"states of {len(states):,} discussions of {len(events):,} events, from the lake", f"{states_seconds:.2f} s"
    )


def _milliseconds(ask: Callable[[int], object]) -> tuple[float, float]:
    """Median and 95th percentile of REPLAYS calls."""
    took = []
    for number in range(REPLAYS):
        began = time.perf_counter()
        ask(number)
        took.append(1000 * (time.perf_counter() - began))
    cuts = quantiles(took, n=20)
    return cuts[9], cuts[18]


def _long(count: int) -> pl.DataFrame:
    """One discussion over the first days."""
    step = dt.timedelta(days=LONG_DAYS) / count
    rng = np.random.default_rng(1)
    return _events(
        discussion=pl.Series(["long"] * count),
        sequence=pl.Series(np.arange(1, count + 1)),
        at=pl.Series([_midnight(0) + step * n for n in range(count)], dtype=pl.Datetime("us", "UTC")),
        rng=rng,
    )


def events_of_others(day: int, count: int) -> pl.DataFrame:
    rng = np.random.default_rng([2, day])
    number = np.arange(count)
    at = pl.Series([_midnight(day)] * count, dtype=pl.Datetime("us", "UTC"))
    seconds = pl.Series((number * (80_000 // max(count, 1) or 1)).clip(0, 86_000)).cast(pl.Duration("ms")) * 1000
    return _events(
        discussion="d-" + pl.Series(day * 1_000_000 + number // EVENTS_OF_OTHERS).cast(pl.String),
        sequence=pl.Series(number % EVENTS_OF_OTHERS + 1),
        at=at + seconds,
        rng=rng,
    )


def _events(discussion: pl.Series, sequence: pl.Series, at: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
    """DiscussionEvents of these places: mostly responses of a hundred characters."""
    count = len(sequence)
    persona = pl.Series(rng.integers(0, 8, count)).cast(pl.String)
    question = pl.Series(rng.integers(0, 12, count)).cast(pl.String)
    words = pl.Series(rng.integers(0, 10**12, count)).cast(pl.String) + " " + "words that a persona says " * 4
    frame = pl.DataFrame({"discussion_id": discussion, "sequence": sequence, "occurred_at": at, "text": words})
    kind = pl.when(sequence == 1).then(pl.lit("discussion_started")).otherwise(
        pl.when(pl.Series(rng.random(count) < 0.2)).then(pl.lit("followup")).otherwise(pl.lit("response"))
    )  # fmt: skip
    filled = frame.with_columns(
        event_date=pl.col("occurred_at").dt.date(),
        event_id=pl.format("{}-{}", "discussion_id", "sequence"),
        event_type=kind,
        event_version=pl.lit(2, pl.Int64),
        persona_id="p-" + persona,
        question_id="q" + question,
        event_data=pl.lit('{"text":"') + pl.col("text") + pl.lit('"}'),
        tenant_id=pl.lit("t-1"),
        project_id=pl.lit("project-1"),
    )
    missing = [pl.lit(None).alias(name) for name in DiscussionEvents.columns if name not in filled.columns]
    return filled.with_columns(missing).select(pl.col(n).cast(t) for n, t in DiscussionEvents.schema().items())


def _midnight(day: int) -> dt.datetime:
    return dt.datetime.combine(START, dt.time(), dt.UTC) + dt.timedelta(day)
