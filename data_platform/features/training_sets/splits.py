"""Which snapshot days are for training, validation and test: cut by time, never at random.
Not here: rows; a day belongs to one part as a whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_platform.core.errors import PlatformError, counted

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class TimeSplit:
    """The newest `test` share of the snapshot days is for the test, the `validation` share before it for validation.

    Between two parts lies an embargo: a day belongs to the earlier part only if its label window has ended before the
    first snapshot day of the later one. Otherwise a model would be trained on what players did on days it is tested
    on. Days of the embargo belong to no part and are left out of the set.
    """

    validation: float = 0.15
    test: float = 0.2

    def __post_init__(self) -> None:
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise PlatformError(
                f"The split leaves nothing to train on: validation {self.validation}, test {self.test}.",
                "Both are shares from 0 on, together less than 1.",
            )

    def parts(self, snapshots: Sequence[dt.date], reach_days: int) -> Mapping[dt.date, str]:
        """Snapshot day → part. `reach_days` is how far labels look ahead.

        Raises PlatformError when a part that was asked for has no day left.
        """
        reach = dt.timedelta(reach_days)
        waiting = sorted(snapshots)
        total, parts = len(waiting), dict[dt.date, str]()
        for part, share in ((TEST, self.test), (VALIDATION, self.validation), (TRAIN, 1.0)):
            if not share:
                continue
            chosen = waiting if part == TRAIN else waiting[-max(1, round(total * share)) :]
            if not chosen:
                raise PlatformError(
                    f"{counted(total, 'snapshot day')} {'leaves' if total == 1 else 'leave'} none for {part}: "
                    f"labels look {counted(reach_days, 'day')} ahead, and so many days lie between two parts.",
                    "Choose a longer snapshot range, a shorter horizon, or fewer parts (`TimeSplit(validation=0)`).",
                )
            parts |= dict.fromkeys(chosen, part)
            waiting = [day for day in waiting if day + reach < chosen[0]]
        return dict(sorted(parts.items()))


NO_SPLIT = TimeSplit(validation=0, test=0)
"""Everything is for training."""
