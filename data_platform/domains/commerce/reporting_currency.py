"""What one unit of the reporting currency is worth in every other one, by plan: dbt/dbt_project.yml says it.
Not here: amounts; rates of a market, which would have to be known as of a day."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from data_platform.core.errors import PlatformError
from data_platform.core.settings import PROJECT_ROOT

CONFIGURATION = PROJECT_ROOT / "dbt" / "dbt_project.yml"


@functools.cache
def planning_rates(file: Path = CONFIGURATION) -> Mapping[str, Decimal]:
    """Currency → units of it that one unit of the reporting currency is planned to buy; the reporting currency is 1.

    Raises PlatformError unless every accepted currency has a positive rate of at most six decimals.
    """
    variables: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["vars"]
    configured: dict[str, Any] = variables.get("planning_rates", {})
    rates: dict[str, Decimal] = {}
    for currency in [*variables["zero_decimal_currencies"], *variables["two_decimal_currencies"]]:
        try:
            rate = Decimal(str(configured[currency]))
        except (KeyError, InvalidOperation):
            rate = Decimal(0)
        if not rate.is_finite() or rate <= 0 or rate != round(rate, 6):
            raise PlatformError(
                f"{file}: the planning rate of {currency} is {configured.get(currency) or 'missing'}.",
                "Give every accepted currency a positive rate in quotes, with at most six decimals.",
            )
        rates[currency] = rate
    reporting = variables["reporting_currency"]
    if rates.get(reporting) != 1:
        raise PlatformError(
            f"{file}: the reporting currency {reporting} has the planning rate {rates.get(reporting)}.",
            f'Set planning_rates.{reporting} to "1", and the others to units per {reporting}.',
        )
    return rates
