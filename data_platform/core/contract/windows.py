"""Tumbling windows of event time: how long they are, when they are held to be whole, how long they are corrected.
Belongs here: arithmetic on them, told by a contract. Not here: what is counted in a window."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.calendar import DAY

MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Windows:
    """Windows of `length` that begin at midnight (UTC), one behind the other; none crosses a midnight.

    The watermark stands `out_of_order` behind the newest event time: a window whose end it has passed is held to be
    whole. What comes later still corrects what a stream says of the window, until the watermark is `allowed_lateness`
    past its end: then the stream closes it. Tables are corrected whenever anything comes.
    """

    length: dt.timedelta
    out_of_order: dt.timedelta
    allowed_lateness: dt.timedelta

    def __post_init__(self) -> None:
        if self.length <= dt.timedelta(0) or DAY % self.length:
            raise ValueError(f"windows of {self.length} do not divide a day; write a length that does")
        if min(self.out_of_order, self.allowed_lateness) < dt.timedelta(0):
            raise ValueError("out_of_order and allowed_lateness are lengths of time from 0")

    @property
    def closes_after(self) -> dt.timedelta:
        """How far behind the newest event time a window's end is when the window is closed."""
        return self.out_of_order + self.allowed_lateness

    @property
    def microseconds(self) -> int:
        return self.length // MICROSECOND

    def start_of(self, time: pl.Expr) -> pl.Expr:
        """Where the window of a moment begins."""
        return time.dt.truncate(f"{self.microseconds}us")

    def number_of(self, time: int) -> int:
        """The window of a moment, in microseconds since 1970, as a number: windows are counted from then."""
        return time // self.microseconds

    def first_open(self, newest: int) -> int:
        """The first window that is not closed when this (microseconds since 1970) is the newest event time."""
        return self.number_of(newest - self.closes_after // MICROSECOND)

    def described(self) -> str:
        """In a sentence, for readers of the contract."""
        return (
            f"{_minutes(self.length)} of event time; whole when the watermark, {_minutes(self.out_of_order)} behind "
            f"the newest event, passes the end; the live view closes one {_minutes(self.allowed_lateness)} after that, "
            "the table is corrected whenever late events come"
        )


def _minutes(length: dt.timedelta) -> str:
    return f"{length / dt.timedelta(minutes=1):g} min"
