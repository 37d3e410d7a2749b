"""Contract of what the churn model may know of a player at the end of a snapshot day, and nothing later.
Not here: the features of gameplay and of commerce that it is joined from, training sets and models (learning)."""

from __future__ import annotations

from data_platform.domains.commerce.contracts.features import CommerceFeatureFields
from data_platform.domains.gameplay.contracts.features import CampaignFeatureFields, EngagementFields
from data_platform.domains.gameplay.contracts.snapshots import SnapshotFields


class PlayerChurnFeatures(SnapshotFields, EngagementFields, CampaignFeatureFields, CommerceFeatureFields):
    """Everything the churn model knows of a player at the end of the snapshot day: engagement, campaigns, purchases and
    e-mails. A player is the shop's user of the same id; one who never bought anything has zeros, as has everyone where
    there is no shop."""

    key = "features/player_churn_features"
    online = True
