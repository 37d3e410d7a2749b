"""How churn hangs together: the features a model knows of a player, and what is learnt from them.
Not here: what any of it is (contracts) or computes (transforms, learning)."""

from __future__ import annotations

from data_platform.core.orchestration.assets import asset
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.learning import (
    churn_baseline_model,
    churn_feature_drift,
    churn_risk,
    churn_training_set,
)
from data_platform.domains.churn.transforms import features
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.gameplay.contracts.features import PlayerCampaignFeatures, PlayerEngagementFeatures

__all__ = [
    "churn_baseline_model",
    "churn_feature_drift",
    "churn_risk",
    "churn_training_set",
    "player_churn_features",
]


player_churn_features = asset(
    PlayerChurnFeatures,
    features.churn_features,
    engagement=PlayerEngagementFeatures,
    campaign=PlayerCampaignFeatures,
    purchases=PlayerCommerceFeatures,
)
