"""Amounts of money as exact decimals, read from text. Not here: currencies, any rounding but to the digits named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact

EXACT = Context(prec=76, traps=[Inexact])
"""Twice the digits of a column: what does not fit raises instead of being rounded."""
AMOUNT = re.compile(r"[+-]?(\d{1,15})(\.\d{1,18})?")
"""As written in files: up to 15 digits before the point and 18 behind it, so that a billion of them fit a column."""


def amount_of(text: str | None) -> Decimal | None:
    """The amount a text says; None for what is none (`1,5`, `NaN`, 16 digits before the point)."""
    return Decimal(text) if text is not None and AMOUNT.fullmatch(text) else None


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Their sum, exact: Python's own keeps 28 digits."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def rounded(amount: Decimal, decimals: int, way: str = ROUND_HALF_UP) -> Decimal:
    """The amount with so many digits behind the point."""
    return amount.quantize(Decimal(1).scaleb(-decimals), way, Context(prec=76))
