"""How good probabilities are: ranking, calibration, and whether that is good enough.
Belongs here: measures over (outcome, probability). Not here: the model that foretold them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

AUC_FLOOR = 0.6
"""A model that ranks worse than this has learnt nothing worth a name: 0.5 is guessing."""
AUC_TOLERANCE = 0.03
"""How far AUC may fall from one month to the next: about two standard errors of 2,000 test rows."""
BINS = 10


@dataclass(frozen=True)
class Evaluation:
    """What is measured on rows the model has not seen."""

    rows: int
    churn_rate: float
    auc: float
    average_precision: float
    brier: float
    calibration_error: float
    calibration: pl.DataFrame
    """Up to ten bins of equally many rows: foretold (mean probability), observed (share churned), rows."""


def evaluate(outcomes: pl.Series, probabilities: pl.Series) -> Evaluation:
    """Measures of probabilities in [0, 1] against outcomes (bool), both of one length; needs both outcomes."""
    judged = pl.DataFrame({"churned": outcomes.cast(pl.Int64), "foretold": probabilities})
    rows, positives = len(judged), int(judged["churned"].sum())
    if not 0 < positives < rows:
        raise ValueError(f"{positives} of {rows} rows churned: there is no ranking to judge")
    bins = calibration_bins(judged)
    return Evaluation(
        rows=rows,
        churn_rate=positives / rows,
        auc=_auc(judged, positives),
        average_precision=_average_precision(judged, positives),
        brier=float(judged.select((pl.col("foretold") - pl.col("churned")).pow(2).mean()).item()),
        calibration_error=float(
            bins.select(((pl.col("foretold") - pl.col("observed")).abs() * pl.col("rows")).sum() / rows).item()
        ),
        calibration=bins,
    )


def beats(auc: float, previous: float | None) -> bool:
    """Whether a model is good enough: above the floor, and not worse than the one before it."""
    return auc >= AUC_FLOOR and (previous is None or auc >= previous - AUC_TOLERANCE)


def calibration_bins(judged: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of probability, cut into bins of equal size. In: churned (0 or 1), foretold."""
    place = pl.int_range(pl.len()) * min(BINS, len(judged)) // len(judged)
    return (
        judged.sort("foretold", "churned")
        .group_by(place.alias("bin"))
        .agg(foretold=pl.col("foretold").mean(), observed=pl.col("churned").mean(), rows=pl.len())
        .sort("bin")
        .drop("bin")
    )


def _auc(judged: pl.DataFrame, positives: int) -> float:
    """The share of (churned, stayed) pairs in the right order; a tie counts half."""
    ranks = float(judged["foretold"].rank("average").filter(judged["churned"] == 1).sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * (len(judged) - positives))


def _average_precision(judged: pl.DataFrame, positives: int) -> float:
    """Σ precision · gain in recall, from the highest probability down; equal probabilities are one step."""
    steps = judged.group_by("foretold").agg(pl.col("churned").sum(), pl.len().alias("rows"))
    steps = steps.sort("foretold", descending=True)
    precision = pl.col("churned").cum_sum() / pl.col("rows").cum_sum()
    return float(steps.select((precision * pl.col("churned")).sum() / positives).item())
