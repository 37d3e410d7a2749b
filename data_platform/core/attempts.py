"""What may be gone at the next attempt, and computing days so that one that cannot be computed holds back no other.
Not here: what is computed (assets), Dagster's policy of retries (orchestration/automation): dbt's process has no
Dagster, whose import takes 0.7 s."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from deltalake.exceptions import CommitFailedError

from data_platform.core.faults import is_panic
from data_platform.core.lake.store import StaleWriter

TRANSIENT_FAULTS: tuple[type[Exception], ...] = (OSError, CommitFailedError, StaleWriter)
"""Files and network, and races with other writers."""
GIVE_UP_AFTER = 8
"""So many days tried one by one, none of which could be computed, and the transform is broken, not a day."""


def each_day_it_can(
    slices: Iterable[Sequence[dt.date]],
    compute: Callable[[list[dt.date]], object],
    at_once: tuple[type[Exception], ...] = TRANSIENT_FAULTS,
) -> dict[str, Exception]:
    """Call `compute` with every slice; one that fails is halved until the days that fail are alone. Returns these.

    Raises what `compute` raised where no day at all can be computed, and at once for a whole table and for the faults
    `at_once`.
    """
    failed: dict[str, Exception] = {}
    computed = False
    for days in slices:
        parts = [list(days)]
        while parts:
            part = parts.pop(0)
            try:
                compute(part)
                computed = True
            except at_once:
                raise
            except BaseException as error:
                if not isinstance(error, Exception) and not is_panic(error):
                    raise
                if len(part) > 1:
                    parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
                    continue
                if not part:
                    raise
                failed[part[0].isoformat()] = _as_exception(error)
                if not computed and len(failed) >= GIVE_UP_AFTER:
                    raise
    if failed and not computed:
        raise next(iter(failed.values()))
    return failed


def _as_exception(error: BaseException) -> Exception:
    """A panic of Polars is no Exception, but says no more than that these rows cannot be computed."""
    if isinstance(error, Exception):
        return error
    failure = RuntimeError(str(error).splitlines()[0])
    failure.__cause__ = error
    return failure
