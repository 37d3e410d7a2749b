"""What lies under landing and is not taken in, each with its reason: for whoever looks, and for checks.
Belongs here: collecting it, and whether it was judged. Not here: what a file must be like (landing_files,
compressed_lines, growth)."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_platform.core.durable import write_durably
from data_platform.sources.compressed_lines import SUFFIXES
from data_platform.sources.growth import Followed
from data_platform.sources.landing_files import QUARANTINE, Unread, unsettled, visible_files
from data_platform.sources.landing_source import LandingSource

JUDGED = "_unread_judged"
"""Of the landing folder: the digest of what lay there unread when the check was asked last."""
MOST_NAMED = 20
"""Files named in a message."""
UNREAD_REMEDY = (
    "landing takes .ndjson and .jsonl, plain, .gz or .zst, in the folder of a source. "
    "Move it there, or bring it in with `data-platform ingest --mapping`."
)


def unread_files(root: Path, sources: Sequence[LandingSource]) -> list[Unread]:
    """Files of an unknown kind, in no source's folder, or unreadable; and what was read and refused."""
    unread = [*_strange(root, sources), *refused_files(root, sources)]
    return sorted(unread, key=lambda one: one.path)


def settled_unread_files(root: Path, sources: Sequence[LandingSource]) -> list[Unread]:
    """The same without what changed a moment ago: it may be a file that is being copied under another name."""
    unread = unread_files(root, sources)
    moving = set(unsettled([one.path for one in unread], time.time()))
    return [one for one in unread if one.path not in moving]


def is_news(root: Path, unread: Sequence[Unread]) -> bool:
    """Whether other things lie unread than when that was judged last."""
    try:
        judged = (root / JUDGED).read_text()
    except FileNotFoundError:
        judged = digest_of(root, [])
    return judged != digest_of(root, unread)


def note_judged(root: Path, unread: Sequence[Unread]) -> None:
    """Remember what lay unread when it was judged."""
    if is_news(root, unread):
        write_durably(root / JUDGED, digest_of(root, unread).encode())


def digest_of(root: Path, unread: Sequence[Unread]) -> str:
    text = "\n".join(one.in_words(root) for one in unread)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _strange(root: Path, sources: Sequence[LandingSource]) -> Iterator[Unread]:
    folders = {root / source.name for source in sources}
    linked = {folder for folder in folders if folder.is_symlink() and folder.is_dir()}
    for top in (root, *sorted(linked)):  # a source's folder may lie on another disk
        for path, why in visible_files(top):
            in_folder = any(parent in folders for parent in path.parents)
            if path in linked and path != top:
                continue
            if why is not None:
                yield Unread(path, why)
            elif in_folder != (path.suffix in SUFFIXES):
                yield Unread(path, "it is of another kind" if in_folder else "it is in no folder of a source")


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
