"""How churn hangs together: the features a model knows of a player, and what is learnt from them.
Not here: what any of it is (contracts) or computes (transforms, learning)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import polars as pl

from data_platform.core.orchestration.assets import asset_for
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.learning import churn_baseline_model, churn_feature_drift, churn_training_set
from data_platform.domains.churn.transforms import features
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.gameplay.contracts.features import PlayerCampaignFeatures, PlayerEngagementFeatures

__all__ = ["churn_baseline_model", "churn_feature_drift", "churn_training_set", "player_churn_features"]


@asset_for(
    PlayerChurnFeatures,
    engagement=PlayerEngagementFeatures,
    campaign=PlayerCampaignFeatures,
    purchases=PlayerCommerceFeatures,
)
def player_churn_features(engagement: pl.LazyFrame, campaign: pl.LazyFrame, purchases: pl.LazyFrame) -> pl.LazyFrame:
    return features.churn_features(engagement, campaign, purchases)
