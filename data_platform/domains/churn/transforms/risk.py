"""How many players of a day are likely to leave, from the probabilities of a model.
Not here: which model, which day (learning), what a probability is made of (churn_model)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.churn.contracts.learning import RISK_EDGES, ChurnRisk

BANDS = ("unlikely", "possible", "likely", "very_likely")


def churn_risk(snapshot: dt.date, probabilities: pl.Series, training_set_id: str) -> pl.DataFrame:
    """ChurnRisk of one day. In: a probability in [0, 1] for each player, of one at least."""
    edges = [0.0, *RISK_EDGES, float("inf")]
    counts = {
        band: int(((probabilities >= low) & (probabilities < high)).sum())
        for band, low, high in zip(BANDS, edges[:-1], edges[1:], strict=True)
    }
    row = {
        "snapshot_date": snapshot,
        "players": len(probabilities),
        "expected_churn": probabilities.mean(),
        **counts,
        "training_set_id": training_set_id,
    }
    return conform(ChurnRisk, pl.LazyFrame([row], schema_overrides=ChurnRisk.schema())).collect()
