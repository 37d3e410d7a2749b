"""When a table is computed again, and what is tried again. Not here: schedules of particular tables."""

from __future__ import annotations

from typing import Any

import dagster as dg

AC = dg.AutomationCondition


def when_inputs_change() -> dg.AutomationCondition[Any]:
    """Compute exactly the days that depend on an input day that was written again, however old.

    `AutomationCondition.eager()` would look at the newest day alone and wait for inputs that have no rows on some day;
    both are dropped here. Days whose inputs are still being written wait for them.
    """
    changed = AC.any_deps_updated().since_last_handled()
    return (changed & ~AC.any_deps_in_progress() & ~AC.in_progress()).with_label("an input day was written")


def retry_transient_faults() -> dg.RetryPolicy:
    """Three more attempts after 10, 20 and 40 seconds with jitter. Errors in data or code raise `dg.Failure` or
    PlatformError, which are not retried."""
    return dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
