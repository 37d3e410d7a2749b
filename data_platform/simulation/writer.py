"""Writes lines to gzip files in landing folders, compressing in a second thread, and has them counted.

Knows neither the game nor what is wrong with a line. A file appears under its name only when it is complete.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import polars as pl
from zlib_ng import zlib_ng

from data_platform.simulation.dirt import stray_lines
from data_platform.simulation.events import Texts, fragments, lines
from data_platform.simulation.text import iso
from data_platform.simulation.truth import Tally

# Measured on lines of 484 bytes: level 1 takes 1.2 µs of CPU a line and leaves 33% of them, level 2 takes 1.9 for 26%.
_LEVEL = 1
_GZIP = 31  # zlib's window bits for a gzip frame; its modification time stays 0, so equal lines make equal files
_MEMORY = 9  # zlib's most; 5% faster than the default
_LINES_PER_FILE = 500_000
_LINES_AT_ONCE = 20_000  # 10 MB of text; at most `_WAITING` such pieces wait to be compressed
_WAITING = 6
EVENTS = "player_events"


class Landing:
    """The landing root. A context manager; leaving it waits until everything is on disk."""

    def __init__(self, root: Path, tally: Tally) -> None:
        self._root, self._tally = root, tally
        self._compressor = ThreadPoolExecutor(1, thread_name_prefix="gzip")
        self._pieces: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        (self._root / EVENTS).mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._pieces and kind is None:
                self._pieces.popleft().result()
        finally:
            self._compressor.shutdown(cancel_futures=True)

    def write_events(self, day: int, name: str, events: pl.DataFrame, strays: pl.DataFrame, texts: Texts) -> None:
        """Write what arrived on a day, in order of arrival: its events (sorted by `at`) and strays, see `dirt`."""
        strays = strays.sort("arrives", maintain_order=True)
        arrivals = strays["arrives"]
        part, room, file = 0, 0, None
        offset = passed = 0
        while offset < len(events) or passed < len(strays):
            if file is None or room <= 0:
                if file is not None:
                    self._submit(file.finish)
                part, room = part + 1, _LINES_PER_FILE
                path = f"{EVENTS}/{name}-{part}.ndjson.gz"
                file = _GzipFile(self._root / path)
            piece = events[offset : offset + _LINES_AT_ONCE]
            offset += len(piece)
            until = len(strays) if offset >= len(events) else int(arrivals.search_sorted(events["at"][offset], "left"))
            guests = strays[passed:until]
            passed = until
            text = lines(fragments(piece, texts))
            if len(guests):
                arrived = pl.concat([piece["at"], guests["arrives"]]).arg_sort()
                text = pl.concat([text, stray_lines(guests)])[arrived]
            self._tally.clean(path, day, len(piece))
            self._tally.judged(path, guests)
            room -= len(text)
            self._submit(file.write, _encode(text))
        if file is not None:
            self._submit(file.finish)

    def write_changes(self, name: str, table: str, rows: pl.DataFrame) -> None:
        """Write a table's change rows of one day; columns of milliseconds become ISO timestamps."""
        self._tally.changed(table, rows["operation"])
        self.write_rows(name, table, rows)

    def write_rows(self, name: str, folder: str, rows: pl.DataFrame) -> None:
        """The same without counting; structs become nested objects."""
        times = [column for column in rows.columns if column.endswith("_at") or column == "last_active"]
        text = BytesIO()
        rows.with_columns(iso(column).alias(column) for column in times).write_ndjson(text)
        file = _GzipFile(self._root / folder / f"{name}-1.ndjson.gz")
        self._submit(file.write, text)
        self._submit(file.finish)

    def _submit(self, work: Callable[..., None], *given: BytesIO) -> None:
        """Do work in the compressing thread, in order. An error there surfaces here, a few pieces later."""
        self._pieces.append(self._compressor.submit(work, *given))
        while len(self._pieces) > _WAITING:
            self._pieces.popleft().result()


class _GzipFile:
    """One file in the making, under a hidden name until finished. Opened by the first write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}")
        self._gzip = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _GZIP, _MEMORY)
        self._file: BinaryIO | None = None

    def write(self, text: BytesIO) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
        self._file.write(self._gzip.compress(text.getbuffer()))

    def finish(self) -> None:
        assert self._file is not None, "a file is begun with its first line"
        self._file.write(self._gzip.flush())
        self._file.close()
        self._temporary.rename(self._path)


def _encode(text: pl.DataFrame) -> BytesIO:
    """One column of lines as bytes, as it stands: 105 ns a line, twice that in larger batches."""
    buffer = BytesIO()
    text.write_csv(buffer, include_header=False, quote_style="never", batch_size=8192)
    return buffer
