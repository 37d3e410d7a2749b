# %% [markdown]
# # From the lake to a churn model
# `python docs/examples/churn_model.py LAKE FIRST LAST`, with `pip install 'data-platform[ml]'`. Run by the tests.

# %%
import datetime as dt
import sys

import polars.selectors as cs
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_platform.core.lake.store import Lake
from data_platform.features import training_sets

lake = Lake(sys.argv[1])
first, last = map(dt.date.fromisoformat, sys.argv[2:4])

# %% One row per player and snapshot day: what was known of them that day, and whether they then stayed away 14 days
churn = training_sets.build(lake, "churn-example", (first, last), split=training_sets.TimeSplit(validation=0))
train, test = churn.rows("train"), churn.rows("test")
print(churn.id, churn.manifest.rows_by_split)

# %% Learn from the older days, judge by the newer ones
numbers = train.select(churn.features).select(cs.numeric()).columns
model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
model.fit(train[numbers].to_numpy(), train["churned"].to_numpy())
risk = model.predict_proba(test[numbers].to_numpy())[:, 1]
print(f"AUC {roc_auc_score(test['churned'], risk):.3f}, PR-AUC {average_precision_score(test['churned'], risk):.3f}")

# %% Next month, on another machine: the same rows, bit for bit
assert training_sets.load(lake, churn.id).rows().equals(churn.rows())
