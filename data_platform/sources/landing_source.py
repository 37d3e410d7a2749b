"""What a landing folder is: the tables its lines go to, and the field that dates them. Not here: reading anything."""

from __future__ import annotations

from dataclasses import dataclass

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import Column

HEARTBEAT = "_heartbeat"
"""A file of this name in a source's landing folder says by its time of change that the source is alive."""


@dataclass(frozen=True)
class LandingSource:
    """A landing folder: its name, where its lines and its rejected lines go, and which field dates a row."""

    name: str
    table: type[ReceivedLines]
    rejected: type[RejectedLines]
    time_field: str
    clamp_to_first_day: bool = False
    """File what happened before the first day under the first day, instead of rejecting it."""
    takes_announcements: bool = False
    """File what begins later under the day on which it was received, instead of rejecting it: it is known before it
    holds. Whoever reads the table goes by `time_field`, never by the partition."""

    def fields(self) -> list[Column]:
        """What a line may carry: the raw table's columns without its bookkeeping."""
        bookkeeping = {*ReceivedLines.columns, self.table.partition}
        return [column for name, column in self.table.columns.items() if name not in bookkeeping]
