"""Segments: files of received lines that say themselves which stretch of which stream they hold.
Belongs here: the file's form, writing one atomically, reading what it says of itself. Not here: where a stream stands
(positions), how lines become rows (landing).

A segment is a file of lines packed with zstd, behind which lies a skippable frame with what it says of itself as JSON:
`zstd -dc`, DuckDB and Polars read the lines as those of any other file (Polars would not, were that frame the first).
Equal lines of two stretches are two files, because that frame is part of the content that a file is known by. The
checksum of the lines is zstd's."""

from __future__ import annotations

import json
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from data_platform.core.durable import durable_file
from data_platform.sources.compressed_lines import open_regular

MAGIC = 0x184D2A5D
"""Of a skippable frame; zstd leaves sixteen of them to whoever writes one."""
HEAD, LENGTH = struct.Struct("<II"), struct.Struct("<I")
MOST_BYTES = 1 << 20
"""Of what a segment says of itself."""
LEVEL = 1
"""Measured on lines of 190 bytes: level 1 takes 0.3 µs a line and leaves 12 %, level 3 takes 0.5 for 11 %."""
REFUSED = "refused_"
"""How the reasons begin for which whoever reads a stream made no line of the source of a message."""
NAME = re.compile(r"^[\w.+-]+~\d+~\d{20}-\d{20}\.ndjson\.zst$")


class NoSegment(ValueError):
    """A file whose name says that it is a segment and whose content does not."""


@dataclass(frozen=True)
class Segment:
    """What a segment says of itself: the lines of `stream` from position `begin` up to, and without, `end`.

    Positions are whatever the stream counts in: Kafka offsets, bytes of PostgreSQL's log, microseconds of a window,
    numbers of events. A stream that is read again from an earlier position, or whose positions begin anew, is another
    `generation` of it: stretches of one generation neither overlap nor leave anything out.
    """

    stream: str
    begin: int
    end: int
    lines: int
    generation: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    """(number of a line, its position) wherever positions do not simply go on by one; empty where a line has none."""
    refused: tuple[tuple[int, str], ...] = ()
    """(number of a line, reason) of messages that stand here as they came, because whoever read them could not make a
    line of the source of them: where such a line is rejected, it is for this reason."""

    @staticmethod
    def of(said: Mapping[str, Any]) -> Segment:
        """From what a file says. Raises KeyError, TypeError and ValueError."""
        runs = tuple((int(line), int(position)) for line, position in said["runs"])
        refused = tuple((int(line), str(reason)) for line, reason in said.get("refused", ()))
        return Segment(**{**said, "runs": runs, "refused": refused})

    @property
    def file_name(self) -> str:
        slug = re.sub(r"[^\w.+-]", ".", self.stream, flags=re.ASCII)
        return f"{slug}~{self.generation}~{self.begin:020d}-{self.end:020d}.ndjson.zst"

    def position_of(self, line: int) -> int | None:
        """Of the line with this number, from 1; None where lines have none."""
        at = bisect_right(self.runs, (line, 1 << 63)) - 1
        if at < 0:
            return None
        first, position = self.runs[at]
        return position + line - first


def is_segment(name: str) -> bool:
    """Whether a file of this name is to be a segment: it is whole as soon as it is there."""
    return NAME.match(name) is not None


def write_segment(
    folder: Path,
    stream: str,
    begin: int,
    end: int,
    text: bytes,
    *,
    generation: int = 0,
    runs: tuple[tuple[int, int], ...] = (),
    refused: tuple[tuple[int, str], ...] = (),
) -> Path:
    """Write lines (each with its line break) as one segment: there as a whole and on the disk, or not at all.

    Repeating the call is safe. Whoever writes a stream holds it (`positions.held`).
    Raises ValueError for a stretch that ends before it begins or a last line without an end, and OSError.
    """
    if end < begin or begin < 0 or (text and not text.endswith(b"\n")):
        raise ValueError(f"{stream}: {begin} to {end} with {len(text)} bytes is no stretch of whole lines")
    segment = Segment(stream, begin, end, text.count(b"\n"), generation, runs, refused)
    path = folder / segment.file_name
    folder.mkdir(parents=True, exist_ok=True)
    with durable_file(path) as file:
        file.write(zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text))
        file.write(closing_frame(segment))
    return path


def closing_frame(segment: Segment) -> bytes:
    """The last bytes of a segment: a frame that zstd skips, at whose end stands how long its text is."""
    text = json.dumps(asdict(segment), separators=(",", ":")).encode()
    return HEAD.pack(MAGIC, len(text) + LENGTH.size) + text + LENGTH.pack(len(text))


def read_segment(path: Path) -> Segment:
    """What a file says of itself. Raises NoSegment naming what is wrong, and OSError."""
    with open_regular(path) as file:
        return segment_in(file)


def segment_in(file: BinaryIO) -> Segment:
    """The same of an open file, wherever it stands."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LENGTH.size))
    (length,) = LENGTH.unpack(file.read().rjust(LENGTH.size, b"\0"))
    if length > min(MOST_BYTES, size - HEAD.size - LENGTH.size):
        raise NoSegment("it does not end as a segment does: is it cut short?")
    file.seek(size - HEAD.size - length - LENGTH.size)
    if file.read(HEAD.size) != HEAD.pack(MAGIC, length + LENGTH.size):
        raise NoSegment("it does not end as a segment does: is it cut short?")
    try:
        return Segment.of(json.loads(file.read(length)))
    except (ValueError, TypeError, KeyError) as error:
        raise NoSegment(f"what it says of itself cannot be read: {error}") from None
