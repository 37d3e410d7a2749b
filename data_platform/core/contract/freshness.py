"""How old a table may be, as its contract declares it. Not here: how old one is (observability/freshness)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class FreshnessPolicy:
    """How old a table may be: stale past `warn` (if there is one), critical past `fail`."""

    fail: dt.timedelta
    warn: dt.timedelta | None = None


def within(*, warn: dt.timedelta | None = None, **fail: float) -> FreshnessPolicy:
    """`within(hours=26, warn=timedelta(hours=3))`: stale after 3 hours, critical after 26."""
    return FreshnessPolicy(dt.timedelta(**fail), warn)
