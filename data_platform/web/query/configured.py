"""The query API as the settings say. Not here: any part of it."""

from __future__ import annotations

from data_platform.core.discovery import endpoints, know_contracts, queries
from data_platform.core.hosts import is_this_machine
from data_platform.core.lake.store import Lake
from data_platform.core.settings import Settings
from data_platform.web.query.access import Access
from data_platform.web.query.application import QueryApi


def query_api(settings: Settings, lake: Lake, host: str) -> QueryApi:
    """The API over every declared query and endpoint, to listen on `host`. Raises PlatformError for wrong settings."""
    know_contracts()
    access = Access(settings.query_tokens, open_here=is_this_machine(host))
    return QueryApi(queries(), lake, access, endpoints())
