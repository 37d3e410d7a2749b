"""How numbers, sizes, times and shares read on the pages: for people, with the exact value in the title.
Not here: text that comes from data (text), which numbers are shown (pages)."""

from __future__ import annotations

import datetime as dt

from markupsafe import Markup

from data_platform.core.contract.calendar import minute_text

SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
SECONDS = {"s": 1, "seconds": 1, "min": 60, "minutes": 60, "h": 3600, "hours": 3600, "days": 86400}
"""Units of time that tables measure in."""


def ago(since: dt.datetime, now: dt.datetime) -> str:
    return span(now - since)


def span(time: dt.timedelta) -> str:
    """`40 s`, `12 min`, `9.8 h`, `3.5 days`."""
    seconds = max(time.total_seconds(), 0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{_short(seconds / 60)} min"
    return f"{_short(seconds / 3600)} h" if seconds < 48 * 3600 else f"{_short(seconds / 86400)} days"


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Two digits that matter, and never 0 % of something or 100 % of not quite all."""
    if share is None:
        return ""
    if share in (0, 1):
        return f"{share:.0%}"
    return "< 0.01%" if share < 0.0001 else "> 99.99%" if share > 0.9999 else f"{share:.2%}"


def moment(value: dt.datetime | None) -> str:
    return minute_text(value) if value else ""


def size(count: int) -> Markup:
    """`55.7 MB`."""
    value, unit = float(count), SIZES[0]
    for unit in SIZES:
        if value < 999.5 or unit == SIZES[-1]:
            break
        value /= 1000
    return _with_exact(f"{_short(value)} {unit}", f"{count:,} bytes")


def measured(value: float | None, unit: str | None = None) -> Markup:
    """A measured value in the unit that its table names."""
    if value is None:
        return Markup("")
    exact = f"{value:,}" + (f" {unit}" if unit and unit != "share" else "")
    if unit == "share":
        return _with_exact(percent(value), exact)
    if unit == "bytes":
        return size(round(value))
    if unit in SECONDS:
        return _with_exact(span(dt.timedelta(seconds=value * SECONDS[unit])), exact)
    return _with_exact(number(value) + (f" {unit}" if unit else ""), exact)


def _short(value: float) -> str:
    """One digit behind the point while it matters."""
    return f"{value:.0f}" if value >= 99.95 or abs(value - round(value)) < 0.05 else f"{value:.1f}"


def _with_exact(rounded: str, exact: str) -> Markup:
    if rounded == exact:
        return Markup("{}").format(rounded)
    return Markup('<span title="{}">{}</span>').format(exact, rounded)
