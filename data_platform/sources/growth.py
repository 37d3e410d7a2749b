"""Files that were put away and may still grow: a writer that keeps one open writes into it wherever it lies.
Belongs here: how much of each is taken in, and finding what came later. Not here: taking it in (landing)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from data_platform.core.durable import write_durably
from data_platform.sources.compressed_lines import LONGEST_LINE, open_regular
from data_platform.sources.landing_files import BLOCK_BYTES, INGESTED, SETTLE_SECONDS, Unread, changed_at

FOLLOWED_SECONDS = 24 * 3600
"""A file is looked at for so long after its last change."""
MOST_FOLLOWED = 5_000
"""Of the newest ones: a look costs 2 µs a file, and the sensor looks every ten seconds."""
MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}


@dataclass(frozen=True)
class Grown:
    """What was appended to a file that was put away, in whole lines unless the writer has paused."""

    name: str
    start: int
    bytes: int
    changed_ns: int


class Followed:
    """Put-away files of one landing folder, by name, with how many bytes of each are taken in."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "_plans" / "followed"
        self._ingested = folder / INGESTED
        try:
            self._taken: dict[str, int] = json.loads(self._file.read_text())
        except FileNotFoundError:
            self._taken = {}

    def take(self, taken: dict[str, int]) -> None:
        """Remember durably how far these are taken in; forget those that have not changed for a day."""
        if not taken:
            return
        self._taken |= taken
        since = time.time() - FOLLOWED_SECONDS
        changed = {name: changed_at(self._ingested / name) for name in self._taken}
        newest = sorted((name for name, at in changed.items() if at > since), key=lambda name: changed[name])
        self._taken = {name: self._taken[name] for name in newest[-MOST_FOLLOWED:]}
        write_durably(self._file, json.dumps(self._taken).encode())

    def forget(self, names: set[str]) -> None:
        if names & self._taken.keys():
            self._taken = {name: taken for name, taken in self._taken.items() if name not in names}
            write_durably(self._file, json.dumps(self._taken).encode())

    def rest(self, path: Path, file: BinaryIO, stored: int) -> tuple[int, int]:
        """From where to where a file was taken in beyond what is `stored`; what came later is found by `grown`."""
        end = self._taken.get(path.name, os.fstat(file.fileno()).st_size)
        if end <= stored:
            return stored, stored
        return (stored if path.suffix in MAGIC else _start_of_line(file, stored)), end

    def grown(self) -> list[Grown]:
        """What was appended and can be taken in."""
        return [found for found, _ in self._looks() if found]

    def unreadable(self) -> list[Unread]:
        """Compressed files that grew in the middle of a stream: what was appended cannot be read by itself."""
        return [unread for _, unread in self._looks() if unread]

    def _looks(self) -> Iterator[tuple[Grown | None, Unread | None]]:
        now = time.time()
        for name, taken in self._taken.items():
            path = self._ingested / name
            try:
                if path.lstat().st_size <= taken:
                    continue
                with open_regular(path) as file:
                    stat = os.fstat(file.fileno())
                    magic = MAGIC.get(path.suffix)
                    if magic is not None:
                        file.seek(taken)
                        if file.read(len(magic)) != magic:
                            yield None, Unread(path, "it grew after it was taken in; put the whole file into landing")
                            continue
                        start, end = taken, stat.st_size
                    else:
                        start = _start_of_line(file, taken)
                        paused = not 0 <= now - stat.st_mtime < SETTLE_SECONDS
                        end = stat.st_size if paused else _end_of_line(file, start, stat.st_size)
            except OSError:
                continue
            if end > start:
                yield Grown(name, start, end - start, stat.st_mtime_ns), None


def _start_of_line(file: BinaryIO, taken: int) -> int:
    """Where what came after `taken` begins. A line that was taken in without its end is rejected by then: it is read
    again as a whole. If only its line break was missing, it is not."""
    begin = max(0, taken - LONGEST_LINE)
    start = _behind_last_break(file, begin, taken)
    if start == taken:
        return taken
    file.seek(taken)
    after = file.read(2)
    for line_break in (b"\n", b"\r\n"):
        if after.startswith(line_break):
            return taken + len(line_break)
    return start


def _end_of_line(file: BinaryIO, start: int, size: int) -> int:
    """Behind the last line break before `size`, or `start` for none in the last stretch."""
    return _behind_last_break(file, max(start, size - LONGEST_LINE), size)


def _behind_last_break(file: BinaryIO, begin: int, end: int) -> int:
    """Behind the last line break between the two, or `begin` for none; looked for from the end, a piece at a time."""
    while end > begin:
        piece = max(begin, end - BLOCK_BYTES)
        file.seek(piece)
        found = file.read(end - piece).rfind(b"\n")
        if found >= 0:
            return piece + found + 1
        end = piece
    return begin
