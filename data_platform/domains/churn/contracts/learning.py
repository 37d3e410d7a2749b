"""Contracts of what is recorded about learning: training sets, baseline models, drift of features.
Not here: the rows of a training set, which lie beside the tables (features/training_sets)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.table import Rule, Severity, Table, column
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity

OWNER = "team:machine-learning"
DRIFT_BOUND = 0.25
"""The usual reading of a population stability index: below 0.1 none, up to 0.25 some, above it another population."""
RISK_EDGES = (0.25, 0.5, 0.75)
"""Probabilities between which players are counted."""


class ChurnTrainingSet(Table):
    """The registered churn training sets: one row per month and set. The rows of a set are Parquet files in the lake's
    folder `training_sets`, named by its id, which always gives the same rows."""

    key = "features/churn_training_set"
    partition = "month"
    primary_key = ("month", "training_set_id")
    owner = OWNER
    journal = True
    profiled = False
    row_rules = (
        Rule(
            "parts_add_up",
            "rows = train_rows + validation_rows + test_rows",
            pl.col("rows") == pl.sum_horizontal("train_rows", "validation_rows", "test_rows"),
        ),
        Rule(
            "both_outcomes",
            "some players churned, and some did not",
            (pl.col("churn_rate") > 0) & (pl.col("churn_rate") < 1),
        ),
    )

    month: dt.date = column(
        "First day of the month that the newest snapshots are of.", derived_from=[PlayerChurnFeatures.snapshot_date]
    )
    training_set_id: str = column("`data-platform training-set load ID` verifies it and gives its rows.", min_length=1)
    first_snapshot: dt.date = column("Oldest snapshot day.", derived_from=[PlayerChurnFeatures.snapshot_date])
    last_snapshot: dt.date = column("Newest snapshot day.", derived_from=[PlayerChurnFeatures.snapshot_date])
    snapshots: int = column("Snapshot days with rows.", unit="days", ge=1)
    rows: int = column("Players on snapshot days.", unit="rows", ge=1, derived_from=[PlayerChurnFeatures.player_id])
    train_rows: int = column("Rows to learn from: the oldest.", unit="rows", ge=1)
    validation_rows: int = column("Rows to choose a model by.", unit="rows", ge=0)
    test_rows: int = column("Rows to judge a model by: the newest.", unit="rows", ge=1)
    churn_rate: float = column(
        "Share of rows without an event in the label window.", derived_from=[PlayerDailyActivity.total_events]
    )
    horizon_days: int = column("Length of the label window.", unit="days", ge=1)
    gap_days: int = column("Days between snapshot and label window.", unit="days", ge=0)
    features: int = column("Feature columns.", ge=1)
    features_contract: str = column("Version of the contract of features/player_churn_features.", min_length=1)
    features_version: int = column("Delta version of features/player_churn_features that was read.", ge=0)
    activity_version: int = column("Delta version of gameplay/player_daily_activity that was read.", ge=0)
    code_version: str = column("Version of the code that chose and labelled the rows.", min_length=1)
    content_sha256: str = column("Of the rows.", min_length=64)
    created_at: dt.datetime = column("When the set was registered.")


class ChurnBaselineModel(Table):
    """The baseline churn models, one per month: a logistic regression, and how well it ranks players on snapshot days
    that are newer than all it was trained on."""

    key = "features/churn_baseline_model"
    partition = "month"
    primary_key = ("month",)
    owner = OWNER
    journal = True
    profiled = False

    month: dt.date = column("The month of the training set.", derived_from=[ChurnTrainingSet.month])
    training_set_id: str = column("What it was trained and judged on.", min_length=1)
    model_file: str = column("Its coefficients as JSON, in the folder of the training set.", min_length=1)
    model_sha256: str = column("Of that file.", min_length=64)
    trained_rows: int = column("Rows it was trained on.", unit="rows", ge=1)
    test_rows: int = column("Rows it was judged by.", unit="rows", ge=1)
    churn_rate: float = column("Share of test rows that churned: the PR-AUC of guessing.", ge=0, le=1)
    auc: float = column("How likely a player who left is ranked above one who stayed; 0.5 is guessing.", ge=0, le=1)
    average_precision: float = column("Area under precision over recall (PR-AUC).", ge=0, le=1)
    brier: float = column("Mean squared error of the probability; less is better.", ge=0, le=1)
    calibration_error: float = column("Mean distance of foretold and observed share over ten bins.", ge=0, le=1)
    previous_auc: float | None = column("Of the newest month before this one; null for the first model.", ge=0, le=1)
    trained_at: dt.datetime = column("When it was trained.")


class ChurnFeatureDrift(Table):
    """How far the features of a day are from those the newest model was trained on: one row per feature."""

    key = "features/churn_feature_drift"
    partition = "snapshot_date"
    primary_key = ("snapshot_date", "feature")
    owner = OWNER
    journal = True
    profiled = False
    row_rules = (
        Rule(
            "no_drift",
            f"psi ≤ {DRIFT_BOUND} and what chance adds",
            pl.col("psi") <= DRIFT_BOUND + pl.col("chance"),
            Severity.WARNING,
        ),
    )

    snapshot_date: dt.date = column("The day that is compared.", derived_from=[PlayerChurnFeatures.snapshot_date])
    feature: str = column("Column of features/player_churn_features.", min_length=1)
    psi: float = column(
        "Population stability index over ten bins of the training rows; nulls are a bin of their own.",
        ge=0,
    )
    chance: float = column("The index that so few players would have on average if nothing had changed.", ge=0)
    null_share: float = column("Share of players without a value.", ge=0, le=1)
    training_null_share: float = column("The same of the training rows.", ge=0, le=1)
    rows: int = column("Players compared.", unit="players", ge=1)
    training_set_id: str = column("What the day is compared with.", derived_from=[ChurnTrainingSet.training_set_id])


class ChurnRisk(Table):
    """How likely the active players of a snapshot day are to leave, foretold by the newest baseline model that learnt
    from older days alone: one row per day, none for days before there was a model."""

    key = "features/churn_risk"
    partition = "snapshot_date"
    primary_key = ("snapshot_date",)
    owner = OWNER
    journal = True
    profiled = False
    row_rules = (
        Rule(
            "bands_add_up",
            "players = unlikely + possible + likely + very_likely",
            pl.col("players") == pl.sum_horizontal("unlikely", "possible", "likely", "very_likely"),
        ),
    )

    snapshot_date: dt.date = column("The day of the features.", derived_from=[PlayerChurnFeatures.snapshot_date])
    players: int = column("Players foretold.", unit="players", ge=1, derived_from=[PlayerChurnFeatures.player_id])
    expected_churn: float = column("Mean of their probabilities: the share that is expected to leave.", ge=0, le=1)
    unlikely: int = column("Players with a probability below 25 %.", unit="players", ge=0)
    possible: int = column("From 25 % to below 50 %.", unit="players", ge=0)
    likely: int = column("From 50 % to below 75 %.", unit="players", ge=0)
    very_likely: int = column("75 % and more.", unit="players", ge=0)
    training_set_id: str = column("What the model learnt from.", derived_from=[ChurnBaselineModel.training_set_id])
