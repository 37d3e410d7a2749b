"""A clock that jumps, as the modules of the platform read it: `time.time`, `time.time_ns` and `dt.datetime.now`.
Not here: the monotonic clock, which no administrator sets; the disk's, and those of Delta and DuckDB, which are C's and
Rust's, as if another machine's."""

from __future__ import annotations

import datetime as dt
import sys
import time
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Self
from unittest.mock import patch

# All that declares tables: one that is declared inside the block would have columns of the stand-in.
import data_platform.definitions  # noqa: F401

REAL = dt.datetime


class _Any(type):
    """Every datetime is one of the class that stands in, whenever it was made."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)


class JumpingClock:
    """Inside the block, the clock is off by what `jump_to` said last."""

    def __init__(self) -> None:
        self.off = dt.timedelta(0)
        self._patches = ExitStack()

    def jump_to(self, off: dt.timedelta) -> None:
        self.off = off

    def __enter__(self) -> Self:
        seconds, nanoseconds, shifted = time.time, time.time_ns, self._shifted()
        self._patches.enter_context(patch.object(time, "time", lambda: seconds() + self.off.total_seconds()))
        self._patches.enter_context(
            patch.object(time, "time_ns", lambda: nanoseconds() + int(self.off.total_seconds() * 1e9))
        )
        # Not in `datetime` itself: what is imported meanwhile, pandas for one, builds upon the class in C.
        for name, module in list(sys.modules.items()):
            if name.startswith("data_platform.") and getattr(module, "dt", None) is dt:
                self._patches.enter_context(patch.object(module, "dt", shifted))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def _shifted(self) -> ModuleType:
        clock = self

        class Shifted(REAL, metaclass=_Any):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> Any:
                return REAL.now(tz) + clock.off

        found = ModuleType("datetime")
        vars(found).update(vars(dt), datetime=Shifted)
        return found
