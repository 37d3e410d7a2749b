"""Files of lines, compressed or not, read as chunks of whole lines with their numbers.
Belongs here: decompression, damage, line boundaries. Not here: what a line means."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import zstandard
from zlib_ng import zlib_ng

CHUNK_BYTES = 24 << 20
"""From 32 MB on the allocator gives every chunk back to the system: three times the page faults, a fifth more time."""
READ_BYTES = 1 << 17
"""Decompressed, about what the cache holds: a third faster than blocks of 1 MB."""
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
        return pa.table({"line_number": numbers.astype(np.int64), "line": column}), invalid


@dataclass
class LineFile:
    """One file. After `chunks()` is exhausted, `damage` says what was wrong with the file as a whole, or is None."""

    path: Path
    damage: str | None = None

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[LineChunk]:
        """Every line once, in order, also of a file that is cut short or broken in the middle: up to the damage."""
        number, parts, size = 1, list[bytes](), 0
        for part in self._decompressed():
            size += len(part)
            cut = part.rfind(b"\n") + 1
            if size < chunk_bytes or not cut:
                parts.append(part)
                continue
            text = b"".join([*parts, memoryview(part)[:cut]])
            yield LineChunk(number, _without_mark(text, number))
            number += text.count(b"\n")
            parts, size = [part[cut:]], len(part) - cut
        rest = b"".join(parts)
        if rest:
            yield LineChunk(number, _without_mark(rest if rest.endswith(b"\n") else rest + b"\n", number))

    def _decompressed(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            if self.path.suffix == ".gz":
                yield from self._members(file, lambda: zlib_ng.decompressobj(wbits=31), zlib_ng.error, "gzip")
            elif self.path.suffix == ".zst":
                decompressor = zstandard.ZstdDecompressor()
                yield from self._members(file, decompressor.decompressobj, zstandard.ZstdError, "zstd")
            else:
                while part := file.read(READ_BYTES):
                    yield part

    def _members(self, file: io.BufferedReader, new: Any, error: Any, name: str) -> Iterator[bytes]:
        """Concatenated compressed members; stops at the first damage, keeping everything before it."""
        member: _Decompressor = new()
        fresh = True
        while block := file.read(READ_BYTES):
            while block:
                if fresh and not block.strip(b"\0"):
                    break  # zero padding after the last member is allowed by gzip
                try:
                    part = member.decompress(block)
                except error as problem:
                    self.damage = f"broken {name} data near byte {file.tell()}: {problem}"
                    return
                fresh = False
                if part:
                    yield part
                block = member.unused_data if member.eof else b""
                if member.eof:
                    member, fresh = new(), True
        if not fresh:
            self.damage = f"{name} stream cut short at byte {file.tell()}"


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_mark(text: bytes, number: int) -> bytes:
    return text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text
