"""Whether a day is another day once more: the same file sent again under a new date.
Belongs here: that judgement, on measures. Not here: what is unusual of single measures (anomalies)."""

from __future__ import annotations

import numpy as np

from data_platform.core.quality.measures import FEWEST_DAYS, Matrix

TELLING = 0.9
"""A measure tells days apart if its values on so many of them are on no other."""
FEWEST_TELLING = 16
"""Sums over many days look alike when nothing came in: retail's 12 telling measures of customers' features on Easter
Monday were those of Easter Sunday. Its order lines have 29."""
ALIKE = 0.8
"""Of the telling measures, how many are equal when a day comes again: lengths of new ids, and clocks, may differ."""


def repeats(values: Matrix, at: int, window: int) -> tuple[int, int, int] | None:
    """The day of the `window` days before `at` that has its values, how many are equal and how many must be; None where
    there is none, or where other days repeat each other too. `values` has a row per measure, a column per day; measures
    that are zero where they are absent are alike on too many days to be among them."""
    before = np.arange(max(0, at - window), at)
    measured = ~np.isnan(values[:, at])
    # Not days that are closed, of which the number of rows alone is known.
    before = before[(~np.isnan(values[measured][:, before])).mean(axis=0) > 0.5]
    past = values[measured][:, before]
    telling = _distinct(past) >= TELLING * len(before)
    needed = max(FEWEST_TELLING, int(np.ceil(ALIKE * telling.sum())))
    if len(before) < FEWEST_DAYS or telling.sum() < needed:
        return None
    past, today = past[telling], values[measured, at][telling]
    alike = (_same(past, today[:, None])).sum(axis=0)
    nearest = int(np.argmax(alike))
    if alike[nearest] < needed:
        return None
    others = [int(_same(past[:, :one], past[:, one : one + 1]).sum(axis=0).max()) for one in range(1, len(before))]
    if max(others, default=0) >= needed:
        return None
    return int(before[nearest]), int(alike[nearest]), needed


def _distinct(past: Matrix) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Per measure, on how many days its value is that of no earlier day; a missing one is not counted."""
    ordered = np.sort(past, axis=1)
    changes = ~_same(ordered[:, 1:], ordered[:, :-1]) & ~np.isnan(ordered[:, 1:])
    return np.asarray(changes.sum(axis=1) + ~np.isnan(ordered[:, 0]) if past.shape[1] else np.zeros(len(past), int))


def _same(one: Matrix, other: Matrix) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(np.abs(one - other) <= 1e-9 * np.maximum(np.abs(other), 1e-3))
