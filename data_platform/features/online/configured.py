"""The online store that is configured: SQLite files, Redis or PostgreSQL. Not here: what a store does (store)."""

from __future__ import annotations

from data_platform.core.errors import PlatformError
from data_platform.core.settings import Settings
from data_platform.features.online.store import OnlineStore


def open_online_store(settings: Settings) -> OnlineStore:
    """The store that `DATA_PLATFORM_ONLINE_URL` names, or SQLite files under the home. Raises PlatformError for a URL
    that is neither Redis nor PostgreSQL, and when the client library is not installed."""
    url = settings.online_url.get_secret_value() if settings.online_url else ""
    scheme = url.partition("://")[0]
    try:
        if not url:
            from data_platform.features.online.sqlite_store import SqliteStore

            return SqliteStore(settings.online)
        if scheme in ("redis", "rediss", "unix"):
            from data_platform.features.online.redis_store import RedisStore

            return RedisStore(url)
        if scheme in ("postgresql", "postgres"):
            from data_platform.features.online.postgres_store import PostgresStore

            return PostgresStore(url)
    except ImportError as error:
        raise PlatformError(
            f"The store {scheme}:// needs the package {error.name}.", "Run `pip install 'data-platform[online]'`."
        ) from None
    raise PlatformError(
        "DATA_PLATFORM_ONLINE_URL is neither redis:// nor postgresql://.", "Correct it, or unset it to use SQLite."
    )
