"""What judging a day costs: row rules, table rules, profile and comparison with the history, of 500,000 events.
Not here: whether the judgement is right (faults)."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.bench import Bench
from benchmarks.process import Follow
from benchmarks.table import Row

PLAYERS = 74_400
"""500,000 events on one day."""
EVENTS = "clean/player_events"
GAME = ["clean", "gameplay", "features/player_churn_features"]
"""What a day of events is made into. Commerce is judged by dbt, and a single day of it is not settled yet."""
JUDGEMENTS = {
    "judge": "row rules",
    "judge_together": "table rules",
    "look": "counting and sampling",
    "judge_by_history": "profile, and comparison with 56 days",
}
GOAL = 0.10


def validation(bench: Bench) -> Iterator[Row]:
    simulated = bench.simulated(bench.scaled(PLAYERS), 1)
    home = bench.fresh_home()
    simulated.land(home)
    day = str(simulated.days[0])
    result = bench.run("judge a large day", "validated_day", home, day=day).result
    judging: dict[str, dict[str, float]] = result["judging"]
    total, all_judging = result["seconds"], sum(sum(parts.values()) for parts in judging.values())
    yield Row(
        f"validation of all tables of a day of {simulated.events:,} events, of materialising it from landing on",
        f"{all_judging:.2f} s",
        f"{total - all_judging:.2f} s",
        f"{all_judging / total:.1%}",
        f"≤ {GOAL:.0%}",
        all_judging <= GOAL * total,
    )
    events = sum(judging[EVENTS].values())
    step = result["clean_step_seconds"]
    yield Row(f"… of {EVENTS} alone, of its step", f"{events:.2f} s", f"{step - events:.2f} s", f"{events / step:.1%}")
    for name, seconds in judging[EVENTS].items():
        yield Row(f"… … {JUDGEMENTS[name]}", f"{seconds:.3f} s", ratio=f"{seconds / step:.1%}")


def validated_day(day: str, follow: Follow) -> dict[str, Any]:
    """Build a day from landing, give every table a past of 56 such days, and build the day again with clocks around all
    that judges. The seconds are those of the first build, in which files are read; the judging that of the second."""
    from data_platform.core import assets
    from data_platform.core.dagster_home import open_instance
    from data_platform.definitions import defs
    from data_platform.operations import build as operations

    date = dt.date.fromisoformat(day)
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    with open_instance() as instance:
        follow("first build", 0, 2)
        begun = time.perf_counter()
        built = operations.build(defs, instance, GAME, date, date)
        total = time.perf_counter() - begun
        if built.failures:
            raise SystemExit("\n".join(built.failures))
        _give_a_past(date)
        for name in JUDGEMENTS:
            setattr(assets, name, _timed(getattr(assets, name), name, seconds))
        follow("second build", 1, 2)
        built = operations.build(defs, instance, GAME, date, date)
        stats = [
            stat for run in instance.get_runs(limit=built.runs) for stat in instance.get_run_step_stats(run.run_id)
        ]
        clean = next(stat for stat in stats if stat.step_key == "clean_player_events")
    return {"seconds": total, "judging": seconds, "clean_step_seconds": clean.end_time - clean.start_time}


def _timed(judge: Callable[..., Any], name: str, seconds: dict[str, dict[str, float]]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        begun = time.perf_counter()
        try:
            return judge(*arguments)
        finally:
            key = next(one.key for one in arguments if isinstance(one, type))
            seconds[key][name] = seconds[key].get(name, 0.0) + time.perf_counter() - begun

    return timed


def _give_a_past(date: dt.date) -> None:
    """Each profiled table looked on the 56 days before as it did on this one."""
    import polars as pl

    from data_platform.core.anomalies import WINDOW_DAYS
    from data_platform.core.contract import contract
    from data_platform.core.io_manager import LakeResource
    from data_platform.core.profile_store import Profiles, history, remember

    lake = LakeResource().lake()
    for key in lake.scan(Profiles).select(pl.col("asset").unique()).collect()["asset"]:
        measured, _ = history(lake, contract(key), date, date)
        past = pl.DataFrame({"back": range(1, WINDOW_DAYS + 1)}).join(measured, how="cross")
        past = past.with_columns(day=pl.col("day") - pl.duration(days=pl.col("back"))).drop("back")
        remember(lake, contract(key), past, (), "made up")
