"""What a batch takes in, written down before anything is done: every attempt sees the same files and the same clock.
Belongs here: plans as data and the names of their files. Not here: making or carrying them out (landing, replay)."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_platform.sources.landing_files import INGESTED, shown
from data_platform.sources.segments import Segment


class FileProblem(Exception):
    """A file of the batch that cannot be taken in: its number among the batch's files, why, and whether it ever can."""

    def __init__(self, number: int, reason: str, for_good: bool = False) -> None:
        super().__init__(reason)
        self.number, self.reason, self.for_good = number, reason, for_good


@dataclass(frozen=True)
class PlannedFile:
    """A file, or what was appended to one that is taken in already: `bytes` of it from `start` on."""

    path: str
    """Relative to the landing folder."""
    digest: str
    bytes: int
    changed_ns: int | None = None
    """When it was last changed; None in the plans of earlier versions."""
    start: int = 0
    segment: Segment | None = None
    """What it says of itself, if it is a segment."""

    @property
    def appended(self) -> bool:
        """Whether it is a part of a file that was put away, which grew there."""
        return self.path.startswith(f"{INGESTED}/")

    @property
    def name(self) -> str:
        """As it is shown: of an appended part with the place where it begins. A file that was put away is called as it
        was before: `BATCH-DIGEST-` is ours."""
        name = Path(self.path).name
        return f"{name.split('-', 2)[2]}@{self.start}" if self.appended else shown(name)


@dataclass(frozen=True)
class Plan:
    """What a batch does. Only files that can be read no more are taken out, and only before its first commit."""

    batch: int
    received_at: dt.datetime
    files: tuple[PlannedFile, ...]
    replays: bool = False
    """Moves rejected lines instead of taking in files; what exactly lies beside the plan (see `replay`)."""
    withdraws: tuple[tuple[str, int], ...] = ()
    """Takes these files out again: their digests, each with the batch that took it in (see `withdrawal`)."""

    def to_json(self) -> str:
        files = [
            [f.path, f.digest, f.bytes, f.changed_ns, f.start, *([asdict(f.segment)] if f.segment else [])]
            for f in self.files
        ]
        document = {"batch": self.batch, "received_at": self.received_at.isoformat(), "files": files}
        replays = {"replays": True} if self.replays else {}
        return json.dumps(document | replays | ({"withdraws": self.withdraws} if self.withdraws else {}))

    @staticmethod
    def from_json(text: str) -> Plan:
        document: dict[str, Any] = json.loads(text)
        files = tuple(_planned(*file) for file in document["files"])
        withdraws = tuple((digest, batch) for digest, batch in document.get("withdraws", ()))
        return Plan(
            document["batch"],
            dt.datetime.fromisoformat(document["received_at"]),
            files,
            document.get("replays", False),
            withdraws,
        )

    def names(self) -> list[str]:
        """A name for each file, unlike those of the others in the batch: with the time of receipt it tells whose a row
        is. Files of one name in several folders are told apart by their folders."""
        seen = Counter(file.name for file in self.files)
        return [file.name if seen[file.name] == 1 else shown(file.path) for file in self.files]


def _planned(
    path: str,
    digest: str,
    size: int,
    changed_ns: int | None = None,
    start: int = 0,
    segment: dict[str, Any] | None = None,
) -> PlannedFile:
    return PlannedFile(path, digest, size, changed_ns, start, Segment.of(segment) if segment else None)
