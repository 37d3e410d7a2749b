"""When churn is learnt, and when its features are held against what was learnt. Not here: either (assets)."""

from __future__ import annotations

import datetime as dt
import importlib.util

from data_platform.core.orchestration.schedules import YESTERDAY, by_the_clock, job_of
from data_platform.domains.churn.contracts.learning import (
    ChurnBaselineModel,
    ChurnFeatureDrift,
    ChurnRisk,
    ChurnTrainingSet,
)

churn_model = job_of(
    "churn_model",
    "A month's churn training set, and the baseline model trained and judged on it.",
    ChurnTrainingSet,
    ChurnBaselineModel,
)
feature_drift = job_of(
    "feature_drift",
    "How far a day's features are from those the newest model was trained on, and whom it expects to leave.",
    ChurnFeatureDrift,
    ChurnRisk,
)


def _last_month(moment: dt.datetime) -> str:
    return (moment.date().replace(day=1) - dt.timedelta(days=1)).replace(day=1).isoformat()


def _nothing_to_train_with() -> str | None:
    if importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is not installed: `pip install 'data-platform[ml]'`"
    return None


feature_drift_after_two = by_the_clock(
    "feature_drift_after_two",
    feature_drift,
    "30 2 * * *",
    "02:30 UTC: do yesterday's features still look like those the model was trained on, and who is about to leave?",
    run_key=lambda moment: f"drift-{YESTERDAY(moment)}",
    partition=YESTERDAY,
)
churn_model_on_the_sixteenth = by_the_clock(
    "churn_model_on_the_sixteenth",
    churn_model,
    # Labels look 14 days ahead: those of a month's last day are known when the 15th begins.
    "0 4 16 * *",
    "On the 16th, 04:00 UTC: training set and baseline model of last month.",
    run_key=lambda moment: f"churn-{_last_month(moment)}",
    partition=_last_month,
    unless=_nothing_to_train_with,
)
