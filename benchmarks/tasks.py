"""What is measured in a process of its own: `python -m benchmarks.tasks NAME JSON` prints JSON lines, see `process.py`.
Each function imports what it needs itself, because imports are part of what a fresh process costs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

BACKFILL_TURNS = 3
"""Each side's best of three, in turns: single ones differed by a third on a machine that does other things too."""


def tell(what: str, done: int, total: int) -> None:
    print(json.dumps({"progress": [what, done, total]}), flush=True)


def build(select: list[str], first: str, last: str) -> dict[str, Any]:
    """What `data-platform build SELECT --from FIRST --to LAST` does."""
    import datetime as dt

    from data_platform.core.importing import importing

    with importing():  # as the command does
        from data_platform.core.instance.dagster_home import open_instance
        from data_platform.definitions import defs
        from data_platform.operations import build as operations

    with open_instance() as instance:
        begun = time.perf_counter()
        built = operations.build(
            defs, instance, select, dt.date.fromisoformat(first), dt.date.fromisoformat(last), follow=tell
        )
        seconds = time.perf_counter() - begun
        if built.failures:
            raise SystemExit("\n".join(built.failures))
        return {"seconds": seconds, "runs": built.runs, "steps": step_seconds(instance, built.runs)}


def step_seconds(instance: Any, runs: int) -> dict[str, float]:
    """How long each step of the newest runs took, in the order they ran."""
    steps = [stat for run in instance.get_runs(limit=runs) for stat in instance.get_run_step_stats(run.run_id)]
    ran = sorted((stat for stat in steps if stat.start_time and stat.end_time), key=lambda stat: stat.start_time)
    return {stat.step_key.replace("__", "/"): round(stat.end_time - stat.start_time, 3) for stat in ran}


def reference(landing: str, output: str) -> dict[str, Any]:
    """The pipeline by hand: `reference.sql`."""
    from benchmarks.reference import run_reference

    return run_reference(landing, output, tell)


def simulate(players: int, days: int, seed: int, to: str) -> dict[str, Any]:
    """Simulate a game; the seconds are those of the simulation alone."""
    import datetime as dt
    from pathlib import Path

    from data_platform.domains.gameplay.simulation.truth import Truth
    from data_platform.simulation import simulate

    begun = time.perf_counter()
    written = simulate(players, days, seed, dt.date(2024, 1, 1), Path(to), progress=lambda *days: tell("", *days))
    seconds, truth = time.perf_counter() - begun, Truth.read(written)
    return {"seconds": seconds, "events": sum(day.clean for day in truth.dates.values())}


def backfill_features(first: str, last: str) -> dict[str, Any]:
    """All feature tables over a range, through Dagster and by the bare transforms; everything upstream is built."""
    import datetime as dt

    from benchmarks.bare_features import FEATURES, feature_rows, forget_features, write_features
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.definitions import defs
    from data_platform.operations import build as operations

    days = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    bare, through_dagster = [], []
    with open_instance() as instance:
        for turn in range(BACKFILL_TURNS):
            tell("bare transforms", 2 * turn, 2 * BACKFILL_TURNS)
            bare.append(write_features(*days))
            forget_features(instance)
            tell("through Dagster", 2 * turn + 1, 2 * BACKFILL_TURNS)
            begun = time.perf_counter()
            built = operations.build(defs, instance, [table.key for table in FEATURES])
            through_dagster.append(time.perf_counter() - begun)
            if built.failures:
                raise SystemExit("\n".join(built.failures))
        return {
            "seconds": min(through_dagster),
            "bare_seconds": min(bare),
            "runs": built.runs,
            "partitions": built.partitions,
            "rows": feature_rows(),
            "steps": step_seconds(instance, built.runs),
        }


def live(rate: int, seconds: int, viewers: int) -> dict[str, Any]:
    """The live page under load, watched by another process."""
    from benchmarks.live_server import measure

    return measure(rate, seconds, viewers, tell)


def health(tables: int, partitions: int, rules: int, requests: int) -> dict[str, Any]:
    """Answers of the health page over made-up tables, asked for by another process."""
    from benchmarks.health_server import measure

    return measure(tables, partitions, rules, requests, tell)


def dashboards(days: int, players: int, campaigns: int, requests: int) -> dict[str, Any]:
    """Answers of the dashboards over made-up marts, asked for by another process."""
    from benchmarks.dashboard_server import measure

    return measure(days, players, campaigns, requests, tell)


def collector(requests: int, events: int, connections: int) -> dict[str, Any]:
    """Events posted to a collector of its own: see `collector_load.measure`."""
    from benchmarks.collector_load import measure

    return measure(requests, events, connections)


def latency(events: int, players: int, days: int) -> dict[str, Any]:
    """One event after the other, through a running Dagster and a worker."""
    from benchmarks.latency_run import measure

    return measure(events, players, days, lambda done, of: tell("", done, of))


def usage(rows: int, requests: int) -> dict[str, Any]:
    """Dashboard questions over a year of made-up usage, asked through the query API by another process."""
    from benchmarks.usage_server import measure

    return measure(rows, requests, tell)


def online(players: int, ones: int, batches: int, rate: float, folder: str) -> dict[str, Any]:
    """Answers of the feature API to readers in other processes, also while what it serves is replaced."""
    from benchmarks.online_server import measure

    return measure(players, ones, batches, rate, folder, tell)


def publication(days: int, orders_a_day: int, asked: int, folder: str) -> dict[str, Any]:
    """Tables into a PostgreSQL while it is read, then what dashboards ask of both."""
    from benchmarks.publication_server import measure

    return measure(days, orders_a_day, asked, folder, tell)


def cdc(changes: int, landing: str) -> dict[str, Any]:
    """A database's changes into segments, and handed over without us."""
    from benchmarks.capture_server import measure

    return measure(changes, landing, tell)


def commerce_lake(days: int, orders: int, events: int) -> None:
    """A year of a shop, to compute one more day of."""
    from benchmarks import commerce

    commerce.make(days, orders, events, tell)


def commerce_day(day: str, what: str) -> dict[str, Any]:
    """A day of every dbt model, or of one, through Dagster."""
    from benchmarks import day_of_models

    return day_of_models.compute(day, what, tell)


def commerce_files(day: str, to: str, group: str) -> None:
    """What the models of a group read of a day."""
    from benchmarks import commerce_sql

    commerce_sql.list_files(day, to, group)


def research_lake(days: int, interactions: int, personas: int) -> None:
    """A year of a research studio, to compute one more day of."""
    from benchmarks import research_marts

    research_marts.make(days, interactions, personas, tell)


def research_dashboards(requests: int, folder: str) -> dict[str, Any]:
    """Answers of the dashboards over a year of research's marts."""
    from benchmarks import research_marts

    return research_marts.ask_dashboards(requests, folder)


def commerce_by_hand(**given: Any) -> dict[str, Any]:
    """A day of every model by DuckDB alone."""
    from benchmarks import commerce_sql

    return commerce_sql.by_hand(**given)


def validated_day(day: str) -> dict[str, Any]:
    """What judging a large day costs."""
    from benchmarks import validation

    return validation.validated_day(day, tell)


def join_with_client(folder: str, to: str) -> dict[str, Any]:
    """Features of a million entities by the Python client."""
    from benchmarks import point_in_time

    return point_in_time.with_client(folder, to)


def join_with_duckdb(folder: str, to: str) -> dict[str, Any]:
    """The same by one ASOF query."""
    from benchmarks import point_in_time

    return point_in_time.with_duckdb(folder, to)


def join_with_equality(folder: str, to: str) -> dict[str, Any]:
    """Less than the same: only rows of the very day before."""
    from benchmarks import point_in_time

    return point_in_time.with_duckdb(folder, to, point_in_time.EQUALITY)


def feast_repository(folder: str, to: str, store: str) -> dict[str, Any]:
    """What Feast reads, made over the lake."""
    from benchmarks import feast_join

    return feast_join.make_repository(folder, to, store)


def kafka_to_raw(bootstrap: str, topic: str, events: int) -> dict[str, Any]:
    """A topic, read and taken in."""
    from benchmarks import kafka

    return kafka.read_and_take_in(bootstrap, topic, events, tell)


def priced_by_hand(calls: str, prices: str, folder: str) -> dict[str, Any]:
    """What a day of calls costs, in SQL written by hand."""
    from benchmarks.metering_by_hand import priced_by_hand as priced

    return priced(calls, prices, folder)


if __name__ == "__main__":
    task, arguments = globals()[sys.argv[1]], json.loads(sys.argv[2])
    print(json.dumps({"result": task(**arguments)}), flush=True)
    from data_platform.core.importing import end_at_once

    end_at_once(0)  # as commands do
