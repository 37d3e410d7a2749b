"""Folders that last as long as one piece of work: they go when it ends, and when its process was killed, with the next
folder of their kind. Not here: anything that is to be kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch_folder(prefix: str, within: Path | None = None) -> Iterator[Path]:
    """An empty folder `<prefix>…` inside `within`, by default the machine's temporary directory.

    Its owner holds a lock on it, which dies with the process whatever kills it: a folder of the same prefix that nobody
    holds is a dead process's, and removed first.
    """
    base = within or Path(tempfile.gettempdir())
    for left in base.glob(f"{prefix}*"):
        _remove_unless_held(left)
    folder, lock = _held_folder(prefix, base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _held_folder(prefix: str, base: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # else another process took it for a dead one's before it was locked
            return folder, lock
        os.close(lock)


def _remove_unless_held(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's, or gone
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
