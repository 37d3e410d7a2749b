"""When a table is computed again, and what is tried again. Not here: schedules of particular tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from data_platform.core.attempts import TRANSIENT_FAULTS
from data_platform.core.faults import in_words, is_panic

AC = dg.AutomationCondition

TRIED_AGAIN = "0 * * * *"


def when_inputs_change_or_a_day_begins() -> dg.AutomationCondition[Any]:
    """As `when_inputs_change`, and for each new day as soon as it is one: of a table whose day is said by what was
    known before, such as prices, no input need ever be written again. Without it a new day's calls had no price until
    02:00 of the next: usage asks for what is computed of it, and not for what that needs beside it. Not before anything
    it needs was written: else all days of a domain that nobody uses would be asked for."""
    begun = AC.missing() & AC.any_deps_match(~AC.missing())
    due = when_inputs_change() | (begun.newly_true().since_last_handled() & ~_waits())
    return due.with_label("an input day was written, its day has begun, or a failed day may do better")


def when_inputs_change() -> dg.AutomationCondition[Any]:
    """Compute exactly the days that depend on an input day that was written again, however old.

    `AutomationCondition.eager()` would look at the newest day alone and wait for inputs that have no rows on some day;
    both are dropped here. Days whose inputs are still being written wait for them.

    A day that failed is handled like any other: without more, nobody asks for it again (requests 0, 0, 0 on the ticks
    after a failure) although the code was mended or the disk is back. It is asked for again when an input is written
    (`changed`), when what computes it changes (`since`: the tick that sees new code may come while a run is under way),
    and else once an hour, for what was mended out of sight. Not by `execution_failed().newly_true()`: a day that fails
    for good would be run as fast as it fails. What needs a failed day waits for it, as in `data-platform build`, and
    keeps what it had.
    """
    changed = AC.any_deps_updated().since_last_handled()
    # An input and the table itself written between the same two ticks cancel each other out above, whichever came last:
    # a day would stay out of date for good. Dagster compares their times where neither condition is composed.
    written = AC.any_deps_match(AC.newly_updated())
    overtaken = written.since(AC.newly_updated()) & written.since(AC.newly_requested() & ~written)
    mended = AC.code_version_changed().since(AC.newly_requested()) | AC.cron_tick_passed(TRIED_AGAIN, "UTC")
    again = AC.execution_failed() & mended
    due = (changed | overtaken | again) & ~_waits()
    return due.with_label("an input day was written, or a failed day may do better")


def _waits() -> dg.AutomationCondition[Any]:
    """What it needs, or itself, is being computed, or what it needs failed."""
    return AC.any_deps_in_progress() | AC.in_progress() | AC.any_deps_match(AC.execution_failed())


def once_settled(
    condition: dg.AutomationCondition[Any], settling: Collection[dg.AssetKey]
) -> dg.AutomationCondition[Any]:
    """The condition of a table some of whose inputs are written only when they changed: that they will be computed is
    no reason to compute it. It waits for what comes of that, and is due if they were written. Not in one backfill with
    them: Dagster would wait there for days that are not written."""
    of_settling = dg.AssetSelection.assets(*settling)
    written = AC.newly_updated() & ~AC.executed_with_root_target()
    updated = AC.any_deps_match(written) | AC.any_deps_match(AC.will_be_requested()).ignore(of_settling)
    settled = ~AC.any_deps_match(AC.will_be_requested()).allow(of_settling)
    whole = condition.replace("any_deps_updated", updated) & settled
    label = condition.get_label()
    return whole.with_label(label) if label else whole


@contextmanager
def only_transient_faults_retried() -> Iterator[None]:
    """Wrap a step's body: any error but a transient fault ends the step at once; each says in a sentence what to do.
    So does a signal to stop, which Dagster would answer by trying the step again."""
    try:
        yield
    except dg.Failure:
        raise
    except TRANSIENT_FAULTS as fault:
        raise dg.Failure(in_words(fault)) from fault
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as stop:
        raise dg.Failure("Stopped by a signal; run again for the rest.", allow_retries=False) from stop
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise dg.Failure(in_words(error), allow_retries=False) from error


def retry_transient_faults() -> dg.RetryPolicy:
    """Three more attempts after 10, 20 and 40 seconds with jitter; see `only_transient_faults_retried`."""
    return dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
