"""What is shown of spending while calls arrive: declared by its domain, computed and served by the page of costs.
Belongs here: the declaration alone. Not here: reading segments (tail), pages (web/costs)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from data_platform.core.contract.queries import Query
from data_platform.core.contract.table import Table
from data_platform.sources.landing_source import LandingSource


@dataclass(frozen=True)
class Gauges:
    """Rows of a table's newest day as bars: how much of a whole is reached. Columns by what they say."""

    table: type[Table]
    name: str
    spent: str
    whole: str
    forecast: str
    currency: str


@dataclass(frozen=True)
class Listing:
    """Sums of a table's last 30 days, the greatest first."""

    title: str
    nothing: str
    """What is said where there is no row."""
    table: type[Table]
    by: Mapping[str, str]
    """Heading → column of text."""
    sums: Mapping[str, str]
    """Heading → column of numbers; the first is what they are ordered by."""


@dataclass(frozen=True)
class LiveSpend:
    """The page of costs. A domain names its own `SPEND` in a module called `live_spend`.

    What is computed of calls as they arrive is what the tables say of them later, because it is the same functions."""

    source: LandingSource
    query: Query
    """Costs by tenant, feature and model, for all that is over."""
    priced_by: tuple[type[Table], ...]
    """What calls are priced by: each read from its first day to today."""
    calls: Callable[[pl.DataFrame], pl.DataFrame]
    """Rows of the source's raw table → billed calls, with their day in the column `day`; of one call's reports one."""
    identity: Callable[[pl.DataFrame], pl.Series]
    """Billed calls → a hash of each that reports of one call share."""
    counting: Callable[[pl.DataFrame], pl.DataFrame]
    """Billed calls of several readings → the one of each call that counts."""
    summed: Callable[..., pl.DataFrame]
    """Billed calls, then the rows of each table of `priced_by` → sums by day, tenant, feature, model and currency, with
    the query's measures."""
    day: str
    gauges: tuple[Gauges, ...] = ()
    listings: tuple[Listing, ...] = field(default=())
