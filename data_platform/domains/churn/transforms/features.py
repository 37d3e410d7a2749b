"""Everything the churn model may know of a player at the end of a day, side by side.
Not here: what is joined (`gameplay/transforms/features`, `commerce/transforms/player_features`), labels."""

from __future__ import annotations

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.commerce.contracts.features import COUNTED_PURCHASES
from data_platform.domains.gameplay.contracts.features import CampaignFeatureFields
from data_platform.domains.gameplay.transforms.calendar import SNAPSHOT
from data_platform.domains.gameplay.transforms.features import UNKNOWN


def churn_features(engagement: pl.LazyFrame, campaign: pl.LazyFrame, purchases: pl.LazyFrame) -> pl.LazyFrame:
    """PlayerChurnFeatures: each row of PlayerEngagementFeatures with the same day's PlayerCampaignFeatures and
    PlayerCommerceFeatures.

    A player without a campaign gets zeros and `unknown`, one without purchases and e-mails zeros, and nulls where a
    mean has no meaning: `purchases` may be empty. A player who has a row of either but no engagement row (not known, no
    event) has no row here.
    """
    without = {
        name: UNKNOWN if column.dtype == pl.String else 0 for name, column in CampaignFeatureFields.columns.items()
    }
    joined = engagement.join(campaign, on=SNAPSHOT, how="left").join(purchases, on=SNAPSHOT, how="left")
    # Where there are orders, a null is a sum beyond what the column holds: that is no zero.
    nothing = pl.col("orders").is_null()
    purchased = [pl.when(nothing).then(0).otherwise(pl.col(name)).alias(name) for name in COUNTED_PURCHASES]
    counted = [pl.col(name).fill_null(value) for name, value in without.items()]
    return conform(PlayerChurnFeatures, joined.with_columns(*counted, *purchased))
