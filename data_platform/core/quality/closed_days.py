"""Whether a day without a single row is one of the days on which nothing happens: a shop's Saturdays and bank holidays.
Belongs here: that judgement, on the numbers of rows. Not here: how many rows are usual (anomalies)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_CLOSED = 2
"""Closed days before, between days with rows, without which silence is never usual."""
IN_A_ROW = 3
"""Closed days in a row, not counting weekdays that are usually closed: Good Friday, Easter Sunday and Monday of a shop
that rests on Saturdays. From the fourth on it is told."""


def is_closed(rows: NDArray[np.float64], learned: NDArray[np.int64], at: int) -> bool:
    """`rows` per calendar day (NaN where nothing was measured), `learned` the days that are usual, `at` the day."""
    opened = learned[rows[learned] > 0]
    if not len(opened):
        return False
    shut = learned[(rows[learned] == 0) & (learned > opened[0])]
    if len(shut) < FEWEST_CLOSED:
        return False
    in_a_row, day = 0, at
    while day >= opened[0] and rows[day] == 0:
        weekday = learned[(learned - day) % 7 == 0]
        in_a_row += not len(weekday) or bool(np.median(rows[weekday]) > 0)
        day -= 1
    return in_a_row <= IN_A_ROW
