"""How serving hangs together: the newest features put online, a sample of what was served held against the lake.
Not here: any of these by itself (online, skew). Nothing but the definitions imports this: serving needs no Dagster."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Iterator
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.checks import CheckOutcome, asset_key
from data_platform.core.orchestration.publication import DELTA_VERSION
from data_platform.core.orchestration.specs import spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step, step_of_events
from data_platform.core.quality.validation import WHOLE_TABLE
from data_platform.core.settings import settings
from data_platform.features.catalogue import feature_sets
from data_platform.features.contracts import OnlinePlayerFeatures, ServedFeatures, ServingSkew
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.store import OlderThanServed, OnlineSnapshot, OnlineStore
from data_platform.features.online.vectors import newest_day, serve_day, snapshot_of
from data_platform.features.skew.comparison import skew
from data_platform.features.skew.landing import take_in

ONLINE = [one.table for one in feature_sets().values() if one.table.online]


def _counted(lake: Lake, _: Collection[str]) -> dict[str, CheckOutcome]:
    online = open_online_store(settings())
    try:
        served = [(table, found) for table in ONLINE if (found := online.current(table.table_name()))]
        counted = sum(online.count(table.table_name()) for table in ONLINE)
    finally:
        online.close()
    expected = sum(_rows_of_the_day(lake, table, found) for table, found in served)
    rows = {"players_served": counted, "rows_of_the_day": expected}
    return {WHOLE_TABLE: CheckOutcome(counted == expected, rows, expected, abs(counted - expected))}


ALL_SERVED = Check(
    "players_served_equal_rows_of_the_day",
    OnlinePlayerFeatures,
    "The online store holds one vector for each row of the snapshot day, counted in the store.",
    found=_counted,
)


@step(
    spec_for(
        OnlinePlayerFeatures,
        {table.table_name(): table for table in ONLINE},
        automation_condition=when_inputs_change(),
    ),
    checks=[ALL_SERVED],
)
def online_player_features(run: StepRun) -> None:
    """Put the newest snapshot day of each feature set online, unless it is: then nothing is written."""
    online = open_online_store(settings())
    try:
        metadata = {table.table_name(): _serve_newest(run, online, table) for table in ONLINE}
        served = [found for table in ONLINE if (found := online.current(table.table_name()))]
        counted = sum(online.count(table.table_name()) for table in ONLINE)
    finally:
        online.close()
    run.publish(OnlinePlayerFeatures, [_served_sets(served)])
    run.note(OnlinePlayerFeatures, _shown(metadata) | {"players": counted})


def _shown(by_table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was done of one feature set by itself, of several under their names."""
    if len(by_table) == 1:
        return next(iter(by_table.values()))
    return {f"{name}/{what}": value for name, done in by_table.items() for what, value in done.items()}


def _serve_newest(run: StepRun, online: OnlineStore, table: type[Table]) -> dict[str, Any]:
    """Swap if there is something other than what is served; what was done, as metadata."""
    version = run.lake.version(table)
    day = newest_day(run.lake, table, version)
    if version is None or day is None:
        return {"swap": "nothing: there are no features yet"}
    wanted, served = snapshot_of(run.lake, table, day, version), online.current(table.table_name())
    if served and (served.source, served.contract) == (wanted.source, wanted.contract):
        return _metadata("nothing: this is what is served", served)
    begun = time.monotonic()
    try:
        served = serve_day(run.lake, online, table, day, version)
    except OlderThanServed as error:
        run.context.log.warning(str(error))
        return {"swap": f"nothing: {error.problem}"}
    return _metadata("replaced", served) | {"seconds": time.monotonic() - begun}


def _metadata(done: str, served: OnlineSnapshot) -> dict[str, Any]:
    return {
        "swap": done,
        "snapshot_date": served.snapshot_date.isoformat(),
        "source_version": served.version,
        "written_at": served.written_at.isoformat(),
    }


def _rows_of_the_day(store: Lake, table: type[Table], served: OnlineSnapshot) -> int:
    rows = store.partitions(table, served.version)
    return int(rows.filter(pl.col("partition") == served.snapshot_date.isoformat())["rows"].sum())


def _served_sets(served: list[OnlineSnapshot]) -> pl.DataFrame:
    rows = [(one.feature_set, one.snapshot_date, one.rows, len(one.features)) for one in served]
    return pl.DataFrame(rows, schema=OnlinePlayerFeatures.schema(), orient="row")


def _served_spec() -> dg.AssetSpec:
    return spec_for(ServedFeatures, skippable=True).replace_attributes(
        deps=[dg.AssetDep(asset_key(OnlinePlayerFeatures))]
    )


@step_of_events(_served_spec(), name="quality__served_features")
def served_features(run: StepRun) -> Iterator[Any]:
    """Take in the log of served vectors. Which days it is of is known only then: each is recorded by its own event."""
    while taken := take_in(run.lake, settings().served):
        for day, rows in sorted(taken.items()):
            metadata: dict[str, Any] = {
                "rows_of_this_batch": rows,
                DELTA_VERSION: str(run.lake.version(ServedFeatures)),
            }
            run.context.log_event(dg.AssetMaterialization(asset_key(ServedFeatures), partition=day, metadata=metadata))
    yield from ()


def _skewed(lake: Lake, days: Collection[str]) -> dict[str, CheckOutcome]:
    dates = {day: dt.date.fromisoformat(day) for day in days}
    return {day: _judged(lake.scan(ServingSkew, date, date).collect()) for day, date in dates.items()}


EQUAL = Check(
    "served_equals_offline",
    ServingSkew,
    "Every value that was served is the value of the lake, at the version the answer stated.",
    found=_skewed,
)


@step(
    spec_for(ServingSkew, {"served": ServedFeatures}, automation_condition=when_inputs_change()),
    checks=[EQUAL],
)
def serving_skew(run: StepRun) -> None:
    """Compare what was served on each day of the run with the lake."""
    days = run.days()
    tables = {name: one.table for name, one in feature_sets().items()}
    compared = [skew(run.lake, run.lake.scan(ServedFeatures, day, day).collect(), tables) for day in days]
    run.publish(ServingSkew, compared, days)


def _judged(found: pl.DataFrame) -> CheckOutcome:
    compared, mismatched = int(found["compared"].sum()), int(found["mismatched"].sum())
    metadata: dict[str, Any] = {
        "values_compared": compared,
        "values_mismatched": mismatched,
        "values_not_verifiable": int(found["not_verifiable"].sum()),
        "features": found.filter(pl.col("mismatched") > 0)["feature"].to_list()[:20],
    }
    return CheckOutcome(mismatched == 0, metadata, compared, mismatched)
