"""What a model is to predict: labels that domains declare, and the window after a snapshot day that they look at.
Belongs here: when a label is known. Not here: what one means (`labels` of a domain), features."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.packages import modules_called


@dataclass(frozen=True)
class LabelWindow:
    """The `horizon_days` days after a snapshot day D, beginning `gap_days` later: D+gap+1 to D+gap+horizon.

    A gap is the time one needs to act on a prediction: with a gap of 3, leaving on the next day is no longer foreseen.
    """

    horizon_days: int = 14
    gap_days: int = 0

    @property
    def reach_days(self) -> int:
        """How far after the snapshot day the window ends."""
        return self.gap_days + self.horizon_days

    def first(self, snapshot: dt.date) -> dt.date:
        return snapshot + dt.timedelta(self.gap_days + 1)

    def last(self, snapshot: dt.date) -> dt.date:
        return snapshot + dt.timedelta(self.reach_days)

    def newest_known(self, today: dt.date) -> dt.date:
        """The newest snapshot day whose window had closed before `today` began (UTC)."""
        return today - dt.timedelta(self.reach_days + 1)


LabelOf = Callable[[dt.date, pl.LazyFrame, pl.LazyFrame, LabelWindow], pl.LazyFrame]
"""(snapshot day, entities of that day, the label's table, window) → each entity once, with the label."""


@dataclass(frozen=True)
class Label:
    """What a domain declares in its module `labels`: a boolean column of this name, worked out from a table by day."""

    name: str
    table: type[Table]
    of: LabelOf

    def code(self) -> bytes:
        """The module that says what the label means."""
        return Path(inspect.getfile(self.of)).read_bytes()


@functools.cache
def known_labels() -> dict[str, Label]:
    """The labels of every domain, by name."""
    declared = [value for module in modules_called("labels") for value in vars(module).values()]
    return {label.name: label for label in declared if isinstance(label, Label)}


def label_called(name: str) -> Label:
    """Raises PlatformError naming the labels there are."""
    known = known_labels()
    if name not in known:
        raise PlatformError(
            f"There is no label {name!r}.", f"{did_you_mean(name, known)}There are {', '.join(sorted(known))}."
        )
    return known[name]
