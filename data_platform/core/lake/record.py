"""What this home last knew of its lake: which lake it is, and how far each table had come. A lake that is another
one, or that has gone back, is noticed before anything is read from it or written to it.
Not here: what is in the tables (store), whether their files are sound (operations/scrubbing)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_platform.core.errors import PlatformError

MARKER = "lake_id"
"""The file at the root of a lake that says which one it is."""
REMEDY = (
    "Mount or restore the right lake. If this one is meant, a restored backup for example, "
    "`data-platform lake accept` takes it as it is."
)


class LakeChanged(PlatformError):
    """The lake is not the one this home has written, or has lost commits."""


@dataclass(frozen=True)
class Standing:
    """A table at its newest commit: the id it was created with, and its version."""

    id: str
    version: int


class LakeRecord:
    """One small file per table, outside the lake. It is written after the commit it tells of has reached the disk, and
    is not synced itself: what a power cut takes of it is a table whose commits are not counted until the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lake_id(self) -> str | None:
        return self._read(MARKER).get("id")

    def know_lake(self, lake_id: str) -> None:
        self._write(MARKER, {"id": lake_id})

    def standing(self, key: str) -> Standing | None:
        recorded = self._read(_name(key))
        return Standing(recorded["id"], int(recorded["version"])) if recorded else None

    def note(self, key: str, standing: Standing) -> None:
        """Two writers may note in either order: what is known never goes back by itself."""
        known = self.standing(key)
        if known is None or known.id != standing.id or known.version < standing.version:
            self._write(_name(key), {"id": standing.id, "version": str(standing.version)})

    def keys(self) -> list[str]:
        return sorted(path.stem.replace(".", "/", 1) for path in self.folder.glob("*.json") if path.stem != MARKER)

    def forget(self) -> None:
        for path in self.folder.glob("*.json"):
            path.unlink()

    def require(self, root: str, key: str, known: Standing | None, found: Standing | None) -> None:
        """Raises LakeChanged when a table is not what it was: `found` is how it stands, None when it is not there.
        `known` was read before the table was: a writer may have gone on in between."""
        if known is None or (found is not None and found.id == known.id and found.version >= known.version):
            return
        if found is None:
            raise LakeChanged(f"{key} is not in the lake {root}, and was at version {known.version}.", REMEDY)
        if found.id != known.id:
            raise LakeChanged(f"{key} in the lake {root} is another table than the one that was written.", REMEDY)
        raise LakeChanged(
            f"{key} in the lake {root} has gone back to version {found.version} from {known.version}.", REMEDY
        )

    def require_lake(self, root: str, marker: str | None) -> None:
        """Raises LakeChanged when the lake's marker is not the one known; a lake nobody knows yet passes."""
        known = self.lake_id()
        if known is not None and marker != known:
            state = "has no marker" if marker is None else "bears the marker of another"
            raise LakeChanged(f"The lake {root} {state}: it is not the lake this home has written.", REMEDY)

    def _read(self, name: str) -> Mapping[str, str]:
        try:
            recorded = json.loads((self.folder / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return recorded if isinstance(recorded, dict) else {}

    def _write(self, name: str, recorded: Mapping[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{uuid.uuid4().hex}"
        temporary.write_text(json.dumps(recorded))
        temporary.replace(self.folder / f"{name}.json")


def _name(key: str) -> str:
    return key.replace("/", ".")
