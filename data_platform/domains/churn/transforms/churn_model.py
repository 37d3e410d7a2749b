"""The baseline churn model: a logistic regression over standardised features, kept as plain numbers.
Belongs here: encoding, fitting, scoring, JSON. Not here: how good it is (evaluation), where rows come from."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError

MOST_CATEGORIES = 20
NARROW = 31
"""Features bounded by this or less (ratios, hours, days of a window) are used as they are, others on a log scale."""
REGULARISATION = 0.1
"""Inverse strength, as scikit-learn's `C`."""


@dataclass(frozen=True)
class Term:
    """One column of the design matrix and its weight: a number, or whether a text feature has one value.

    Numbers: null becomes `fill`, `log` takes log(1 + x), then (x - mean) / scale.
    """

    feature: str
    category: str | None
    log: bool
    fill: float
    mean: float
    scale: float
    weight: float = 0.0

    @property
    def name(self) -> str:
        return self.feature if self.category is None else f"{self.feature} = {self.category or '(empty)'}"

    def value(self) -> pl.Expr:
        """The standardised column of a frame that has the feature."""
        if self.category is not None:
            raw = (pl.col(self.feature) == self.category).fill_null(False).cast(pl.Float64)
        else:
            raw = _number(self.feature, self.log).fill_null(self.fill)
        return (raw - self.mean) / self.scale


@dataclass(frozen=True)
class ChurnModel:
    """Probability of churn = 1 / (1 + exp(-(intercept + Σ weight · value)))."""

    terms: tuple[Term, ...]
    intercept: float

    def probabilities(self, rows: pl.DataFrame) -> pl.Series:
        """One per row, of a frame with the model's features; needs no scikit-learn."""
        logits = _matrix(rows, self.terms) @ np.array([term.weight for term in self.terms]) + self.intercept
        return pl.Series("probability", 1 / (1 + np.exp(-np.clip(logits, -700, 700))))

    def strongest(self, most: int = 10) -> list[Term]:
        """The terms with the greatest weight per standard deviation, either way."""
        return sorted(self.terms, key=lambda term: (-abs(term.weight), term.name))[:most]

    def to_json(self) -> str:
        model = {"kind": "logistic_regression", "intercept": self.intercept, "terms": [asdict(t) for t in self.terms]}
        return json.dumps(model, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ChurnModel:
        found = json.loads(text)
        return cls(tuple(Term(**term) for term in found["terms"]), found["intercept"])


def fit(rows: pl.DataFrame, table: type[Table], features: Sequence[str], label: str) -> ChurnModel:
    """A model of `label` (bool) from the features of a contract. The same rows give the same model.

    Raises PlatformError without scikit-learn (the extra `ml`), and when the rows hold one outcome only.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise PlatformError(
            "scikit-learn is not installed, and the baseline model needs it.", "`pip install 'data-platform[ml]'`."
        ) from None
    outcomes = rows[label]
    if outcomes.n_unique() < 2:
        raise PlatformError(
            f"All {len(rows)} training rows have the same outcome: there is nothing to learn.",
            "Choose a longer snapshot range or another horizon.",
        )
    terms = [term for feature in features for term in _terms(rows, table, feature)]
    regression = LogisticRegression(C=REGULARISATION, max_iter=2_000)
    regression.fit(_matrix(rows, terms), outcomes.to_numpy())
    weighted = [Term(**asdict(t) | {"weight": float(w)}) for t, w in zip(terms, regression.coef_[0], strict=True)]
    return ChurnModel(tuple(weighted), float(regression.intercept_[0]))


def _terms(rows: pl.DataFrame, table: type[Table], feature: str) -> list[Term]:
    """The terms of a feature as the training rows have it; none for one that never varies."""
    declared, values = table.columns[feature], rows[feature]
    if values.dtype == pl.String:
        frequent = values.drop_nulls().value_counts(sort=True).sort("count", feature, descending=[True, False])
        shares = [(str(value), count / len(rows)) for value, count in frequent.head(MOST_CATEGORIES).iter_rows()]
        return [
            Term(feature, value, False, 0.0, share, math.sqrt(share * (1 - share)))
            for value, share in shares
            if 0 < share < 1
        ]
    log = declared.le is None or declared.le > NARROW
    numbers = rows.select(_number(feature, log)).to_series()
    fill = numbers.median()
    if not isinstance(fill, float):
        return []
    filled = numbers.fill_null(fill)
    mean, scale = filled.mean(), filled.std(ddof=0)
    if not isinstance(mean, float) or not isinstance(scale, float) or scale < 1e-12:
        return []
    return [Term(feature, None, log, fill, mean, scale)]


def _number(feature: str, log: bool) -> pl.Expr:
    value = pl.col(feature).cast(pl.Float64)
    return value.clip(0).log1p() if log else value


def _matrix(rows: pl.DataFrame, terms: Sequence[Term]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    columns = [term.value().alias(str(number)) for number, term in enumerate(terms)]
    return rows.select(columns).to_numpy()
