"""How learning hangs together: a training set and a baseline model each month, drift and risk of each day.
Not here: what is recorded (contracts), what is computed (transforms), how rows are chosen (features/training_sets)."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.calendar import next_month
from data_platform.core.contract.frames import conform
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import CheckOutcome, asset_key
from data_platform.core.orchestration.specs import column_lineage, spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step
from data_platform.core.settings import settings
from data_platform.domains.churn.charts import picture
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.contracts.learning import (
    ChurnBaselineModel,
    ChurnFeatureDrift,
    ChurnRisk,
    ChurnTrainingSet,
)
from data_platform.domains.churn.transforms import churn_model, drift, evaluation, risk
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.features import training_sets
from data_platform.features.training_sets import Manifest, TimeSplit, registry

SET_NAME = "churn"
MODEL_FILE = "baseline_model.json"
SPLIT = TimeSplit(validation=0, test=0.25)
"""Nothing is chosen by validation: a baseline has no variants."""


class TrainingSetConfig(dg.Config):
    """Which snapshot days a month's training set has."""

    history_months: int = 3
    """The month itself and those before it, as far as there are features."""
    every_days: int = 7
    """Snapshots of a player on two days in a row say nearly the same; a week apart they say more with fewer rows."""
    horizon_days: int = 14
    gap_days: int = 0


def monthly() -> dg.MonthlyPartitionsDefinition:
    """Every whole month since the first day, named by its first day."""
    return dg.MonthlyPartitionsDefinition(start_date=settings().first_day.replace(day=1).isoformat())


def _month_specs(table: type[Table], *upstream: type[Table]) -> dg.AssetSpec:
    """A table with one partition a month. Its inputs are lineage and nothing to wait for: the clock starts its runs."""
    same_month = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    deps = [dg.AssetDep(asset_key(needed), partition_mapping=same_month) for needed in upstream]
    return _spec(table, *upstream).replace_attributes(partitions_def=monthly(), deps=deps)


def _spec(table: type[Table], *upstream: type[Table]) -> dg.AssetSpec:
    """Lineage alone: `data-platform build` and the 02:00 run leave these tables to their own schedules."""
    spec = spec_for(table)
    columns = {"dagster/column_lineage": column_lineage(table, upstream)}
    return spec.replace_attributes(
        deps=[asset_key(needed) for needed in upstream], metadata={**spec.metadata, **columns}
    )


# ------------------------------------------------------------------------ training set
@step(_month_specs(ChurnTrainingSet, PlayerChurnFeatures, PlayerDailyActivity), config=TrainingSetConfig)
def churn_training_set(run: StepRun) -> None:
    """Register the month's training set."""
    config: TrainingSetConfig = run.config
    (month,) = run.days()
    built = training_sets.build(
        run.lake,
        SET_NAME,
        _snapshot_range(run.lake, month, config.history_months),
        horizon_days=config.horizon_days,
        gap_days=config.gap_days,
        every_days=config.every_days,
        split=SPLIT,
    )
    known = run.lake.scan(ChurnTrainingSet, month, month).filter(pl.col("training_set_id") != built.id).collect()
    run.publish(ChurnTrainingSet, [pl.concat([known, _registered(built.manifest, month)])], [month])
    metadata = {"training_set_id": built.id, "folder": built.root, **built.manifest.rows_by_split}
    run.note(ChurnTrainingSet, {**metadata, "churn_rate": built.manifest.positives / built.manifest.rows})


def _snapshot_range(store: Lake, month: dt.date, history_months: int) -> tuple[dt.date, dt.date]:
    """The months up to the end of this one, as far back as there are features."""
    last = next_month(month) - dt.timedelta(1)
    before = month.year * 12 + month.month - history_months
    first = dt.date(before // 12, before % 12 + 1, 1)
    published = store.partitions(PlayerChurnFeatures)["partition"].str.to_date()
    oldest = published.min()
    return max(first, oldest) if isinstance(oldest, dt.date) else first, last


def _registered(manifest: Manifest, month: dt.date) -> pl.DataFrame:
    """The ChurnTrainingSet row of a set."""
    parts, definition = manifest.rows_by_split, manifest.definition
    row = {
        "month": month,
        "training_set_id": manifest.id,
        "first_snapshot": manifest.files[0].snapshot_date,
        "last_snapshot": manifest.files[-1].snapshot_date,
        "snapshots": len(manifest.files),
        "rows": manifest.rows,
        "train_rows": parts.get("train", 0),
        "validation_rows": parts.get("validation", 0),
        "test_rows": parts.get("test", 0),
        "churn_rate": manifest.positives / max(manifest.rows, 1),
        "horizon_days": definition.window.horizon_days,
        "gap_days": definition.window.gap_days,
        "features": len(definition.features),
        "features_contract": manifest.contract_versions[PlayerChurnFeatures.key],
        "features_version": manifest.table_versions[PlayerChurnFeatures.key],
        "activity_version": manifest.table_versions[PlayerDailyActivity.key],
        "code_version": manifest.code_version,
        "content_sha256": manifest.content_sha256,
        "created_at": manifest.created_at,
    }
    return _row(ChurnTrainingSet, row)


def _row(table: type[Table], row: Mapping[str, Any]) -> pl.DataFrame:
    return conform(table, pl.LazyFrame([row], schema_overrides=table.schema())).collect()


# ------------------------------------------------------------------------------- model
def _good_enough(lake: Lake, months: Collection[str]) -> dict[str, CheckOutcome]:
    outcomes = {}
    for month in map(dt.date.fromisoformat, months):
        previous = _previous_auc(lake, month)
        for model in lake.scan(ChurnBaselineModel, month, month).collect().iter_rows(named=True):
            judged = {"auc": model["auc"], "floor": evaluation.AUC_FLOOR, "previous_auc": previous}
            judged["test_rows"] = model["test_rows"]
            outcomes[str(month)] = CheckOutcome(evaluation.beats(model["auc"], previous), judged, model["test_rows"])
    return outcomes


GOOD_ENOUGH = Check(
    "auc_beats_floor_and_previous",
    ChurnBaselineModel,
    f"AUC on newer snapshots than any trained on is at least {evaluation.AUC_FLOOR}, and at most "
    f"{evaluation.AUC_TOLERANCE} below that of the month before.",
    found=_good_enough,
)


@step(_month_specs(ChurnBaselineModel, ChurnTrainingSet), checks=[GOOD_ENOUGH])
def churn_baseline_model(run: StepRun) -> None:
    """Train on the older snapshots of the month's training set, judge by the newer ones."""
    (month,) = run.days()
    chosen = training_sets.load(run.lake, _newest_set(run.lake, month))
    train, test = chosen.rows("train"), chosen.rows("test")
    model = churn_model.fit(train, PlayerChurnFeatures, chosen.features, chosen.label)
    found = evaluation.evaluate(test[chosen.label], model.probabilities(test))
    content = model.to_json().encode()
    registry.write_beside(run.lake, chosen.id, MODEL_FILE, content)
    row = {
        "month": month,
        "training_set_id": chosen.id,
        "model_file": MODEL_FILE,
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "trained_rows": len(train),
        "test_rows": found.rows,
        "churn_rate": found.churn_rate,
        "auc": found.auc,
        "average_precision": found.average_precision,
        "brier": found.brier,
        "calibration_error": found.calibration_error,
        "previous_auc": _previous_auc(run.lake, month),
        "trained_at": dt.datetime.now(dt.UTC),
    }
    run.publish(ChurnBaselineModel, [_row(ChurnBaselineModel, row)], [month])
    strongest = model.strongest()
    metadata = {
        "auc": found.auc,
        "average_precision": found.average_precision,
        "brier": found.brier,
        "churn_rate": found.churn_rate,
        "training_set_id": chosen.id,
        "top_features": {term.name: round(term.weight, 4) for term in strongest},
        "calibration": found.calibration.to_dicts(),
        "picture": dg.MetadataValue.md(picture(strongest, found.calibration)),
    }
    run.note(ChurnBaselineModel, metadata)


def _newest_set(store: Lake, month: dt.date) -> str:
    """The set of the month that was registered last. Raises PlatformError when there is none."""
    known = store.scan(ChurnTrainingSet, month, month).sort("created_at").tail(1).collect()
    if known.is_empty():
        raise PlatformError(
            f"No training set of {month:%B %Y} is registered.", f"Materialise {ChurnTrainingSet.key} for {month} first."
        )
    return str(known["training_set_id"][0])


def _previous_auc(store: Lake, month: dt.date) -> float | None:
    before = store.scan(ChurnBaselineModel, last=month - dt.timedelta(1)).sort("month").tail(1).collect()
    return None if before.is_empty() else float(before["auc"][0])


# ------------------------------------------------------------------------------- drift
@step(_spec(ChurnFeatureDrift, PlayerChurnFeatures, ChurnTrainingSet))
def churn_feature_drift(run: StepRun) -> None:
    """Each day of the run against the newest training set whose snapshots are all older."""
    days = run.days()
    run.publish(ChurnFeatureDrift, [_drift_of(run.lake, day) for day in days], days)


def _drift_of(store: Lake, day: dt.date) -> pl.DataFrame:
    """ChurnFeatureDrift of a day; empty while there is no older training set, or no features of the day."""
    older = store.scan(ChurnTrainingSet).filter(pl.col("last_snapshot") < day)
    known = older.sort("month", "created_at").tail(1).collect()
    if known.is_empty():
        return ChurnFeatureDrift.empty()
    chosen = training_sets.load(store, str(known["training_set_id"][0]))
    rows = training_sets.eligible(store.scan(PlayerChurnFeatures, day, day), chosen.manifest.definition).collect()
    if rows.is_empty():
        return ChurnFeatureDrift.empty()
    return drift.feature_drift(day, rows, chosen.rows("train"), chosen.features, chosen.id)


# -------------------------------------------------------------------------------- risk
@step(_spec(ChurnRisk, PlayerChurnFeatures, ChurnBaselineModel))
def churn_risk(run: StepRun) -> None:
    """Each day of the run by the newest model that learnt from older days alone."""
    days = run.days()
    run.publish(ChurnRisk, [_risk_of(run.lake, day) for day in days], days)


def _risk_of(store: Lake, day: dt.date) -> pl.DataFrame:
    """ChurnRisk of a day; empty while there is no such model, or no features of the day."""
    older = store.scan(ChurnTrainingSet).filter(pl.col("last_snapshot") < day).select("training_set_id")
    models = store.scan(ChurnBaselineModel).join(older.unique(), on="training_set_id", how="semi")
    newest = models.sort("month").tail(1).collect()
    if newest.is_empty():
        return ChurnRisk.empty()
    training_set_id, file, digest = newest.select("training_set_id", "model_file", "model_sha256").row(0)
    content = registry.read_beside(store, training_set_id, file)
    if hashlib.sha256(content).hexdigest() != digest:
        raise PlatformError(
            f"The model {file} of {training_set_id} is not the one that was recorded.",
            f"Materialise {ChurnBaselineModel.key} of {newest['month'][0]} again.",
        )
    definition = registry.read_manifest(store, training_set_id).definition
    rows = training_sets.eligible(store.scan(PlayerChurnFeatures, day, day), definition).collect()
    if rows.is_empty():
        return ChurnRisk.empty()
    probabilities = churn_model.ChurnModel.from_json(content.decode()).probabilities(rows)
    return risk.churn_risk(day, probabilities, training_set_id)
