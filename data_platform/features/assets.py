"""How serving hangs together: the newest features put online, a sample of what was served held against the lake.
Not here: any of these by itself (online, skew). Nothing but the definitions imports this: serving needs no Dagster."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.table import Severity, Table
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.assets import Publication, report, spec_for
from data_platform.core.orchestration.automation import (
    only_transient_faults_retried,
    retry_transient_faults,
    when_inputs_change,
)
from data_platform.core.orchestration.checks import (
    CheckOutcome,
    asset_key,
    check_specs,
    record_outcomes,
    record_outcomes_in_ledger,
)
from data_platform.core.orchestration.chosen_days import CONFIG, days_to_compute
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.core.orchestration.partitions import daily
from data_platform.core.quality.validation import WHOLE_TABLE
from data_platform.core.settings import settings
from data_platform.features.catalogue import feature_sets
from data_platform.features.contracts import OnlinePlayerFeatures, ServedFeatures, ServingSkew
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.store import OlderThanServed, OnlineSnapshot, OnlineStore
from data_platform.features.online.vectors import newest_day, serve_day, snapshot_of
from data_platform.features.skew.comparison import skew
from data_platform.features.skew.landing import take_in

ALL_SERVED = "players_served_equal_rows_of_the_day"
EQUAL = "served_equals_offline"

ONLINE = [one.table for one in feature_sets().values() if one.table.online]

_all_served = dg.AssetCheckSpec(
    ALL_SERVED,
    asset=asset_key(OnlinePlayerFeatures),
    description="The online store holds one vector for each row of the snapshot day, counted in the store.",
)
_equal = dg.AssetCheckSpec(
    EQUAL,
    asset=asset_key(ServingSkew),
    partitions_def=daily(),
    description="Every value that was served is the value of the lake, at the version the answer stated.",
)


@dg.multi_asset(
    name="features__online_player_features",
    specs=[
        spec_for(
            OnlinePlayerFeatures,
            {table.table_name(): table for table in ONLINE},
            automation_condition=when_inputs_change(),
        )
    ],
    check_specs=[*check_specs(OnlinePlayerFeatures), _all_served],
    retry_policy=retry_transient_faults(),
)
def online_player_features(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Put the newest snapshot day of each feature set online, unless it is: then nothing is written."""
    with only_transient_faults_retried():
        store, online = lake.lake(), open_online_store(settings())
        try:
            told = {table.table_name(): _serve_newest(context, store, online, table) for table in ONLINE}
            served = [(table, found) for table in ONLINE if (found := online.current(table.table_name()))]
            counted = sum(online.count(table.table_name()) for table in ONLINE)
        finally:
            online.close()
        expected = sum(_rows_of_the_day(store, table, found) for table, found in served)
        publication = Publication(OnlinePlayerFeatures)
        publication.publish(store, [_served_sets([found for _, found in served])], [], context.run.run_id)
        context.add_asset_metadata(_shown(told) | {"players": counted}, asset_key=asset_key(OnlinePlayerFeatures))
        rows = {"players_served": counted, "rows_of_the_day": expected}
        outcome = {WHOLE_TABLE: CheckOutcome(counted == expected, rows, expected, abs(counted - expected))}
        record_outcomes_in_ledger(context, store, OnlinePlayerFeatures, ALL_SERVED, Severity.ERROR, outcome)
        yield from report(context, publication, store)
        yield from record_outcomes(context, OnlinePlayerFeatures, _all_served, Severity.ERROR, outcome)


def _shown(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was done of one feature set by itself, of several under their names."""
    if len(told) == 1:
        return next(iter(told.values()))
    return {f"{name}/{what}": value for name, done in told.items() for what, value in done.items()}


def _serve_newest(
    context: dg.AssetExecutionContext, store: Lake, online: OnlineStore, table: type[Table]
) -> dict[str, Any]:
    """Swap if there is something other than what is served; what was done, as metadata."""
    version = store.version(table)
    day = newest_day(store, table, version)
    if version is None or day is None:
        return {"swap": "nothing: there are no features yet"}
    wanted, served = snapshot_of(store, table, day, version), online.current(table.table_name())
    if served and (served.source, served.contract) == (wanted.source, wanted.contract):
        return _metadata("nothing: this is what is served", served)
    begun = time.monotonic()
    try:
        served = serve_day(store, online, table, day, version)
    except OlderThanServed as error:
        context.log.warning(str(error))
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


@dg.multi_asset(
    name="quality__served_features",
    specs=[_served_spec()],
    retry_policy=retry_transient_faults(),
)
def served_features(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Take in the log of served vectors. Which days it is of is known only then: each is recorded by its own event."""
    with only_transient_faults_retried():
        store = lake.lake()
        while taken := take_in(store, settings().served):
            for day, rows in sorted(taken.items()):
                metadata: dict[str, Any] = {
                    "rows_of_this_batch": rows,
                    "delta/version": str(store.version(ServedFeatures)),
                }
                context.log_event(dg.AssetMaterialization(asset_key(ServedFeatures), partition=day, metadata=metadata))
        yield from ()


@dg.multi_asset(
    name="quality__serving_skew",
    specs=[spec_for(ServingSkew, {"served": ServedFeatures}, automation_condition=when_inputs_change())],
    check_specs=[*check_specs(ServingSkew), _equal],
    config_schema=CONFIG,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=retry_transient_faults(),
)
def serving_skew(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Compare what was served on each day of the run with the lake."""
    with only_transient_faults_retried():
        store, days = lake.lake(), days_to_compute(context)
        tables = {name: one.table for name, one in feature_sets().items()}
        publication = Publication(ServingSkew)
        compared = [skew(store, store.scan(ServedFeatures, day, day).collect(), tables) for day in days]
        publication.publish(store, compared, days, context.run.run_id)
        outcomes = {day.isoformat(): _judged(found) for day, found in zip(days, compared, strict=True)}
        record_outcomes_in_ledger(context, store, ServingSkew, EQUAL, Severity.ERROR, outcomes)
        yield from report(context, publication, store)
        yield from record_outcomes(context, ServingSkew, _equal, Severity.ERROR, outcomes)


def _judged(found: pl.DataFrame) -> CheckOutcome:
    compared, mismatched = int(found["compared"].sum()), int(found["mismatched"].sum())
    told: dict[str, Any] = {
        "values_compared": compared,
        "values_mismatched": mismatched,
        "values_not_verifiable": int(found["not_verifiable"].sum()),
        "features": found.filter(pl.col("mismatched") > 0)["feature"].to_list()[:20],
    }
    return CheckOutcome(mismatched == 0, told, compared, mismatched)
