"""Faults injected into a seasonal history, and how many of them the platform's own judgement finds.
Not here: the history (seasonal_history), what a fault does (fault_kinds)."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.bench import SEED, Bench
from benchmarks.fault_kinds import KINDS, FaultKind
from benchmarks.seasonal_history import seasonal_days
from benchmarks.shop_faults import SHOP_FAULTS
from benchmarks.shop_history import FOLDER, shop_folder, shop_lines
from benchmarks.table import Row
from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.core.quality.anomalies import judge as judge_by_history
from data_platform.core.quality.profile import look, profile
from data_platform.core.quality.table_rules import judge_together
from data_platform.core.quality.validation import Status, Verdict, judge
from data_platform.domains.commerce.contracts.star import FctOrderItems
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity, PlayerSessionDays
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.registry import RawCampaignChanges, RawPlayerChanges
from data_platform.domains.gameplay.transforms.activity import daily_activity
from data_platform.domains.gameplay.transforms.sessions import session_days

DAYS = 180
FAULTS = 100
LEARNING_DAYS = 60
"""Faults come after these."""
GOAL_DETECTED, GOAL_ALARMS = 0.95, 1.0
DAYS_A_MONTH = 30.4
DAYS_OF_KIND = 4
"""Of the real shop, on which each kind of fault is injected."""
GOAL_SHOP_DETECTED, GOAL_SHOP_ALARMS = 0.8, 0.5


@dataclass(frozen=True)
class Clean:
    """A table of the clean history: its rows, measures, and the days on which it was called unusual."""

    table: type[Table]
    rows: pl.DataFrame
    measures: pl.DataFrame
    alarms: dict[str, list[Verdict]]
    judged_days: int

    @property
    def alarms_a_month(self) -> float:
        return len(self.alarms) / self.judged_days * DAYS_A_MONTH


@dataclass(frozen=True)
class Injected:
    """One fault, and what failed because of it."""

    kind: FaultKind
    day: str
    strength: float
    failed: list[Verdict]


def clean_history(days: int, seed: int) -> dict[type[Table], Clean]:
    """A seasonal history of three tables, judged day by day as the platform does."""
    events = pl.concat(seasonal_days(days, seed))
    computed = {PlayerDailyActivity: daily_activity(events.lazy()), PlayerSessionDays: session_days(events.lazy())}
    tables: dict[type[Table], pl.DataFrame] = {PlayerEvents: events}
    tables |= {table: frame.collect() for table, frame in computed.items()}
    return {table: _judged(table, rows) for table, rows in tables.items()}


def _judged(table: type[Table], rows: pl.DataFrame) -> Clean:
    assert table.partition
    days = pl.date_range(rows[table.partition].min(), rows[table.partition].max(), eager=True)
    measures = profile(table, [look(table, rows)], days)
    verdicts = judge_by_history(table, measures, measures.clear()).verdicts
    alarms: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.status == Status.FAILED:
            alarms.setdefault(verdict.partition, []).append(verdict)
    judged = {verdict.partition for verdict in verdicts if verdict.status != Status.NOT_JUDGED}
    return Clean(table, rows, measures, alarms, len(judged))


def inject(clean: Mapping[type[Table], Clean], faults: int, seed: int, lake: Lake) -> list[Injected]:
    """As many faults, the kinds in turn, each on a day of its own, from weak to strong."""
    random = np.random.default_rng(seed)
    days = clean[PlayerEvents].rows["event_date"].unique().sort()[LEARNING_DAYS:]
    chosen = days.gather(np.sort(random.permutation(len(days))[:faults])).to_list()
    injected = []
    for number, day in enumerate(chosen):
        kind = KINDS[number % len(KINDS)]
        strength = (number // len(KINDS) + 0.5) / -(-faults // len(KINDS))
        table = clean[kind.table]
        assert kind.table.partition
        good = table.rows.filter(pl.col(kind.table.partition) == day)
        broken = kind.apply(good, random, strength).select(good.columns).cast(dict(good.schema))  # type: ignore[arg-type]
        injected.append(Injected(kind, str(day), strength, _failed(table, broken, str(day), lake)))
    return injected


def _failed(clean: Clean, broken: pl.DataFrame, day: str, lake: Lake) -> list[Verdict]:
    """What the three judgements of a step say of a day: row rules, table rules, its own history."""
    table = clean.table
    verdicts = judge(table, broken, [day])
    verdicts.sort_in(judge_together(table, broken.lazy(), lake, verdicts.rows))
    date = broken[table.partition or ""][0]
    measured = profile(table, [look(table, broken)], [date])
    unusual = [dt.date.fromisoformat(partition) for partition in clean.alarms]
    past = clean.measures.filter(pl.col("day") < date)
    verdicts.sort_in(judge_by_history(table, measured, past, unusual).verdicts)
    return [verdict for verdict in verdicts.failures if verdict.status == Status.FAILED]


def registry_lake(root: str, events: pl.DataFrame) -> Lake:
    """A lake in which every player and campaign of the events is known."""
    lake = Lake(root)
    for table, name in ((RawPlayerChanges, "player_id"), (RawCampaignChanges, "campaign_id")):
        known = events.select("event_date", name).drop_nulls().group_by(name).agg(change_date=pl.min("event_date"))
        rows = pl.concat([table.empty(), known.select("change_date", name)], how="diagonal").with_columns(
            operation=pl.lit("insert")
        )
        lake.append(table, rows)
    return lake


def faults(bench: Bench) -> Iterator[Row]:
    with bench.following("judge a clean history"):
        clean = clean_history(DAYS, SEED)
    with bench.following(f"inject {FAULTS} faults"), tempfile.TemporaryDirectory(dir=bench.folder) as root:
        injected = inject(clean, FAULTS, SEED, registry_lake(root, clean[PlayerEvents].rows))
    found = sum(bool(fault.failed) for fault in injected)
    yield Row(
        f"faults found, of {len(injected)} of {len(KINDS)} kinds in {DAYS} days",
        str(found),
        ratio=f"{found / len(injected):.0%}",
        goal=f"≥ {GOAL_DETECTED:.0%}",
        met=found >= GOAL_DETECTED * len(injected),
    )
    for name, (seen, of) in by_kind(injected).items():
        yield Row(f"… {name}", f"{seen} of {of}")
    for table in clean.values():
        yield Row(
            f"false alarms a month on {table.judged_days} clean days of {table.table.key}",
            f"{table.alarms_a_month:.2f}",
            goal=f"≤ {GOAL_ALARMS:.0f}",
            met=table.alarms_a_month <= GOAL_ALARMS,
        )
    yield from shop_faults(bench)


def by_kind(injected: Sequence[Injected]) -> dict[str, tuple[int, int]]:
    """Kind → (found, injected)."""
    found = Counter(fault.kind.name for fault in injected if fault.failed)
    return {name: (found[name], of) for name, of in Counter(fault.kind.name for fault in injected).items()}


def shop_faults_found(clean: Clean, seed: int) -> dict[str, tuple[int, int]]:
    """Kind → (found by the table's own past, injected), each on days of its own draw."""
    random = np.random.default_rng(seed)
    by_day = clean.rows.partition_by("order_date", as_dict=True, maintain_order=True)
    days = [day for (day,) in sorted(by_day) if str(day) not in clean.alarms][LEARNING_DAYS:]
    unusual = [dt.date.fromisoformat(partition) for partition in clean.alarms]
    found = {}
    for kind in SHOP_FAULTS:
        chosen = [days[one] for one in random.permutation(len(days))[:DAYS_OF_KIND]]
        noticed = 0
        for day in chosen:
            broken = kind.apply(by_day[(day,)], clean.rows.filter(pl.col("order_date") < day))
            measured = profile(clean.table, [look(clean.table, broken)], [day])
            past = clean.measures.filter(pl.col("day") < day)
            judged = judge_by_history(clean.table, measured, past, unusual)
            noticed += any(verdict.status == Status.FAILED for verdict in judged.verdicts)
        found[kind.name] = (noticed, len(chosen))
    return found


def shop_faults(bench: Bench) -> Iterator[Row]:
    """Faults in a real shop's days, where its data is at hand."""
    folder = shop_folder()
    if folder is None:
        yield Row(f"faults in a real shop: skipped, {FOLDER} names no folder", "")
        return
    with bench.following("judge a real shop"):
        clean = _judged(FctOrderItems, shop_lines(folder))
    with bench.following("inject faults into it"):
        found = shop_faults_found(clean, SEED)
    kinds = sum(2 * seen > of for seen, of in found.values())
    goal = GOAL_SHOP_DETECTED * len(found)
    yield Row(
        f"kinds of fault found in a real shop on most days, of {len(found)}",
        str(kinds),
        ratio=f"{kinds / len(found):.0%}",
        goal=f"≥ {GOAL_SHOP_DETECTED:.0%}",
        met=kinds >= goal,
    )
    for name, (seen, of) in found.items():
        yield Row(f"… {name}", f"{seen} of {of}")
    yield Row(
        f"false alarms a month on {clean.judged_days} days of a real shop's lines",
        f"{clean.alarms_a_month:.2f}",
        goal=f"≤ {GOAL_SHOP_ALARMS}",
        met=clean.alarms_a_month <= GOAL_SHOP_ALARMS,
    )
