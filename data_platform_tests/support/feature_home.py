"""A lake of churn features, an online store filled from it, and the feature API over both on a real server.
Not here: any assertion."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl

from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.features.api.application import FeatureApi
from data_platform.features.api.configured import feature_api
from data_platform.features.online.configured import open_online_store
from data_platform.features.online.vectors import serve_day
from data_platform.observability.health.facts import Collector
from data_platform.web.app import application
from data_platform_tests.support.homes import Home
from data_platform_tests.support.http_server import served

SET = PlayerChurnFeatures.table_name()
TODAY = dt.datetime.now(dt.UTC).date()
DAY = TODAY - dt.timedelta(1)
ODD_PLAYER = "päivi/../ö %2F\"'🎲"
PLAYERS = [*(f"player-{number}" for number in range(20)), ODD_PLAYER]


def churn_rows(day: dt.date = DAY, events: int = 10, players: list[str] = PLAYERS) -> pl.DataFrame:
    """Numbers that differ by player; some null, some long."""
    rows = []
    for number, player in enumerate(players):
        row: dict[str, object] = {}
        for name, dtype in PlayerChurnFeatures.schema().items():
            row[name] = 0.1 + 0.2 + number / 7 if dtype.is_float() else events + number if dtype.is_numeric() else "dark \"fantasy\" ü"  # noqa: E501 # fmt: skip
        row |= {"snapshot_date": day, "player_id": player}
        row |= {"avg_session_duration_minutes": None, "most_active_hour": None} if number % 3 == 0 else {}
        rows.append(row)
    return pl.DataFrame(rows, schema=PlayerChurnFeatures.schema())


def fill(home: Home, day: dt.date = DAY, events: int = 10) -> None:
    """Write a day of features and put it online."""
    version = home.lake.replace(PlayerChurnFeatures, churn_rows(day, events), [day]).version
    store = open_online_store(settings())
    serve_day(home.lake, store, PlayerChurnFeatures, day, version)
    store.close()


def tokens_file(folder: Path, *entries: tuple[str, list[str], float, int]) -> Path:
    """A tokens file of (token, scopes, requests per second, burst)."""
    path = folder / "tokens.toml"
    path.write_text(
        "\n".join(
            f'[[tokens]]\nname = "t{number}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
            f"scopes = {scopes}\nrequests_per_second = {rate}\nburst = {burst}\n"
            for number, (token, scopes, rate, burst) in enumerate(entries)
        )
    )
    return path


@contextlib.contextmanager
def serving(home: Home, host: str = "127.0.0.1") -> Iterator[tuple[httpx.Client, FeatureApi]]:
    """The whole application, as `data-platform serve` runs it, on a free port."""
    api = feature_api(settings(), home.lake, host)
    app = application(Collector(home.lake, [PlayerChurnFeatures], every=3600), None, api)
    with served(app) as client:
        yield client, api
