"""Windows lie side by side, none is open when it is read, and none is made for nothing."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from data_platform.sources.rest.windows import Pace, Window, floored, halved, microseconds, moment_at, next_window

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
seconds = st.integers(1, 5000).map(lambda number: number * SECOND)


@given(
    st.lists(st.tuples(st.integers(0, 9_000_000), st.booleans()), max_size=40),
    seconds, st.integers(0, 900), seconds, st.sampled_from([SECOND, dt.timedelta(minutes=7)]),
)  # fmt: skip
def test_windows_follow_each_other_and_are_closed(
    looks: list[tuple[int, bool]], every: dt.timedelta, settle: int, span: dt.timedelta, step: dt.timedelta
) -> None:
    """Looks at any moments (milliseconds after the start), also back in time; some find too much and halve."""
    span = max(span, step) // step * step
    pace = Pace(every, settle * SECOND, 9 * SECOND, step, span)
    position = floored(START, step)
    for after, too_much in looks:
        now = START + dt.timedelta(milliseconds=after)
        window = next_window(position, START, now, pace, span)
        if window is None:
            behind = floored(now - pace.settle, step) - position
            assert behind < every, "a closed window is read"
            continue
        assert window.begin == position
        assert position < window.end <= now - pace.settle
        assert window.end - window.begin <= span
        assert (window.end - window.begin) % step == dt.timedelta(0)
        assert max(START, position - pace.overlap) == window.read_from
        if too_much:
            span = halved(window, step)
            assert step <= span <= max(step, (window.end - window.begin) / 2)
            continue
        position = window.end


def test_a_position_is_a_moment() -> None:
    moment = dt.datetime(2024, 2, 29, 23, 59, 59, 123456, dt.UTC)
    assert microseconds(moment) == 1709251199123456
    assert moment_at(microseconds(moment)) == moment
    assert Window(moment, moment, moment, SECOND, SECOND).read_from == moment
