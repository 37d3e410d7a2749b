"""The feature API as the settings say. Not here: any part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_platform.core.hosts import is_this_machine
from data_platform.core.lake.store import Lake
from data_platform.core.settings import Settings
from data_platform.features.api.access import Access
from data_platform.features.api.application import FeatureApi
from data_platform.features.api.historical import Historical
from data_platform.features.catalogue import feature_sets
from data_platform.features.online.configured import open_online_store
from data_platform.features.skew.served_log import ServedLog
from data_platform.features.store.client import FeatureStore


def feature_api(settings: Settings, lake: Lake, host: str, beside: Mapping[str, Any] | None = None) -> FeatureApi:
    """The API over every declared feature set, to listen on `host`; `beside`: paths of the OpenAPI document that others
    answer. Raises PlatformError for wrong settings."""
    return FeatureApi(
        {name: one.table for name, one in feature_sets().items()},
        open_online_store(settings),
        Access(settings.api_tokens, open_here=is_this_machine(host)),
        ServedLog(settings.served, settings.served_sample),
        Historical(FeatureStore(lake)),
        beside,
    )
