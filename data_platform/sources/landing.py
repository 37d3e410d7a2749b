"""Landing folders → raw tables, exactly once, whatever is killed when.
Belongs here: batches, their durable plans, and the order of commits. Not here: parsing, Dagster.

A batch is planned durably (which files, when received), then committed to the raw, rejected and ledger tables. Each
commit carries the batch number and is refused unless the table stands at the batch before; so a batch that was cut
short anywhere is taken up again from its plan, and tables that have it already skip it."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from data_platform.core.contract import Table
from data_platform.core.lake import Commit, Lake, Position, Snapshot, StagedFile
from data_platform.core.received import IngestionLedger
from data_platform.sources.compressed_lines import SUFFIXES, LineFile
from data_platform.sources.landing_source import HEARTBEAT, LandingSource
from data_platform.sources.line_parser import LineParser, ParsedChunk, Received

PLANS = "_plans"
BATCH_BYTES = 1 << 30
STAGE_ROWS = 1_000_000
"""Rows collected before Parquet is written: about 0.5 GB, and one file per day and million rows."""
MOST_TOLD = 20
"""Files named in a message."""
UNREAD_REMEDY = (
    "landing takes .ndjson and .jsonl, plain, .gz or .zst, in the folder of a source. "
    "Move it there, or bring it in with `data-platform ingest --mapping`."
)

Progress = Callable[[str, int, int], None]
"""Called with (source, bytes done, bytes in all)."""


@dataclass(frozen=True)
class PlannedFile:
    path: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a batch takes in. Written once and never changed: every attempt sees the same files and the same clock."""

    batch: int
    received_at: dt.datetime
    files: tuple[PlannedFile, ...]
    replays: bool = False
    """Moves rejected lines instead of taking in files; what exactly lies beside the plan (see `replay`)."""

    def to_json(self) -> str:
        files = [[f.path, f.digest, f.bytes] for f in self.files]
        told = {"batch": self.batch, "received_at": self.received_at.isoformat(), "files": files}
        return json.dumps(told | ({"replays": True} if self.replays else {}))

    @staticmethod
    def from_json(text: str) -> Plan:
        told: dict[str, Any] = json.loads(text)
        files = tuple(PlannedFile(*file) for file in told["files"])
        return Plan(told["batch"], dt.datetime.fromisoformat(told["received_at"]), files, told.get("replays", False))


@dataclass
class BatchResult:
    """What a batch did. `days` and `rejected_days` are the partitions of the raw and rejected table it touched."""

    source: LandingSource
    plan: Plan
    ledger: pl.DataFrame
    days: dict[str, int] = field(default_factory=dict)
    rejected_days: dict[str, int] = field(default_factory=dict)
    commits: dict[type[Table], Commit] = field(default_factory=dict)
    """What this attempt committed; a table that an earlier attempt had committed is not among them."""

    @property
    def received(self) -> int:
        return int(self.ledger["received_lines"].sum())

    @property
    def stored(self) -> int:
        return int(self.ledger["stored_lines"].sum())

    @property
    def rejected(self) -> int:
        return int(self.ledger["rejected_lines"].sum())


def pending_files(folder: Path) -> list[Path]:
    """Files waiting in a landing folder, in name order; hidden files and folders (being written, or ours) are not."""
    return sorted(path for path in _visible_files(folder) if path.suffix in SUFFIXES)


def _visible_files(folder: Path) -> Iterator[Path]:
    """Files at any depth whose names and folders begin with neither `.` nor `_`. Such folders are not entered: what was
    ingested lies in one of them, hundreds of thousands of files after a year."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] not in "._"]
        visible = (Path(parent, name) for name in names if name[0] not in "._")
        yield from (path for path in visible if path.is_file())


def has_unfinished_plan(folder: Path) -> bool:
    """Whether a batch of a landing folder was written down and not carried out to its end."""
    return any((folder / PLANS).glob("*.json"))


def unread_files(root: Path, sources: Sequence[LandingSource]) -> list[Path]:
    """Files under landing that nothing will take in: of an unknown kind, or in no source's folder."""
    known = {source.name for source in sources}
    unread = []
    for path in _visible_files(root):
        parts = path.relative_to(root).parts
        in_folder = len(parts) > 1 and parts[0] in known
        if in_folder != (path.suffix in SUFFIXES):
            unread.append(path)
    return sorted(unread)


def content_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, in hex: its identity, whatever its name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class Landing:
    """One landing folder. Only one process at a time takes in its files; a lock says so and dies with the process."""

    def __init__(self, source: LandingSource, root: Path, lake: Lake, parser: LineParser) -> None:
        self.source = source
        self.folder = root / source.name
        self.lake = lake
        self.parser = parser
        self.plans = self.folder / PLANS
        self.ingested = self.folder / "_ingested"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for, then hold the folder."""
        self.plans.mkdir(parents=True, exist_ok=True)
        with (self.plans / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def batches(self, limit_files: int = 10_000) -> Iterator[Plan]:
        """Plans to carry out, oldest first: what was interrupted, then new ones while files wait. Hold the lock."""
        left = limit_files
        while plan := self.unfinished() or (self._new_plan(left) if left > 0 else None):
            left -= len(plan.files)
            yield plan

    def commit(self, plan: Plan, progress: Progress | None = None) -> BatchResult:
        """Store the batch. Safe to repeat after an interruption: what is committed stays, what is not is done again."""
        staged: list[StagedFile] = []
        staged_rejected: list[StagedFile] = []
        buffers: dict[type[Table], list[pl.DataFrame]] = {self.source.table: [], self.source.rejected: []}
        positions = {table: self.lake.position(table, self.source.name) for table in (*buffers, IngestionLedger)}
        todo = [table for table, position in positions.items() if (position or 0) < plan.batch]
        result = BatchResult(self.source, plan, IngestionLedger.empty())

        def flush(at_least: int) -> None:
            for table, into in ((self.source.table, staged), (self.source.rejected, staged_rejected)):
                if sum(map(len, buffers[table])) >= at_least:
                    frame = pl.concat(buffers[table]) if buffers[table] else table.empty()
                    buffers[table] = []
                    if table in todo:
                        into += self.lake.stage(table, frame)

        files = [LineFile(self._located(file)) for file in plan.files]
        entries = [self._ledger_entry(plan, file) for file in plan.files]
        total = sum(file.bytes for file in plan.files)
        for number, parsed in self._parsed(plan, files):
            _count(entries[number], result, self.source, parsed)
            buffers[self.source.table].append(parsed.rows)
            buffers[self.source.rejected].append(parsed.rejected)
            flush(STAGE_ROWS)
            if progress:
                progress(self.source.name, sum(file.bytes for file in plan.files[:number]), total)
        for entry, line_file in zip(entries, files, strict=True):
            entry["damage"] = line_file.damage
        flush(0)
        result.ledger = pl.DataFrame(entries, schema=IngestionLedger.schema())
        everything = {
            self.source.table: staged,
            self.source.rejected: staged_rejected,
            IngestionLedger: self.lake.stage(IngestionLedger, result.ledger),
        }
        for table in todo:
            position = Position(self.source.name, positions[table], plan.batch)
            metadata = {"batch": str(plan.batch)}
            result.commits[table] = self.lake.publish(table, everything[table], position=position, metadata=metadata)
        return result

    def finish(self, plan: Plan) -> None:
        """Put the batch's files away and forget its plan; call it once everyone who must know of the batch does."""
        self.ingested.mkdir(parents=True, exist_ok=True)
        for file in plan.files:
            path = self.folder / file.path
            with contextlib.suppress(FileNotFoundError):
                path.rename(self.ingested / f"{plan.batch:08d}-{file.digest[:12]}-{path.name}")
        # Under the lock there is one plan at a time: frames of any other were written by a process that died over it.
        for beside in sorted(self.plans.glob("*.parquet*")):
            beside.unlink()
        self._plan_path(plan.batch).unlink(missing_ok=True)

    def write_replay_plan(self, beside: Mapping[str, pl.DataFrame]) -> Plan:
        """A durable plan with the frames it moves beside it; `unfinished` must be None. Hold the lock."""
        batch = self._next_batch(self.lake.snapshot(IngestionLedger))
        plan = Plan(batch, dt.datetime.now(dt.UTC), (), replays=True)
        for name, frame in beside.items():
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            write_durably(self.beside(plan, name), buffer.getvalue())
        write_durably(self._plan_path(plan.batch), plan.to_json().encode())
        return plan

    def beside(self, plan: Plan, name: str) -> Path:
        """Where a frame that belongs to the plan lies until the plan is carried out."""
        return self.plans / f"{plan.batch:012d}.{name}.parquet"

    def _parsed(self, plan: Plan, files: Sequence[LineFile]) -> Iterator[tuple[int, ParsedChunk]]:
        """(number of the file, parsed chunk) of all files in order; while one is consumed the next are parsed."""
        workers = os.cpu_count() or 2
        running: deque[tuple[int, Future[ParsedChunk]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            for number, (file, planned) in enumerate(zip(files, plan.files, strict=True)):
                received = Received(Path(planned.path).name, planned.digest, plan.received_at)
                for chunk in file.chunks():
                    running.append((number, pool.submit(self.parser.parse, chunk, received)))
                    if len(running) > workers:
                        first, future = running.popleft()
                        yield first, future.result()
            for number, future in running:
                yield number, future.result()

    def _ledger_entry(self, plan: Plan, file: PlannedFile) -> dict[str, Any]:
        return {
            "received_date": plan.received_at.date(),
            "source": self.source.name,
            "file_digest": file.digest,
            "source_file": Path(file.path).name,
            "bytes": file.bytes,
            "received_lines": 0,
            "stored_lines": 0,
            "rejected_lines": 0,
            "first_day": None,
            "last_day": None,
            "damage": None,
            "batch": plan.batch,
            "received_at": plan.received_at,
        }

    # ------------------------------------------------------------------ plans
    def _plan_path(self, batch: int) -> Path:
        return self.plans / f"{batch:012d}.json"

    def _next_batch(self, ledger: Snapshot) -> int:
        return (ledger.position(self.source.name) or 0) + 1

    def unfinished(self) -> Plan | None:
        """The plan that was written and not carried out to its end."""
        waiting = sorted(self.plans.glob("*.json"))
        return Plan.from_json(waiting[0].read_text()) if waiting else None

    def _new_plan(self, limit_files: int) -> Plan | None:
        """A durable plan of the files that wait and were never taken in; files known by content are put away."""
        waiting = list(islice(pending_files(self.folder), limit_files))
        if not waiting:
            return None
        ledger = self.lake.snapshot(IngestionLedger)
        known = self._known_digests(ledger)
        batch = self._next_batch(ledger)
        files: list[PlannedFile] = []
        size = 0
        for path in waiting:
            digest, length = content_digest(path), path.stat().st_size
            if digest in known:
                if not length:  # one empty file is like another: the next one too says that the source is alive
                    (self.folder / HEARTBEAT).touch()
                self.finish(
                    Plan(
                        batch,
                        dt.datetime.now(dt.UTC),
                        (PlannedFile(str(path.relative_to(self.folder)), digest, length),),
                    )
                )
                continue
            known.add(digest)
            files.append(PlannedFile(str(path.relative_to(self.folder)), digest, length))
            size += length
            if size >= BATCH_BYTES:
                break
        if not files:
            return None
        plan = Plan(batch, dt.datetime.now(dt.UTC), tuple(files))
        write_durably(self._plan_path(batch), plan.to_json().encode())
        return plan

    def _known_digests(self, ledger: Snapshot) -> set[str]:
        of_source = ledger.scan().filter(pl.col("source") == self.source.name)
        return set(of_source.select("file_digest").collect()["file_digest"])

    def _located(self, file: PlannedFile) -> Path:
        """The planned file, also when a killed `finish` had already put it away."""
        path = self.folder / file.path
        if path.exists():
            return path
        moved = next(self.ingested.glob(f"*-{file.digest[:12]}-{path.name}"), None)
        if moved is None:
            raise FileNotFoundError(
                f"{path} was planned for ingestion and has vanished; put it back to let the batch complete"
            )
        return moved


def _count(entry: dict[str, Any], result: BatchResult, source: LandingSource, parsed: ParsedChunk) -> None:
    stored, rejected = len(parsed.rows), len(parsed.rejected)
    entry["received_lines"] += stored + rejected
    entry["stored_lines"] += stored
    entry["rejected_lines"] += rejected
    if rejected:
        day = str(entry["received_date"])
        result.rejected_days[day] = result.rejected_days.get(day, 0) + rejected
    if stored and source.table.partition:
        for day, rows in parsed.rows[source.table.partition].value_counts().iter_rows():
            result.days[str(day)] = result.days.get(str(day), 0) + rows
            entry["first_day"] = min(filter(None, (entry["first_day"], day)))
            entry["last_day"] = max(filter(None, (entry["last_day"], day)))


def write_durably(path: Path, data: bytes) -> None:
    """Write a file all or nothing, and be sure it is on disk."""
    with durable_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, there as a whole and on disk or not at all: synced, renamed into place, folder synced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
