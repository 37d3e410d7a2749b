"""Where posted events are on the disk before anybody is told so: a file that is appended to, sealed as a segment soon
after. Belongs here: appending, sealing, what a crash left. Not here: who waits for it (intake), what is in a line.

A segment for each group of requests would be hundreds of files a second; a journal costs one `fdatasync` a group and
becomes a segment a few times a second. Its name says its first position, its lines are its positions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from data_platform.core.durable import sync_one
from data_platform.core.lake.store import Lake
from data_platform.sources.positions import positions
from data_platform.sources.segments import Segment, write_segment

FOLDER = "_journal"
"""Of a landing folder; ingestion does not look into it."""
ENDING = ".journal"


@dataclass(frozen=True)
class JournalFile:
    """A file of events that are acknowledged and not yet a segment."""

    path: Path
    stream: str
    begin: int

    def seal(self, standing: int = 0) -> int:
        """Make it a segment, unless the stream stands behind it already: then a crash came between segment and removal.
        Returns the first position behind it. Repeating the call is safe. Raises OSError."""
        text = whole_lines(self.path.read_bytes())
        end = self.begin + text.count(b"\n")
        if end > max(standing, self.begin):
            write_segment(self.path.parent.parent, self.stream, self.begin, end, text, runs=((1, self.begin),))
        self.path.unlink()
        return max(standing, end)


class Journal:
    """The journal of one stream, held by its writer (`positions.held`). Every method is called by one thread at a time
    and raises OSError; what failed may be called again."""

    def __init__(self, folder: Path, stream: str, position: int) -> None:
        self._folder, self._stream = folder / FOLDER, stream
        self.position = position
        """Of the next event."""
        self.bytes = 0
        """In the file that is open."""
        self._file: JournalFile | None = None
        self._descriptor = -1
        self._torn = False

    @staticmethod
    def recover(lake: Lake, folder: Path, stream: str) -> Journal:
        """Seal what a crash left of this stream, and go on behind it."""
        standing = positions(lake, folder).get(stream)
        position = standing.end if standing else 0
        for left in files_of(folder, stream):
            position = left.seal(position)
        return Journal(folder, stream, position)

    def append(self, lines: bytes, events: int) -> None:
        """Returns when the lines are on the disk. None of them counts if it raises."""
        if self._file is None:
            self._begin()
        self._mend()
        self._torn = True
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fdatasync(self._descriptor)
        self._torn = False
        self.bytes += len(lines)
        self.position += events

    def turn(self) -> JournalFile | None:
        """Close the file that is open, to be sealed; None if nothing is in it."""
        if self._file is None or not self.bytes:
            return None
        self._mend()
        os.close(self._descriptor)
        closed, self._file, self.bytes = self._file, None, 0
        return closed

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = JournalFile(self._folder / name_of(self._stream, self.position), self._stream, self.position)
        self._descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        try:
            sync_one(self._folder)
        except OSError:
            os.close(self._descriptor)
            raise
        self._file, self._torn = file, False

    def _mend(self) -> None:
        """Cut off what a failed append left: it was not acknowledged, and the next lines would continue it."""
        if self._torn:
            os.ftruncate(self._descriptor, self.bytes)
            os.fdatasync(self._descriptor)
            self._torn = False


def whole_lines(content: bytes) -> bytes:
    """What counts of a journal after a crash: lines up to the last that ends. After a power cut blocks that were never
    synced may read as zeros, which no line holds."""
    zeros = content.find(b"\0")
    written = content if zeros < 0 else content[:zeros]
    return written[: written.rfind(b"\n") + 1]


def name_of(stream: str, begin: int) -> str:
    return f"{Segment(stream, begin, begin, 0).file_name.partition('~')[0]}~{begin:020d}{ENDING}"


def files_of(folder: Path, stream: str) -> list[JournalFile]:
    """The journals of a stream in a landing folder, in order of position."""
    slug = name_of(stream, 0).partition("~")[0]
    parted = [(path, path.name.removesuffix(ENDING).rpartition("~")) for path in (folder / FOLDER).glob(f"*{ENDING}")]
    return [JournalFile(path, stream, int(begin)) for path, (whose, _, begin) in sorted(parted) if whose == slug]
