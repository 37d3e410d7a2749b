"""How the numbers of panels read: in a sentence, on an axis, as a colour.
Not here: words of any number, whatever it is of (observability/health/words)."""

from __future__ import annotations

from data_platform.core.contract.table import Column
from data_platform.observability.health.words import SECONDS, number, percent

HEAT_STEPS = 8


def is_share(column: Column) -> bool:
    return column.dtype.is_float() and column.le == 1


def value(found: float | None, column: Column, counts: bool = False) -> str:
    """As its column measures: a share, money to the cent, minutes. `counts`: it is how many rows have a value."""
    if found is None:
        return "–"
    if counts or column.dtype.is_integer():
        return f"{found:,.0f}"
    if is_share(column):
        return percent(found)
    if column.dtype.is_decimal():
        return f"{found:,.2f}"
    return number(found) + (f" {column.unit}" if column.unit in SECONDS else "")


def short(found: float, column: Column) -> str:
    """On an axis: `12k`, `2.5M`, `40%`."""
    if is_share(column):
        return f"{found * 100:.3g}%"
    for least, size, unit in ((1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(found) >= least:
            return f"{found / size:,.4g}{unit}"
    return f"{found:,.4g}"


def heat(share: float | None, most: float) -> str:
    """The class of a cell: eight steps, the deepest for the greatest share of all."""
    return "none" if share is None else f"h{min(int(share / (most or 1) * HEAT_STEPS), HEAT_STEPS - 1)}"


def changed(share: float | None, days: int) -> str:
    """`+12% in 30 days`, `×4 in 30 days`; nothing where it is not known."""
    if share is None:
        return ""
    return f"{f'×{1 + share:.0f}' if share >= 2 else f'{share:+.0%}'} in {days} days"
