"""Windows of time, in which an API is asked for what was made: when one is closed, where the next one begins.
Belongs here: that arithmetic. Not here: asking, segments."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Window:
    """What was made from `begin` up to, and without, `end` (UTC, whole seconds)."""

    begin: dt.datetime
    end: dt.datetime
    since: dt.datetime
    """Nothing that was made earlier is wanted, whichever window tells of it."""
    overlap: dt.timedelta
    settle: dt.timedelta
    """So long after its end, at least, the window is read."""

    @property
    def read_from(self) -> dt.datetime:
        """Where to begin to ask: a little earlier than the window, for what an API showed late."""
        return max(self.since, self.begin - self.overlap)


@dataclass(frozen=True)
class Pace:
    """How a stream moves on."""

    every: dt.timedelta
    """Windows are so long once the stream has caught up."""
    settle: dt.timedelta
    overlap: dt.timedelta
    step: dt.timedelta
    """Windows begin and end at whole multiples of it since 1970."""
    longest: dt.timedelta


def next_window(
    position: dt.datetime, since: dt.datetime, now: dt.datetime, pace: Pace, span: dt.timedelta
) -> Window | None:
    """The window behind `position`, at most `span` long; None until one is closed."""
    closed = floored(now - pace.settle, pace.step)
    end = min(position + span, closed)
    if end <= position or (end < position + span and end - position < pace.every):
        return None
    return Window(position, end, since, pace.overlap, pace.settle)


def halved(window: Window, step: dt.timedelta) -> dt.timedelta:
    """The span to read instead of a window that holds too much: a whole number of steps, one at least."""
    return max(step, (window.end - window.begin) // 2 // step * step)


def floored(moment: dt.datetime, step: dt.timedelta) -> dt.datetime:
    return moment - (moment - EPOCH) % step


def microseconds(moment: dt.datetime) -> int:
    """Since 1970: the position of a moment."""
    return (moment - EPOCH) // MICROSECOND


def moment_at(position: int) -> dt.datetime:
    return EPOCH + position * MICROSECOND
