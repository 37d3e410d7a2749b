"""What workers say of themselves, for whoever looks: one small file each, under the home.
Belongs here: writing and reading these, whether a worker lives. Not here: what it does (process), how it is shown."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_platform.sources.connectors import StreamState

LOCK = "lock"
"""Shared by all workers of a home; whoever cannot have it alone knows that one lives."""


@dataclass(frozen=True)
class SectionState:
    """One section of the sources file, as a worker sees it."""

    title: str
    problem: str | None = None
    """What went wrong last, until it goes well again."""
    problem_since: dt.datetime | None = None
    streams: Sequence[StreamState] = ()
    looked_at: dt.datetime | None = None
    """When it was read successfully last."""


@dataclass(frozen=True)
class WorkerState:
    """One worker: since when, what it took in, each section."""

    started_at: dt.datetime
    batches: int = 0
    lines: int = 0
    ingestion_problem: str | None = None
    dagster_problem: str | None = None
    sections: Mapping[str, SectionState] = field(default_factory=dict)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class StateFile:
    """The file of this process: replaced as a whole, gone when the worker ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}.json"

    def write(self, state: WorkerState) -> None:
        """Not synced: it is true only as long as the process lives."""
        temporary = self.path.with_name(f".{uuid.uuid4().hex}")
        temporary.write_text(json.dumps(asdict(state), default=_as_text))
        temporary.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def living(folder: Path) -> Iterator[StateFile]:
    """While inside, everybody can see that a worker lives; files of those that died are cleared away."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in _files(folder):
        if not _lives(left):
            left.unlink(missing_ok=True)
    file = StateFile(folder)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield file
        finally:
            file.remove()


def worker_lives(folder: Path) -> bool:
    """Whether a worker of this home runs on this machine."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def gone_since(folder: Path) -> dt.datetime | None:
    """When the last sign of life of a worker of this machine was that ended without being asked to: killed, or with the
    machine. None where there is none such, and as soon as another worker has started."""
    left = [path for path in _files(folder) if path.stem.rpartition("-")[0] == socket.gethostname()]
    if worker_lives(folder):  # by the lock: after a restart of the machine others have the numbers of its processes
        left = [path for path in left if not _lives(path)]
    with contextlib.suppress(FileNotFoundError):
        return max((dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC) for path in left), default=None)
    return None


def worker_states(folder: Path) -> list[WorkerState]:
    """What the living workers say."""
    found = []
    for path in _files(folder):
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):  # gone, or of another version
            if _lives(path):
                found.append(_state(json.loads(path.read_text())))
    return found


def section_states(folder: Path) -> dict[str, SectionState]:
    """Title → the newest that any living worker says of a section."""
    found: dict[str, SectionState] = {}
    for worker in worker_states(folder):
        for title, state in worker.sections.items():
            if title not in found or _age(state) > _age(found[title]):
                found[title] = state
    return found


def _age(state: SectionState) -> dt.datetime:
    return state.looked_at or dt.datetime.min.replace(tzinfo=dt.UTC)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _lives(path: Path) -> bool:
    host, _, pid = path.stem.rpartition("-")
    if host != socket.gethostname():
        return True  # it cannot be asked
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _state(said: Mapping[str, Any]) -> WorkerState:
    sections = {title: _section(one) for title, one in said["sections"].items()}
    return WorkerState(**{**said, "started_at": _moment(said["started_at"]), "sections": sections})


def _section(said: Mapping[str, Any]) -> SectionState:
    moments = {name: _moment(said[name]) for name in ("problem_since", "looked_at")}
    streams = [StreamState(**{**one, "watermark": _moment(one["watermark"])}) for one in said["streams"]]
    return SectionState(**{**said, **moments, "streams": streams})


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None


def _as_text(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
