"""What goes wrong between the event store and the landing folder, how often, and what a correct platform says of it:
copies are dropped, contradictions and nonsense rejected, what is late comes all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_platform.simulation.text import MINUTE, SECOND

Row = dict[str, Any]
COPIES, CONFLICTS, STRANGE, LATE = 0.04, 0.02, 0.01, 0.05
"""Shares of a day's events: told twice, told otherwise, of a kind nobody knows, and a day late (at most so many)."""
BROKEN_LINES = ('{"discussion_id": "d-1", "sequence": ', "-- MARK --")


def soil(events: Sequence[Row], rng: np.random.Generator, said: Counter[str]) -> tuple[list[Row], list[Row]]:
    """(what arrives today, what comes tomorrow) of a day's events, in no order; `said` counts the verdicts on rows that
    are not clean."""
    late = rng.random(len(events)) < LATE
    today = [event for event, waits in zip(events, late, strict=True) if not waits]
    tomorrow = [event for event, waits in zip(events, late, strict=True) if waits]
    extra: list[Row] = []
    for event in today:
        chance = rng.random()
        if chance < COPIES:
            said["duplicate"] += 1
            extra.append(event)
        elif chance < COPIES + CONFLICTS:
            said["conflicting_duplicate"] += 1
            later = event["occurred_at"] + int(rng.integers(SECOND, MINUTE))
            extra.append(event | {"occurred_at": later, "event_data": event["event_data"] | {"edited": True}})
        elif chance < COPIES + CONFLICTS + STRANGE:
            said["unknown_event_type"] += 1
            extra.append(event | {"event_type": "reaction", "event_data": {"emoji": "👍"}})
        elif chance < COPIES + CONFLICTS + 2 * STRANGE:
            said["unknown_version"] += 1
            extra.append(event | {"event_version": 9})
    arriving = today + extra
    return [arriving[place] for place in rng.permutation(len(arriving))], tomorrow
