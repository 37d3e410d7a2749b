"""What lies under landing and is not taken in, each with its reason: for whoever looks, and for checks.
Belongs here: collecting it. Not here: what a file must be like (landing_files, compressed_lines, growth)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from data_platform.sources.compressed_lines import SUFFIXES
from data_platform.sources.growth import Followed
from data_platform.sources.landing_files import QUARANTINE, Unread, visible_files
from data_platform.sources.landing_source import LandingSource

MOST_TOLD = 20
"""Files named in a message."""
UNREAD_REMEDY = (
    "landing takes .ndjson and .jsonl, plain, .gz or .zst, in the folder of a source. "
    "Move it there, or bring it in with `data-platform ingest --mapping`."
)


def unread_files(root: Path, sources: Sequence[LandingSource]) -> list[Unread]:
    """Files of an unknown kind, in no source's folder, or unreadable; and what was read and refused."""
    known = {source.name for source in sources}
    unread = []
    for path, why in visible_files(root):
        parts = path.relative_to(root).parts
        in_folder = len(parts) > 1 and parts[0] in known
        if why is not None:
            unread.append(Unread(path, why))
        elif in_folder != (path.suffix in SUFFIXES):
            unread.append(Unread(path, "it is of another kind" if in_folder else "it is in no folder of a source"))
    return sorted([*unread, *refused_files(root, sources)], key=lambda one: one.path)


def refused_files(root: Path, sources: Sequence[LandingSource]) -> list[Unread]:
    """What was read and not taken in: files in quarantine, and what was appended to a file and cannot be read."""
    folders = [root / source.name for source in sources]
    return [one for folder in folders for one in (*_quarantined(folder), *Followed(folder).unreadable())]


def _quarantined(folder: Path) -> list[Unread]:
    found = []
    for reason in sorted((folder / QUARANTINE).glob("*.reason")):
        with contextlib.suppress(FileNotFoundError):  # somebody takes it away just now
            found.append(Unread(reason.with_suffix(""), reason.read_text().strip()))
    return found
