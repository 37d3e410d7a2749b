"""What judging a day costs: row rules, table rules, profile and comparison with the history, of 500,000 events.
Not here: whether the judgement is right (faults)."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from benchmarks.bench import Bench
from benchmarks.process import Follow
from benchmarks.table import Row
from data_platform.core.contract.table import Table
from data_platform.core.quality.validation import WHOLE_TABLE, Verdicts

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
TURNS = 3
"""Best of so many on either side."""


def validation(bench: Bench) -> Iterator[Row]:
    simulated = bench.simulated(bench.scaled(PLAYERS), 1)
    home = bench.fresh_home()
    simulated.land(home)
    day = str(simulated.days[0])
    result = bench.run("judge a large day", "validated_day", home, day=day).result
    total, cost, of_events = result["seconds"], result["judged"] - result["not_judged"], result["judging"]
    one = sum(of_events.values())
    yield Row(
        f"validation of {EVENTS}, a day of {simulated.events:,} rows, of materialising that day from landing on",
        f"{one:.2f} s",
        f"{total:.2f} s",
        f"{one / total:.1%}",
        f"≤ {GOAL:.0%}",
        one <= GOAL * total,
    )
    for name, seconds in of_events.items():
        yield Row(f"… {JUDGEMENTS[name]}, while its files are written", f"{seconds:.3f} s")
    yield Row(
        "… of all tables of that day: what judging adds",
        f"{cost:.2f} s",
        f"{total:.2f} s",
        f"{cost / total:.1%}",
        f"≤ {GOAL:.0%}",
        cost <= GOAL * total,
    )
    judged, not_judged = (f"{result[name]:.2f} s" for name in ("judged", "not_judged"))
    yield Row("… … computing the tables again, judged and not", judged, not_judged)


def validated_day(day: str, follow: Follow) -> dict[str, Any]:
    """Build a day from landing, give every table a past of 56 such days, and compute its tables again, judged and not
    in turn. Only the first build reads files; the difference of the others is what judging costs whoever waits for the
    day, since files are written meanwhile."""
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.orchestration import publication, reporting
    from data_platform.definitions import defs
    from data_platform.operations import build as operations

    date = dt.date.fromisoformat(day)
    room = {name: reporting if name == "record_in_ledger" else publication for name in (*NOTHING_JUDGED, *JUDGEMENTS)}
    as_usual = {name: getattr(module, name) for name, module in room.items()}
    took: dict[str, list[float]] = defaultdict(list)
    clocks: dict[str, dict[str, float]] = defaultdict(dict)
    with open_instance() as instance:

        def build(way: str, judging: Mapping[str, Any]) -> None:
            follow(way, sum(map(len, took.values())), 2 * TURNS + 2)
            for name, judge in judging.items():
                setattr(room[name], name, judge)
            begun = time.perf_counter()
            built = operations.build(defs, instance, GAME, date, date)
            took[way].append(time.perf_counter() - begun)
            if built.failures:
                raise SystemExit("\n".join(built.failures))

        build("from landing on", as_usual)
        _give_a_past(date)
        for _ in range(TURNS):
            build("not judged", as_usual | NOTHING_JUDGED)
            build("judged", as_usual)
        build("under clocks", as_usual | {name: _timed(as_usual[name], name, clocks) for name in JUDGEMENTS})
    return {
        "seconds": took["from landing on"][0],
        "judged": min(took["judged"]),
        "not_judged": min(took["not judged"]),
        "judging": clocks[EVENTS],
    }


def _only_counted(table: type[Table], frame: pl.DataFrame, partitions: list[str]) -> Verdicts:
    if table.partition is None:
        return Verdicts(rows={WHOLE_TABLE: len(frame)})
    counts = {str(day): rows for day, rows in frame[table.partition].value_counts().iter_rows()}
    return Verdicts(rows={partition: counts.get(partition, 0) for partition in partitions})


NOTHING_JUDGED: Mapping[str, Callable[..., Any]] = {
    "judge": _only_counted,
    "judge_together": lambda *_: [],
    "is_profiled": lambda _: False,
    "record_in_ledger": lambda *_: None,
}
"""What stands in `core/orchestration` for judging, when nothing is judged and no verdict is kept."""


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
    from data_platform.core.contract.table import contract
    from data_platform.core.orchestration.io_manager import LakeResource
    from data_platform.core.quality.anomalies import WINDOW_DAYS
    from data_platform.core.quality.profile_store import Profiles, history, remember

    lake = LakeResource().lake()
    for key in lake.scan(Profiles).select(pl.col("asset").unique()).collect()["asset"]:
        measured, _ = history(lake, contract(key), date, date)
        past = pl.DataFrame({"back": range(1, WINDOW_DAYS + 1)}).join(measured, how="cross")
        past = past.with_columns(day=pl.col("day") - pl.duration(days=pl.col("back"))).drop("back")
        remember(lake, contract(key), past, (), "made up")
