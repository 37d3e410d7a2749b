"""Files of lines, compressed or not, read as chunks of whole lines with their numbers.
Belongs here: decompression, damage, line boundaries. Not here: what a line means."""

from __future__ import annotations

import io
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import zstandard
from zlib_ng import zlib_ng

CHUNK_BYTES = 24 << 20
"""From 32 MB on the allocator gives every chunk back to the system: three times the page faults, a fifth more time."""
READ_BYTES = 1 << 17
"""Decompressed, about what the cache holds: a third faster than blocks of 1 MB."""
PART_BYTES = 1 << 18
"""Unpacked at a time: from 512 KB on, memory that is new to the process for each part costs as much as unpacking."""
ZSTD_STEP = 1 << 11
"""Packed bytes given to zstd at a time, which has no bound of its own: 2 KB of zeros unpack to 64 MB."""
CHUNK_LINES = 100_000
"""Very short lines fill memory by their number, not by their bytes: a rejected one takes some 150 bytes."""
LONGEST_LINE = 64 << 20
"""A longer line is rejected: no event is as long, and memory must not depend on what a sender writes."""
KEPT_OF_LONG_LINE = 1000
FREELY_UNPACKED, MOST_UNPACKED = 64 << 20, 200
"""Beyond so many bytes a file may not unpack to more than so many times its size. Real lines, each with an id of its
own, reach 20 times; zeros 1,000 times in gzip and 30,000 times in zstd."""
SUFFIXES = (".ndjson", ".jsonl", ".gz", ".zst")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineChunk:
    """Consecutive lines of one file: `text` holds them, each with its newline; `first` numbers the first, from 1."""

    first: int
    text: bytes

    def first_lines(self, count: int) -> list[bytes]:
        return list(itertools.islice(io.BytesIO(self.text), count))

    def table(self) -> tuple[pa.Table, list[tuple[int, bytes]]]:
        """(`line_number`, `line`) of every line that is valid UTF-8, and (number, bytes) of every line that is not."""
        # A quarter of the time numpy takes to look at every byte.
        lengths = map(len, io.BytesIO(self.text))
        offsets = np.fromiter(itertools.accumulate(lengths, initial=0), np.int64)
        count = len(offsets) - 1
        text, invalid = self.text, list[tuple[int, bytes]]()
        if not text.isascii() and not _is_utf8(text):
            lines = [text[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
            invalid = [(self.first + i, line) for i, line in enumerate(lines) if not _is_utf8(line)]
            keep = np.ones(len(lines), bool)
            keep[[number - self.first for number, _ in invalid]] = False
            numbers = np.flatnonzero(keep) + self.first
            column = pa.array(
                [line.decode() for line, kept in zip(lines, keep, strict=True) if kept], pa.large_string()
            )
        else:
            numbers = np.arange(self.first, self.first + count, dtype=np.int64)
            # No copy: the column is the chunk's own bytes plus offsets; a line keeps its newline, which JSON ignores.
            column = pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
        # Given numpy's array as it is, pyarrow first imports pandas where that is installed: 0.3 s of a process.
        numbered = pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers.astype(np.int64))])
        return pa.Table.from_arrays([numbered, column], names=["line_number", "line"]), invalid


@dataclass(frozen=True)
class LongLine:
    """A line longer than `LONGEST_LINE`: its number and how it begins."""

    number: int
    beginning: bytes


class FileRefused(Exception):
    """A file whose lines are not to be taken in; the text says why. What was read of it is to be forgotten."""


@dataclass
class LineFile:
    """One file, or `size` bytes of it from `start` on. After `chunks()` is exhausted, `damage` says what was wrong with
    the file as a whole, or is None. Memory does not depend on how long its lines are, nor on how well it is packed."""

    path: Path
    start: int = 0
    size: int | None = None
    damage: str | None = None

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[LineChunk | LongLine]:
        """Every line once, in order, also of a file that is cut short or broken in the middle: up to the damage.

        Raises FileRefused for a file that unpacks to far more than any real one, and OSError.
        """
        number, parts, size, lines, unended = 1, list[bytes](), 0, 0, 0
        beginning: bytes | None = None  # of a line that is too long, while its end is looked for
        for part in self._unpacked():
            end = part.find(b"\n")
            if beginning is None and unended + (end if end >= 0 else len(part)) > LONGEST_LINE:
                before = b"".join(parts)
                cut = before.rfind(b"\n") + 1
                if cut:
                    yield LineChunk(number, _without_mark(before[:cut], number))
                number += lines
                beginning = (before[cut:] + part[:KEPT_OF_LONG_LINE])[:KEPT_OF_LONG_LINE]
                parts, size, lines, unended = [], 0, 0, 0
            if beginning is not None:
                if end < 0:
                    continue
                yield LongLine(number, beginning)
                beginning = None
                number += 1
                part = part[end + 1 :]
            cut = part.rfind(b"\n") + 1
            size += len(part)
            lines += part.count(b"\n")
            unended = len(part) - cut if cut else unended + len(part)
            if not cut or (size < chunk_bytes and lines < CHUNK_LINES):
                parts.append(part)
                continue
            text = b"".join([*parts, memoryview(part)[:cut]])
            yield LineChunk(number, _without_mark(text, number))
            number += lines
            parts, size, lines = [part[cut:]], len(part) - cut, 0
        rest = b"".join(parts)
        if beginning is not None:
            yield LongLine(number, beginning)
        elif rest:
            yield LineChunk(number, _without_mark(rest if rest.endswith(b"\n") else rest + b"\n", number))

    def _unpacked(self) -> Iterator[bytes]:
        """The bytes, decompressed, in parts of bounded size."""
        with open_regular(self.path) as file:
            file.seek(self.start)
            if self.path.suffix == ".gz":
                yield from self._members(self._blocks(file), _GzipMember, zlib_ng.error, "gzip")
            elif self.path.suffix == ".zst":
                yield from self._members(self._blocks(file), _ZstdFrame, zstandard.ZstdError, "zstd")
            else:
                yield from self._blocks(file)

    def _blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """What was planned to be read, and nothing that was appended since."""
        left = self.size
        while block := file.read(READ_BYTES if left is None else min(READ_BYTES, left)):
            yield block
            left = left if left is None else left - len(block)

    def _members(self, blocks: Iterator[bytes], new: NewMember, error: Any, name: str) -> Iterator[bytes]:
        """Concatenated compressed members; stops at the first damage, keeping everything before it."""
        member = new()
        fresh = True
        packed = unpacked = 0
        for block in blocks:
            packed += len(block)
            while block:
                if fresh and not block.strip(b"\0"):
                    break  # zero padding after the last member is allowed by gzip
                try:
                    for part in member.decompress(block):
                        fresh = False
                        unpacked += len(part)
                        if unpacked > FREELY_UNPACKED and unpacked > MOST_UNPACKED * packed:
                            raise FileRefused(
                                f"it unpacks to more than {MOST_UNPACKED} times its size, as no real lines do"
                            )
                        yield part
                except error as problem:
                    self.damage = f"broken {name} data near byte {packed}: {problem}"
                    return
                fresh = False
                block = member.unused_data if member.eof else b""
                if member.eof:
                    member, fresh = new(), True
        if not fresh:
            self.damage = f"{name} stream cut short at byte {packed}"


class _Member(Protocol):
    """One gzip member or zstd frame, unpacked in parts of bounded size."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, block: bytes) -> Iterator[bytes]: ...


NewMember = Callable[[], _Member]


class _GzipMember:
    def __init__(self) -> None:
        self._member = zlib_ng.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, block: bytes) -> Iterator[bytes]:
        while block:
            if part := self._member.decompress(block, PART_BYTES):
                yield part
            elif self._member.eof:
                return
            block = self._member.unconsumed_tail


class _ZstdFrame:
    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def decompress(self, block: bytes) -> Iterator[bytes]:
        for at in range(0, len(block), ZSTD_STEP):
            part = self._frame.decompress(block[at : at + ZSTD_STEP])
            yield from (part[at : at + PART_BYTES] for at in range(0, len(part), PART_BYTES))
            if self._frame.eof:
                self.unused_data = self._frame.unused_data + block[at + ZSTD_STEP :]
                return


def is_compressed(path: Path) -> bool:
    return path.suffix in (".gz", ".zst")


def open_regular(path: Path) -> BinaryIO:
    """A regular file, opened to be read. Raises OSError for anything else, without waiting at the end of a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_mark(text: bytes, number: int) -> bytes:
    return text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text
