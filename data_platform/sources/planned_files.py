"""The files of a landing folder that plans name: as they wait, as they were planned, and where they are put afterwards.
Belongs here: opening, comparing and moving them. Not here: what waits and why not (landing_files), batches and commits
(landing)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from data_platform.core import durable
from data_platform.core.durable import write_durably
from data_platform.sources.batch_plan import FileProblem, Plan, PlannedFile
from data_platform.sources.compressed_lines import is_compressed, open_regular
from data_platform.sources.growth import Followed
from data_platform.sources.landing_files import (
    INGESTED,
    QUARANTINE,
    fitting,
    part_digest,
    pending_files,
    unsettled,
)
from data_platform.sources.segments import NoSegment, is_segment, segment_in

WITHDRAWN = "_withdrawn"
SPARE_BYTES = 12
"""Of a name, for the temporary one that a file is written under."""


class PlannedFiles:
    """The files of one landing folder. Whoever moves them holds the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ingested = folder / INGESTED

    def waiting(self, settle: bool) -> Iterator[PlannedFile]:
        """What can be taken in, with its digest: appended parts first, then files by name. What cannot be opened is
        left where it lies."""
        for grown in Followed(self.folder).grown():
            part = PlannedFile(f"{INGESTED}/{grown.name}", "", grown.bytes, grown.changed_ns, grown.start)
            with contextlib.suppress(OSError):
                yield self._digested(self.folder / part.path, part)
        waiting = pending_files(self.folder)
        moving = set(unsettled(waiting, time.time())) if settle else set()
        for path in waiting:
            if path not in moving:
                with contextlib.suppress(OSError):
                    yield self._digested(path, PlannedFile(str(path.relative_to(self.folder)), "", 0))

    def _digested(self, path: Path, file: PlannedFile) -> PlannedFile:
        with open_regular(path) as opened:
            changed = os.fstat(opened.fileno()).st_mtime_ns
            digest, length = part_digest(opened, file.start, file.bytes if file.appended else None, _whose(file))
            file = replace(file, digest=digest, bytes=length, changed_ns=changed)
            if is_segment(path.name) and not file.appended:
                with contextlib.suppress(NoSegment):  # told when the batch reads it
                    return replace(file, segment=segment_in(opened))
        return file

    def unchanged(self, plan: Plan) -> list[Path]:
        """Where the planned files lie, with what was planned in them. Raises FileProblem naming the first of which that
        is not so."""
        paths = []
        for number, file in enumerate(plan.files):
            try:
                path = self._located(plan, file)
                same = self._is_unchanged(path, file)
            except FileNotFoundError:
                raise FileProblem(number, "it has vanished") from None
            except OSError as error:
                raise FileProblem(number, error.strerror or str(error)) from None
            if not same:
                raise FileProblem(number, "it changed while it was taken in; it is taken in when it is whole")
            paths.append(path)
        return paths

    def _is_unchanged(self, path: Path, file: PlannedFile) -> bool:
        """Whether the planned bytes are still these. More may follow them, but not in the middle of a compressed
        stream: that is one thing, and is read when it is whole."""
        with open_regular(path) as opened:
            stat = os.fstat(opened.fileno())
            end = file.start + file.bytes
            if stat.st_size < end:
                return False
            if file.changed_ns in (None, stat.st_mtime_ns):
                return True
            if stat.st_size > end and not file.appended and is_compressed(path):
                return False
            return part_digest(opened, file.start, file.bytes, _whose(file)) == (file.digest, file.bytes)

    def _located(self, plan: Plan, file: PlannedFile) -> Path:
        """The planned file, also when a killed `finish` had already put it away."""
        path = self.folder / file.path
        if os.path.lexists(path):
            return path
        beginning = f"{plan.batch:08d}-{file.digest[:12]}-"
        with contextlib.suppress(FileNotFoundError), os.scandir(self.ingested) as found:
            for entry in found:
                if entry.name.startswith(beginning):
                    return Path(entry.path)
        raise FileNotFoundError(path)

    def put_away(self, batch: int, files: Sequence[PlannedFile]) -> dict[str, int]:
        """Move files to where ingested ones lie. One that has other content by now is another file, and stays. Name →
        how many of its bytes are taken in."""
        self.ingested.mkdir(parents=True, exist_ok=True)
        taken: dict[str, int] = {}
        for file in files:
            path = self.folder / file.path
            if file.appended:
                taken[path.name] = file.start + file.bytes
                continue
            target = self.ingested / fitting(f"{batch:08d}-{file.digest[:12]}-", file.name, self.ingested)
            with contextlib.suppress(OSError):  # gone, or put away before
                if self._is_unchanged(path, file):
                    path.rename(target)
            if os.path.lexists(target) and not file.segment:  # which is whole: nobody writes on in it
                taken[target.name] = file.bytes
        # Before the plan goes: a file without one that is back in landing is known by its digest.
        left = {(self.folder / file.path).parent for file in files} | {self.folder, self.ingested}
        durable.sync([], [folder for folder in left if folder.is_dir()])
        return taken

    def set_aside(self, plan: Plan) -> set[str]:
        """Move the files that a plan withdraws from the ingested ones; their names."""
        beginnings = tuple(f"{batch:08d}-{digest[:12]}-" for digest, batch in plan.withdraws)
        if not beginnings or not self.ingested.exists():
            return set()
        withdrawn = self.folder / WITHDRAWN
        withdrawn.mkdir(exist_ok=True)
        names = {name for name in os.listdir(self.ingested) if name.startswith(beginnings)}
        for name in names:
            (self.ingested / name).rename(withdrawn / name)
        return names

    def quarantine(self, file: PlannedFile, reason: str) -> None:
        """Put a file that will never be taken in aside, its reason beside it."""
        quarantine = self.folder / QUARANTINE
        quarantine.mkdir(parents=True, exist_ok=True)
        name = fitting(f"{file.digest[:12]}-", file.name, quarantine, spare=len(".reason") + SPARE_BYTES)
        write_durably(quarantine / f"{name}.reason", f"{reason}\n".encode())
        with contextlib.suppress(FileNotFoundError):
            (self.folder / file.path).rename(quarantine / name)


def _whose(file: PlannedFile) -> str:
    """What tells an appended part from an equal one of another file."""
    return f"{file.path}@{file.start}" if file.appended else ""
