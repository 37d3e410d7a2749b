"""What lies in a landing folder: which files can be taken in, what cannot and why, under which names.
Belongs here: looking without reading lines, names, digests. Not here: batches (landing), what is in a file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from data_platform.sources.compressed_lines import SUFFIXES
from data_platform.sources.segments import is_segment

SETTLE_SECONDS = 2
"""A file must not have changed for this long before it is taken in: it may still be being written."""
INGESTED = "_ingested"
"""Files that were taken in, in the landing folder of their source."""
QUARANTINE = "_quarantine"
"""Files that were read and refused, each with its reason beside it."""
BLOCK_BYTES = 1 << 20
LONGEST_ENDING = 16
"""Bytes of a name that was too long that are kept at its end: `.ndjson.gz` and a number before it."""


@dataclass(frozen=True)
class Unread:
    """Something in landing that will not be taken in as it is, and why."""

    path: Path
    reason: str

    def in_words(self, root: Path) -> str:
        return f"{shown(self.path.relative_to(root))} ({self.reason})"


def pending_files(folder: Path) -> list[Path]:
    """Files waiting in a landing folder, in name order; hidden files and folders (being written, or ours) are not."""
    return sorted(path for path, why in visible_files(folder) if why is None and path.suffix in SUFFIXES)


def waiting_since(folder: Path) -> list[float]:
    """When each waiting file was put where it lies: a copied one may keep an old time of modification."""
    since = []
    for path in pending_files(folder):
        with contextlib.suppress(OSError):  # gone meanwhile
            since.append(path.lstat().st_ctime)
    return since


def unsettled(files: Iterable[Path], now: float) -> list[Path]:
    """Those that changed a moment ago, but for segments, which are whole when they are there. One from the future says
    nothing: the clock that wrote it is not ours."""
    return [path for path in files if not is_segment(path.name) and 0 <= now - changed_at(path) < SETTLE_SECONDS]


def wait_until_settled(folders: Iterable[Path]) -> list[Path]:
    """Wait for files that are being copied, once and not for long; those that still change then."""
    folders = list(folders)
    files = [path for folder in folders for path in pending_files(folder)]
    now = time.time()
    newest = max((changed_at(path) for path in unsettled(files, now)), default=None)
    if newest is not None:
        time.sleep(max(0.0, newest + SETTLE_SECONDS - now) + 0.01)
    return unsettled(files, time.time())


def changed_at(path: Path) -> float:
    """In seconds since 1970; 0 of a file that is gone."""
    try:
        return path.lstat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0


def visible_files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """(file, why it cannot be read, or None) at any depth, whose names and folders begin with neither `.` nor `_`.

    Such folders are not entered: what was ingested lies in one of them, hundreds of thousands of files after a year.
    Links are not followed: they would carry any file of the machine into the lake.
    """
    folders = [str(folder)]
    while folders:
        parent = folders.pop()
        try:
            with os.scandir(parent) as found:
                entries = [entry for entry in found if entry.name[0] not in "._"]
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Path(parent), _unreadable(error)
            continue
        if not entries and parent.endswith(SUFFIXES) and parent != str(folder):
            yield Path(parent), "it is a folder, and empty"
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                yield Path(entry.path), _why_unreadable(entry)


def _why_unreadable(entry: os.DirEntry[str]) -> str | None:
    if entry.is_symlink():
        return "it is a symbolic link"
    if not entry.is_file(follow_symlinks=False):
        return "it is no regular file"
    return None if os.access(entry.path, os.R_OK) else "it may not be read: Permission denied"


def _unreadable(error: OSError) -> str:
    return f"it may not be read: {error.strerror}"


def content_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, in hex: its identity, whatever its name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def part_digest(file: BinaryIO, start: int, most: int | None, whose: str = "") -> tuple[str, int]:
    """(digest, bytes) of a file from `start` on, of `most` bytes where given. `whose` tells equal parts of other files
    apart."""
    found = hashlib.blake2b(whose.encode(), digest_size=16)
    file.seek(start)
    done = 0
    while block := file.read(BLOCK_BYTES if most is None else min(BLOCK_BYTES, most - done)):
        found.update(block)
        done += len(block)
    return found.hexdigest(), done


def shown(path: Path | str) -> str:
    """A path as text of one line: bytes that are no UTF-8 and characters that cannot be seen are written as escapes."""
    text = os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fitting(prefix: str, name: str, folder: Path, spare: int = 0) -> str:
    """The two together as a name that the folder can hold: of a name that is too long, the middle is left out."""
    room = os.pathconf(folder, "PC_NAME_MAX") - len(prefix) - spare
    whole = name.encode()
    if len(whole) > room:
        ends = whole[: room - LONGEST_ENDING - 1], whole[-LONGEST_ENDING:]
        name = "~".join(end.decode(errors="ignore") for end in ends)
    return prefix + name
