"""What is known of a measure by its name alone: its kind, its column, and when and how strictly it is judged.
Belongs here: limits of kinds of measures. Not here: measuring (profile), judging (anomalies)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_platform.core.contract.lineage import ROWS
from data_platform.core.contract.table import Table
from data_platform.core.quality.check_groups import ANOMALIES
from data_platform.core.quality.profile import PAYLOADS_A_DAY, ROWS_A_DAY

FEWEST_DAYS = 14
"""Two of each weekday; below that nothing is judged."""
DAYS_OF_VALUES = 28
"""Before the share of a category is judged: time to see whether its values come and go by themselves."""
BOUND = 6.0
"""Robust standard deviations that a measure may be away. Measured on 98 months of seasonal tables, 19 of simulated ones
and 200 faults of 21 kinds (see `benchmarks/faults.py`): 24 + 17 false alarms and all faults found at 4, 0 + 4 and
all at 5, none and 197 at 6, none and 193 at 7."""
EXTREME_BOUND = 14.0
"""The same for a day's smallest and largest values, which have heavy tails, and for medians, which jump where many rows
share a value: at 6 those were most of the false alarms."""
ROWS_OF_EXTREMES = 1_000
"""They, and means of times, are judged on days with at least so many rows. Of fewer, one row decides: in a game of 40
players one veteran's absence was told on 14 days in a row, in one of 1,000 a campaign's end on 9."""
ROWS_OF_SHARES = 100
"""The same for everything else but the number of rows and the share of nulls."""
RELATIVE_FLOOR = 0.01
"""Differences far below this share of a value are noise, however steady the past was."""
LENGTH_FLOOR = 0.03
"""The same for the length of text: a running number in ids gains a digit now and then, which is 12 % of a short id."""

VOLUME, NULL_SHARE, DISTRIBUTION = ANOMALIES
_SHARES = ("null_share", "share", "hour", "present", "zero_share", "negative_share", "top_share")
_ABSENT_IS_ZERO = ("share", "hour", "present")
_SIGNED = ("offset_mean", "offset_min", "offset_max", "lag")
_QUANTILES = ("p50", "p99", "min", "max")
_EXTREMES = ("min", "max", "offset_min", "offset_max", "std", "p50", "p99")

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Measures:
    """What is known of each measure by its name alone; arrays have one entry per measure."""

    names: list[str]
    about: list[str]
    """The column it is of, or ROWS."""
    group: NDArray[np.str_]
    is_count: Flags
    is_share: Flags
    is_signed: Flags
    absent_is_zero: Flags
    whole: Matrix
    """1 for measures of whole numbers, which come in steps of one; else 0."""
    is_distinct: Flags
    is_spread: Flags
    is_quantile: Flags
    """Of numbers that are not whole: where most are zero it is zero, and jumps when they are no longer most."""
    step: Matrix
    """Half a step, for quantiles of whole numbers; else 0."""
    relative_floor: Matrix
    rows_most: Matrix
    """Most rows of a day the measure is taken from."""
    bound: Matrix
    fewest_rows: NDArray[np.int64]
    """Of the day, before the measure is judged."""
    fewest_days: NDArray[np.int64]
    """Of history, before the measure is judged."""
    family: NDArray[np.int64]
    """The same number for the shares of one column."""

    @classmethod
    def of(cls, table: type[Table], names: list[str]) -> Measures:
        kinds = [name.split(":")[0] for name in names]
        columns = [name.partition(":")[2].split("=")[0] for name in names]
        roots = [column.split(".")[0] for column in columns]
        declared = [table.columns.get(root) for root in roots]
        families = [
            f"{kind}:{root if kind == 'present' else column}"
            for kind, column, root in zip(kinds, columns, roots, strict=True)
        ]
        numbered = {name: number for number, name in enumerate(dict.fromkeys(families))}
        whole = [one is not None and one.dtype.is_integer() for one in declared]
        groups = {"rows": VOLUME, "null_share": NULL_SHARE}
        return cls(
            names,
            [ROWS if kind == "rows" else root for kind, root in zip(kinds, roots, strict=True)],
            np.array([groups.get(kind, DISTRIBUTION) for kind in kinds]),
            np.array([kind == "rows" for kind in kinds]),
            np.array([kind in _SHARES for kind in kinds]),
            np.array([kind in _SIGNED for kind in kinds]),
            np.array([kind in _ABSENT_IS_ZERO for kind in kinds]),
            np.array([float(one) for one in whole]),
            np.array([kind == "distinct_share" for kind in kinds]),
            np.array([kind == "std" for kind in kinds]),
            np.array([kind in _QUANTILES and not one for one, kind in zip(whole, kinds, strict=True)]),
            np.array([0.5 if one and kind in _QUANTILES else 0.0 for one, kind in zip(whole, kinds, strict=True)]),
            np.array([LENGTH_FLOOR if kind == "mean_length" else RELATIVE_FLOOR for kind in kinds]),
            np.array([PAYLOADS_A_DAY if one is not None and one.is_json else ROWS_A_DAY for one in declared], float),
            np.array([EXTREME_BOUND if kind in _EXTREMES else BOUND for kind in kinds]),
            np.array([_fewest_rows(kind) for kind in kinds]),
            np.array([DAYS_OF_VALUES if kind == "share" else FEWEST_DAYS for kind in kinds]),
            np.array([numbered[family] for family in families]),
        )


def _fewest_rows(kind: str) -> int:
    if kind in (*_EXTREMES, "offset_mean"):
        return ROWS_OF_EXTREMES
    return 0 if kind in ("rows", "null_share") else ROWS_OF_SHARES
