"""An amount divided in proportion to weights so that whole units sum to it: the method of largest remainders.
Not here: whose weights these are (shared_costs), currencies."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from data_platform.domains.metering.money import EXACT

Key = TypeVar("Key", bound=tuple[Any, ...] | str)


def unit_of(amount: Decimal, decimals: int) -> Decimal:
    """The unit an amount is divided in: the currency's smallest, or the amount's own last digit where that is finer."""
    exponent = EXACT.normalize(amount).as_tuple().exponent
    assert isinstance(exponent, int), "amounts are finite"
    return Decimal(1).scaleb(min(exponent, -decimals))


def spread(amount: Decimal, unit: Decimal, weights: Mapping[Key, Fraction]) -> dict[Key, Decimal]:
    """What each key gets of `amount`, a whole number of units (of credits: of negative ones), by weights from 0 on.

    Everybody gets the whole units of its exact share; those left go to the largest remainders, of equal ones to the
    smallest keys. Raises ValueError without a positive weight, or with a negative one.
    """
    whole = sum(weights.values(), Fraction(0))
    if whole <= 0 or min(weights.values()) < 0:
        raise ValueError("weights are from 0 on, and one is above")
    units = int(EXACT.divide(abs(amount), unit))
    exact = {key: units * weight / whole for key, weight in weights.items()}
    given = {key: int(share) for key, share in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (given[key] - exact[key], key))
    for key in by_remainder[: units - sum(given.values())]:
        given[key] += 1
    sign = -1 if amount < 0 else 1
    return {key: EXACT.multiply(Decimal(sign * count), unit) for key, count in given.items()}
