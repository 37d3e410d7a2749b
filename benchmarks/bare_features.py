"""The feature tables of a range computed and written without Dagster, checks or records: what a backfill cannot beat.
Not here: the backfill itself."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

from data_platform.core.contract.day_slices import slices
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Days, Table
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.transforms.features import churn_features
from data_platform.domains.commerce.contracts.features import PlayerCommerceFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity, PlayerSessionDays
from data_platform.domains.gameplay.contracts.features import PlayerCampaignFeatures, PlayerEngagementFeatures
from data_platform.domains.gameplay.contracts.registry import CampaignChanges, ParticipantChanges, PlayerChanges
from data_platform.domains.gameplay.transforms.features import campaign_features, engagement_features

FEATURES = (PlayerEngagementFeatures, PlayerCampaignFeatures, PlayerChurnFeatures)


def forget_features(instance: dg.DagsterInstance) -> None:
    """As if no feature had ever been computed: the next build backfills them all."""
    instance.wipe_assets([asset_key(table) for table in FEATURES])
    for table in FEATURES:
        shutil.rmtree(f"{settings().lake_root}/{table.key}")
    if record := configured_lake().record:
        record.forget()  # else a lake without tables that the home has known is refused


def feature_rows() -> int:
    """Rows now in the three tables."""
    lake = Lake(settings().lake_root)
    return sum(int(lake.partitions(table)["rows"].sum()) for table in FEATURES)


def write_features(first: dt.date, last: dt.date) -> float:
    """Seconds to compute and write the three tables, slice by slice as the assets do, into a lake thrown away."""
    lake = Lake(settings().lake_root)
    folder = tempfile.mkdtemp(dir=settings().home)
    written = Lake(folder)
    days = [first + dt.timedelta(day) for day in range((last - first).days + 1)]
    begun = time.perf_counter()
    for table in FEATURES:
        for slice_ in slices(days, _sizes(table, lake, written), settings().slice_rows):
            written.replace(table, _compute(table, lake, written, slice_).collect(), slice_)
    seconds = time.perf_counter() - begun
    shutil.rmtree(folder)
    return seconds


def _compute(table: type[Table], lake: Lake, written: Lake, days: Sequence[dt.date]) -> pl.LazyFrame:
    window, last = days[0] - dt.timedelta(29), days[-1]
    if table is PlayerEngagementFeatures:
        session_days = lake.scan(PlayerSessionDays, window, last)
        activity = lake.scan(PlayerDailyActivity, window, last)
        return engagement_features(session_days, activity, lake.scan(PlayerChanges, None, last), days)
    if table is PlayerCampaignFeatures:
        participants = lake.scan(ParticipantChanges, window, last)
        return campaign_features(participants, lake.scan(CampaignChanges, None, last), days)
    engagement = written.scan(PlayerEngagementFeatures, days[0], last)
    campaigns = written.scan(PlayerCampaignFeatures, days[0], last)
    return churn_features(engagement, campaigns, lake.scan(PlayerCommerceFeatures, days[0], last))


def _sizes(table: type[Table], lake: Lake, written: Lake) -> list[tuple[Days, Mapping[str, int]]]:
    sized: list[tuple[Days, Mapping[str, int]]] = []
    for needed in inputs_of(table):
        source = written if needed.table in FEATURES else lake
        sized.append((needed, source.rows(needed.table)))
    return sized
