"""The files of a batch → parsed lines, with the file that each came from.
Belongs here: which lines go through the parser together, and in which threads. Not here: what a line means
(line_parser), what becomes of it (landing)."""

from __future__ import annotations

import datetime as dt
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import polars as pl

from data_platform.sources.batch_plan import FileProblem
from data_platform.sources.compressed_lines import FileRefused, LineChunk, LineFile, LongLine
from data_platform.sources.line_parser import LineParser, ParsedChunk, Received
from data_platform.sources.line_queries import BLANK_LINE

TOGETHER_BYTES, TOGETHER_LINES, TOGETHER_FILES = 4 << 20, 20_000, 2_000
"""Small files are parsed together: a query costs 8 ms, a file of one line 10 µs."""
LINE_TOO_LONG = "line_too_long"
FREELY_BLANK, MOST_BLANK = 1_000_000, 10
"""Beyond so many blank lines a file may not hold more than so many times as many as of others: 300 MB of line breaks
would be 300 million rejected lines, which cost five minutes of a processor and which nobody will ever replay."""

Part = tuple[int, LineChunk | LongLine]
"""The number of a file, and some of its lines."""


@dataclass(frozen=True)
class FileLines:
    """What some lines of one file became."""

    number: int
    stored: int
    rejected: int
    blank: int
    """Of the rejected."""
    first_day: dt.date | None
    last_day: dt.date | None


@dataclass(frozen=True)
class Read:
    """Parsed lines, and per file how many there are."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    files: list[FileLines]


def read_lines(files: Sequence[LineFile], received: Sequence[Received], parser: LineParser) -> Iterator[Read]:
    """All lines of all files in order; while some are consumed the next are parsed. Raises FileProblem."""
    blank, others = [0] * len(files), [0] * len(files)
    for read in _parsed(files, received, parser):
        for lines in read.files:
            blank[lines.number] += lines.blank
            others[lines.number] += lines.stored + lines.rejected - lines.blank
            if blank[lines.number] > max(FREELY_BLANK, MOST_BLANK * others[lines.number]):
                found = f"its first {blank[lines.number] + others[lines.number]:,} lines hold {blank[lines.number]:,}"
                raise FileProblem(lines.number, f"{found} that are blank, as no real file does", for_good=True)
        yield read


def _parsed(files: Sequence[LineFile], received: Sequence[Received], parser: LineParser) -> Iterator[Read]:
    workers = os.cpu_count() or 2
    running: deque[Future[Read]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for parts in _together(files):
            running.append(pool.submit(_read, parts, received, parser))
            if len(running) > workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:  # a stop signal must not wait for what nobody will consume
        pool.shutdown(cancel_futures=True)


def _together(files: Sequence[LineFile]) -> Iterator[list[Part]]:
    """Parts of files that are parsed at once: a chunk, or those of many small files."""
    gathered: list[Part] = []
    size = lines = 0
    for number, file in enumerate(files):
        for chunk in _chunks(number, file):
            text = chunk.text if isinstance(chunk, LineChunk) else b""
            full = size + len(text) > TOGETHER_BYTES or lines > TOGETHER_LINES or len(gathered) >= TOGETHER_FILES
            if gathered and full:
                yield gathered
                gathered, size, lines = [], 0, 0
            gathered.append((number, chunk))
            size += len(text)
            lines += text.count(b"\n")
    if gathered:
        yield gathered


def _chunks(number: int, file: LineFile) -> Iterator[LineChunk | LongLine]:
    try:
        yield from file.chunks()
    except FileRefused as refused:
        raise FileProblem(number, str(refused), for_good=True) from None
    except OSError as error:
        raise FileProblem(number, error.strerror or str(error)) from None


def _read(parts: Sequence[Part], received: Sequence[Received], parser: LineParser) -> Read:
    texts = [(number, chunk) for number, chunk in parts if isinstance(chunk, LineChunk)]
    long = [(number, line) for number, line in parts if isinstance(line, LongLine)]
    if len(texts) == 1:
        ((number, chunk),) = texts
        parsed = parser.parse(chunk, received[number])
        files = [np.full(len(frame), number) for frame in (parsed.rows, parsed.rejected)]
    else:
        parsed, files = _parsed_together(texts, received, parser)
    rejected = pl.concat([parsed.rejected, *(_rejected(line, received[number], parser) for number, line in long)])
    of_rejected = np.concatenate([files[1], np.array([number for number, _ in long], np.int64)])
    counted = _counted(parsed.rows, rejected, files[0], of_rejected, parser.source.table.partition)
    return Read(parsed.rows, rejected, counted)


def _parsed_together(
    texts: Sequence[tuple[int, LineChunk]], received: Sequence[Received], parser: LineParser
) -> tuple[ParsedChunk, list[np.ndarray]]:
    """Parsed lines of several files as of one; and the file that each row, and each rejected line, came from."""
    if not texts:
        return ParsedChunk(parser.source.table.empty(), parser.source.rejected.empty()), [np.empty(0, np.int64)] * 2
    at = received[texts[0][0]].at
    parsed = parser.parse(LineChunk(1, b"".join(chunk.text for _, chunk in texts)), Received("", "", at))
    begins = np.array([1, *accumulate(chunk.text.count(b"\n") for _, chunk in texts)][: len(texts)])
    begins[1:] += 1
    numbers = np.array([number for number, _ in texts])
    firsts = np.array([chunk.first for _, chunk in texts])
    names, digests = (pl.Series(column) for column in zip(*((one.file, one.digest) for one in received), strict=True))
    frames, files = [], []
    for frame in (parsed.rows, parsed.rejected):
        line = frame["source_line"].to_numpy()
        text = np.searchsorted(begins, line, side="right") - 1
        of_file = numbers[text]
        columns = {"source_file": names.gather(of_file), "file_digest": digests.gather(of_file)}
        columns["source_line"] = pl.Series(line - begins[text] + firsts[text])
        frames.append(frame.with_columns(**{name: new for name, new in columns.items() if name in frame.columns}))
        files.append(of_file)
    return ParsedChunk(*frames), files


def _rejected(line: LongLine, received: Received, parser: LineParser) -> pl.DataFrame:
    """A line that is too long, cut: what it was lies in the file."""
    row = {
        "received_date": received.at.date(),
        "file_digest": received.digest,
        "source_file": received.file,
        "source_line": line.number,
        "reason": LINE_TOO_LONG,
        "line": line.beginning.decode(errors="replace"),
        "source_position": None,
        "received_at": received.at,
    }
    return pl.DataFrame([row], schema=parser.source.rejected.schema())


def _counted(
    rows: pl.DataFrame, rejected: pl.DataFrame, of_rows: np.ndarray, of_rejected: np.ndarray, day: str | None
) -> list[FileLines]:
    days = rows[day] if day else pl.Series([None] * len(rows), dtype=pl.Date)
    stored = pl.DataFrame({"file": of_rows, "day": days}, schema_overrides={"file": pl.Int64}).group_by("file")
    blank = rejected["reason"] == BLANK_LINE
    refused = pl.DataFrame({"file": of_rejected, "blank": blank}, schema_overrides={"file": pl.Int64}).group_by("file")
    both = stored.agg(stored=pl.len(), first=pl.col("day").min(), last=pl.col("day").max()).join(
        refused.agg(rejected=pl.len(), blank=pl.col("blank").sum()), on="file", how="full", coalesce=True
    )
    both = both.with_columns(pl.col("stored", "rejected", "blank").fill_null(0)).sort("file")
    return [FileLines(*row) for row in both.select("file", "stored", "rejected", "blank", "first", "last").iter_rows()]
