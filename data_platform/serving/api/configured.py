"""The feature API as the settings say. Not here: any part of it."""

from __future__ import annotations

from data_platform.core.lake import Lake
from data_platform.core.settings import Settings
from data_platform.serving.api.access import Access
from data_platform.serving.api.application import FeatureApi
from data_platform.serving.api.historical import Historical
from data_platform.serving.feature_store.catalogue import feature_sets
from data_platform.serving.feature_store.client import FeatureStore
from data_platform.serving.hosts import is_this_machine
from data_platform.serving.online.store import open_online_store
from data_platform.serving.skew.served_log import ServedLog


def feature_api(settings: Settings, lake: Lake, host: str) -> FeatureApi:
    """The API over every declared feature set, to listen on `host`. Raises PlatformError for wrong settings."""
    return FeatureApi(
        {name: one.table for name, one in feature_sets().items()},
        open_online_store(settings),
        Access(settings.api_tokens, open_here=is_this_machine(host)),
        ServedLog(settings.served, settings.served_sample),
        Historical(FeatureStore(lake)),
    )
