"""Messages of one partition → lines of a segment. Belongs here: one line per message, which offset each has, which
could not be read. Not here: Debezium's envelopes (debezium), getting messages (reader)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_platform.sources.segments import MOST_BYTES, REFUSED

NOT_UNDERSTOOD = "not_understood"
"""Reason for a message of a shape that nobody thought of."""
MARK_BYTES = 32
"""Of what a segment says of itself, for each place where offsets do not go on by one."""


class Refused(Exception):
    """A message that cannot be read right; `reason` is a code like `no_envelope`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Lines:
    """Text of whole lines, and what a segment says of them (see `Segment`)."""

    text: bytes
    runs: tuple[tuple[int, int], ...]
    refused: tuple[tuple[int, str], ...] = ()

    @property
    def fits(self) -> bool:
        """Whether a segment can say as much of itself, with room to spare."""
        said = MARK_BYTES * len(self.runs) + sum(MARK_BYTES + len(reason) for _, reason in self.refused)
        return said <= MOST_BYTES // 2


def lines_of_values(offsets: Sequence[int], values: Sequence[bytes | None]) -> Lines:
    """Each value as a line, whatever it is: ingestion judges it. No value at all is `null`, which it rejects."""
    present: list[bytes] = [b"null" if value is None else value for value in values]
    text = b"\n".join(present) + b"\n" if present else b""
    if text.count(b"\n") != len(present):
        text = b"\n".join(one_line(value) for value in present) + b"\n"
    return Lines(text, runs_of(offsets))


def lines_of_envelopes(
    offsets: Sequence[int],
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    read: Callable[[bytes | None, bytes], bytes | None],
) -> Lines:
    """What `read(key, value)` makes of each message, which may be nothing; what it refuses stays as it came. A message
    without a value follows a deletion, for compaction, and is no change."""
    lines = list[bytes]()
    of_lines = list[int]()
    refused = list[tuple[int, str]]()
    for offset, key, value in zip(offsets, keys, values, strict=True):
        if value is None:
            continue
        try:
            line = read(key, value)
        except Exception as error:  # whatever a message holds, it must not hold up those behind it
            line = value
            reason = error.reason if isinstance(error, Refused) else NOT_UNDERSTOOD
            refused.append((len(lines) + 1, f"{REFUSED}{reason}"))
        if line is not None:
            lines.append(one_line(line))
            of_lines.append(offset)
    text = b"\n".join(lines) + b"\n" if lines else b""
    return Lines(text, runs_of(of_lines), tuple(refused))


def one_line(value: bytes) -> bytes:
    """The value without line breaks. A carriage return is white space in JSON exactly where a line feed is: what was
    JSON stays the same JSON, and what was not does not become any."""
    return value.replace(b"\n", b"\r")


def runs_of(offsets: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(number of a line, its offset) of the first line and of each that does not follow the one before it."""
    if not offsets:
        return ()
    if offsets[-1] - offsets[0] == len(offsets) - 1:
        return ((1, offsets[0]),)
    breaks = (number for number in range(1, len(offsets)) if offsets[number] != offsets[number - 1] + 1)
    return ((1, offsets[0]), *((number + 1, offsets[number]) for number in breaks))
