"""The pure parts of learning against independent ones: measures, the model's arithmetic, drift.
Not here: the assets that use them (test_churn_model)."""

from __future__ import annotations

import base64
import math
import random
import sys
import xml.etree.ElementTree as xml

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from data_platform.core.errors import PlatformError
from data_platform.domains.churn.charts import picture
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.contracts.learning import DRIFT_BOUND
from data_platform.domains.churn.transforms.churn_model import REGULARISATION, ChurnModel, fit
from data_platform.domains.churn.transforms.drift import stability_index
from data_platform.domains.churn.transforms.evaluation import beats, evaluate

FEATURES = ("total_events", "weekend_ratio", "max_session_duration_minutes", "preferred_themes")


# --------------------------------------------------------------------------- measures
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=2, max_size=60))
def test_measures_are_those_of_scikit_learn(judged: list[tuple[bool, float]]) -> None:
    outcomes, risk = [churned for churned, _ in judged], [value for _, value in judged]
    assume(len(set(outcomes)) == 2)
    found = evaluate(pl.Series(outcomes), pl.Series(risk))
    assert found.auc == pytest.approx(roc_auc_score(outcomes, risk))
    assert found.average_precision == pytest.approx(average_precision_score(outcomes, risk))
    assert found.brier == pytest.approx(brier_score_loss(outcomes, risk))
    assert found.calibration["rows"].sum() == found.rows == len(judged)
    assert (found.calibration["rows"].max() or 0) - (found.calibration["rows"].min() or 0) <= 1
    weighted = sum(row["rows"] * row["observed"] for row in found.calibration.to_dicts())
    assert weighted == pytest.approx(sum(outcomes))


def test_one_outcome_has_no_ranking() -> None:
    with pytest.raises(ValueError, match="no ranking"):
        evaluate(pl.Series([True, True]), pl.Series([0.1, 0.9]))


@pytest.mark.parametrize(
    ("auc", "previous", "good"),
    [
        (0.6, None, True),
        (0.59, None, False),
        (0.7, 0.72, True),
        (0.7, 0.74, False),
        (0.55, 0.5, False),
        (0.9, 0.7, True),
    ],
)
def test_good_enough_is_a_floor_and_the_month_before(auc: float, previous: float | None, good: bool) -> None:
    assert beats(auc, previous) is good


# ------------------------------------------------------------------------------- model
def players(rows: int, seed: int) -> pl.DataFrame:
    """Rows with the four features; whoever did little in a dull theme churns."""
    chance = random.Random(seed)
    made = []
    for _ in range(rows):
        events, theme = chance.randint(0, 400), chance.choice(["horror", "comedy", "zoë"])
        left = chance.random() < 1 / (1 + math.exp(math.log1p(events) - 3.5 - (theme == "comedy")))
        longest = None if events < 5 else chance.random() * 90
        made.append((events, chance.random(), longest, theme, left))
    return pl.DataFrame(made, schema=[*FEATURES, "churned"], orient="row")


def test_the_arithmetic_is_that_of_a_scikit_learn_pipeline() -> None:
    train, test = players(800, 1), players(200, 2)
    test = test.with_columns(pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("new")).otherwise("preferred_themes")
                             .alias("preferred_themes"))  # fmt: skip
    model = fit(train, PlayerChurnFeatures, FEATURES, "churned")
    logs = FunctionTransformer(lambda x: np.log1p(x.astype(float)))
    log = make_pipeline(logs, SimpleImputer(strategy="median"), StandardScaler())
    themes = make_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False), StandardScaler())
    columns = ColumnTransformer(
        [("log", log, [0, 2]), ("plain", StandardScaler(), [1]), ("themes", themes, [3])], sparse_threshold=0
    )
    reference = make_pipeline(columns, LogisticRegression(C=REGULARISATION, max_iter=2_000))
    reference.fit(train.select(FEATURES).to_pandas().to_numpy(), train["churned"].to_numpy())
    expected = reference.predict_proba(test.select(FEATURES).to_pandas().to_numpy())[:, 1]
    assert model.probabilities(test).to_numpy() == pytest.approx(expected, abs=2e-4)
    assert evaluate(test["churned"], model.probabilities(test)).auc > 0.7
    again = ChurnModel.from_json(model.to_json())
    assert again == model == fit(train, PlayerChurnFeatures, FEATURES, "churned")
    assert again.strongest(1)[0].name == "total_events"


def test_shuffled_labels_leave_nothing_to_learn() -> None:
    train, test = players(3000, 1), players(2000, 2)
    shuffled = train.with_columns(train["churned"].shuffle(seed=4))
    model = fit(shuffled, PlayerChurnFeatures, FEATURES, "churned")
    auc = evaluate(test["churned"].shuffle(seed=5), model.probabilities(test)).auc
    assert 0.45 < auc < 0.55
    assert not beats(auc, None)


def test_what_cannot_be_learnt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = players(50, 1)
    with pytest.raises(PlatformError, match="same outcome"):
        fit(rows.filter("churned"), PlayerChurnFeatures, FEATURES, "churned")
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(PlatformError, match="scikit-learn is not installed") as refused:
        fit(rows, PlayerChurnFeatures, FEATURES, "churned")
    assert "data-platform[ml]" in refused.value.remedy


def test_the_picture_is_an_image_and_escapes_values() -> None:
    rows = players(200, 1).with_columns(preferred_themes=pl.lit("<script>") + pl.col("preferred_themes"))
    model = fit(rows, PlayerChurnFeatures, FEATURES, "churned")
    found = evaluate(rows["churned"], model.probabilities(rows))
    encoded = picture(model.strongest(), found.calibration).split("base64,")[1].rstrip(")")
    drawn = xml.fromstring(base64.b64decode(encoded))
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert any("<script>" in str(text) for text in texts)
    assert "total_events" in texts


# ------------------------------------------------------------------------------- drift
values = st.one_of(st.none(), st.integers(-5, 5).map(float))


@given(st.lists(values, min_size=1, max_size=80), st.lists(values, min_size=1, max_size=80))
def test_stability_index_is_the_textbook_formula(expected: list[float | None], found: list[float | None]) -> None:
    known = [value for value in expected if value is not None]
    # A decile is the smallest value that so many tenths of the values do not exceed.
    edges = {min(v for v in known if 10 * sum(w <= v for w in known) >= n * len(known)) for n in range(1, 10) if known}

    def bins(of: list[float | None]) -> list[int | None]:
        return [None if value is None else sum(value > edge for edge in edges) for value in of]

    was, now = bins(expected), bins(found)
    places = {*was, *now}
    naive = 0.0
    for place in places:
        a, b = ((of.count(place) + 0.5) / (len(of) + 0.5 * len(places)) for of in (was, now))
        naive += (b - a) * math.log(b / a)
    index = stability_index(pl.Series(expected, dtype=pl.Float64), pl.Series(found, dtype=pl.Float64))
    assert index == pytest.approx(naive)
    assert stability_index(pl.Series(expected, dtype=pl.Float64), pl.Series(expected, dtype=pl.Float64)) == 0


def test_chance_is_no_drift() -> None:
    """60 players from the same population: far from one another by the usual bound, not by ours."""
    chance = np.random.default_rng(1)
    population = pl.Series(chance.lognormal(3, 1, 2_000))
    indices = [stability_index(population, pl.Series(chance.lognormal(3, 1, 60))) for _ in range(200)]
    expected = 9 * (1 / 60 + 1 / 2_000)
    assert np.mean(indices) == pytest.approx(expected, rel=0.25)
    assert sum(index > DRIFT_BOUND + expected for index in indices) <= 4 < sum(index > DRIFT_BOUND for index in indices)
    assert min(stability_index(population, pl.Series(chance.lognormal(4, 1, 60))) for _ in range(50)) > 0.42


def test_new_words_are_drift() -> None:
    was = pl.Series(["horror", "comedy", None] * 40)
    assert stability_index(was, pl.Series(["comedy", None, "horror"] * 7)) == pytest.approx(0)
    assert stability_index(was, pl.Series(["romance", "comedy", None] * 7)) > 0.25
    assert stability_index(was, pl.Series(["horror", "comedy", "comedy"] * 7)) > 0.25
