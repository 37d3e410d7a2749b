"""Landing folders → raw tables, exactly once, whatever is killed when.
Belongs here: the batches of one folder and the order of commits. Not here: what lies in the folder (landing_files,
planned_files), how files become lines (reading), Dagster.

A batch is planned durably (which files, when received), then committed to the raw, rejected and ledger tables. Each
commit carries the batch number and is refused unless the table stands at the batch before; so a batch that was cut
short anywhere is taken up again from its plan, and tables that have it already skip it. A file that can be read no more
is taken out of the plan as long as nothing of the batch is committed: it stops no other."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.core import durable
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.durable import write_durably
from data_platform.core.lake.commits import Commit, Position, StagedFile
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake
from data_platform.sources.batch_plan import FileProblem, Plan, PlannedFile
from data_platform.sources.compressed_lines import LineFile
from data_platform.sources.growth import Followed
from data_platform.sources.landing_files import shown
from data_platform.sources.landing_source import HEARTBEAT, LandingSource
from data_platform.sources.line_parser import LineParser, Received
from data_platform.sources.planned_files import PlannedFiles
from data_platform.sources.reading import Read, read_lines
from data_platform.sources.segments import Segment, is_segment

PLANS = "_plans"
BATCH_BYTES = 1 << 30
BATCH_FILES = 10_000
STAGE_ROWS = 1_000_000
"""Rows collected before Parquet is written: about 0.5 GB, and one file per day and million rows."""

Progress = Callable[[str, int, int], None]
"""Called with (source, bytes done, bytes in all)."""


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
    left_out: list[str] = field(default_factory=list)
    """Files that the plan named and that could not be taken in, with the reason."""

    @property
    def received(self) -> int:
        return int(self.ledger["received_lines"].sum())

    @property
    def stored(self) -> int:
        return int(self.ledger["stored_lines"].sum())

    @property
    def rejected(self) -> int:
        return int(self.ledger["rejected_lines"].sum())


def has_unfinished_plan(folder: Path) -> bool:
    """Whether a batch of a landing folder was written down and not carried out to its end."""
    return any((folder / PLANS).glob("*.json"))


def is_being_ingested(folder: Path) -> bool:
    """Whether a process that lives holds the folder."""
    try:
        with (folder / PLANS / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


class Landing:
    """One landing folder. Only one process at a time takes in its files; a lock says so and dies with the process."""

    def __init__(self, source: LandingSource, root: Path, lake: Lake, parser: LineParser) -> None:
        self.source = source
        self.folder = root / source.name
        self.lake = lake
        self.parser = parser
        self.plans = self.folder / PLANS
        self.files = PlannedFiles(self.folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for, then hold the folder."""
        self.plans.mkdir(parents=True, exist_ok=True)
        with (self.plans / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def batches(self, most_files: int | None = None, settle: bool = False) -> Iterator[Plan]:
        """Plans to carry out: what was interrupted, then new ones for what waits by now. Hold the lock.

        What arrives meanwhile is for the next time: whoever writes without a pause cannot keep a run from ending.
        `settle` leaves out files that changed a moment ago.
        """
        while plan := self.unfinished():
            yield plan
        waiting = self.files.waiting(settle)
        yield from self._new_plans(islice(waiting, most_files))

    def commit(self, plan: Plan, progress: Progress | None = None) -> BatchResult:
        """Store the batch. Safe to repeat after an interruption: what is committed stays, what is not is done again.

        The result's plan is the one that was carried out: without the files that could not be read.
        """
        left_out: list[str] = []
        while True:
            positions = {table: self.lake.position(table, self.source.name) for table in self._tables}
            begun = any((position or 0) >= plan.batch for position in positions.values())
            try:
                result = self._committed(plan, positions, progress)
            except FileProblem as problem:
                file = plan.files[problem.number]
                message = f"{self.source.name}/{shown(file.path)}: {problem.reason}"
                if begun:
                    raise OSError(f"{message}; the batch is half committed: put the file back as it was") from None
                left_out.append(message)
                plan = self._without(plan, problem)
                if plan.files:
                    continue
                result = BatchResult(self.source, plan, IngestionLedger.empty())
            result.left_out = left_out
            return result

    def finish(self, plan: Plan) -> None:
        """Put the batch's files away and forget its plan; call it once everyone who must know of the batch does."""
        path = self._plan_path(plan.batch)
        if not path.exists():  # nothing of it could be read
            return
        standing = Plan.from_json(path.read_text())
        followed = Followed(self.folder)
        followed.take(self.files.put_away(standing.batch, standing.files))
        followed.forget(self.files.set_aside(standing))
        # Under the lock there is one plan at a time: frames of any other were written by a process that died over it.
        for beside in sorted(self.plans.glob("*.parquet*")):
            beside.unlink()
        path.unlink(missing_ok=True)

    def write_plan_beside(
        self, beside: Mapping[str, pl.DataFrame], withdraws: tuple[tuple[str, int], ...] = ()
    ) -> Plan:
        """A durable plan of a replay, or of a withdrawal, with the frames it needs beside it; `unfinished` must be
        None. Hold the lock."""
        batch = self._next_batch(self.lake.snapshot(IngestionLedger))
        plan = Plan(batch, dt.datetime.now(dt.UTC), (), replays=not withdraws, withdraws=withdraws)
        for name, frame in beside.items():
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            write_durably(self.beside(plan, name), buffer.getvalue())
        write_durably(self._plan_path(plan.batch), plan.to_json().encode())
        return plan

    def beside(self, plan: Plan, name: str) -> Path:
        """Where a frame that belongs to the plan lies until the plan is carried out."""
        return self.plans / f"{plan.batch:012d}.{name}.parquet"

    # ---------------------------------------------------------------- commits
    @property
    def _tables(self) -> tuple[type[Table], ...]:
        """In the order in which they are committed."""
        return self.source.table, self.source.rejected, IngestionLedger

    def _committed(
        self, plan: Plan, positions: Mapping[type[Table], int | None], progress: Progress | None
    ) -> BatchResult:
        """Read, stage, and commit to the tables that do not have the batch yet. Raises FileProblem before that."""
        todo = [table for table, position in positions.items() if (position or 0) < plan.batch]
        result = BatchResult(self.source, plan, IngestionLedger.empty())
        staged: dict[type[Table], list[StagedFile]] = {table: [] for table in self._tables}
        buffers: dict[type[Table], list[pl.DataFrame]] = {self.source.table: [], self.source.rejected: []}
        held = dict.fromkeys(buffers, 0)

        def flush(at_least: int) -> None:
            for table in buffers:
                if buffers[table] and held[table] >= at_least:
                    if table in todo:
                        staged[table] += self.lake.stage(table, pl.concat(buffers[table]))
                    buffers[table], held[table] = [], 0

        names = plan.names()
        paths = self.files.unchanged(plan)
        files = [LineFile(path, file.start, file.bytes) for path, file in zip(paths, plan.files, strict=True)]
        received = [Received(name, file.digest, plan.received_at) for name, file in zip(names, plan.files, strict=True)]
        entries = [self._ledger_entry(plan, file, name) for file, name in zip(plan.files, names, strict=True)]
        segments = {file.digest: file.segment for file in plan.files if file.segment}
        total, done = sum(file.bytes for file in plan.files), 0
        at = 0
        for read in read_lines(files, received, self.parser):
            _count(entries, result, self.source, read)
            rejected = _as_segments_say(read.rejected, segments)
            for into, frame in zip(buffers, (read.rows, rejected), strict=True):
                buffers[into].append(frame)
                held[into] += len(frame)
            flush(STAGE_ROWS)
            if progress and read.files:
                newest = read.files[-1].number
                done, at = done + sum(file.bytes for file in plan.files[at:newest]), newest
                progress(self.source.name, done, total)
        self.files.unchanged(plan)
        for entry, line_file, planned in zip(entries, files, plan.files, strict=True):
            entry["damage"] = line_file.damage or _disagreement(planned, entry["received_lines"])
        flush(0)
        result.ledger = pl.DataFrame(entries, schema=IngestionLedger.schema())
        staged[IngestionLedger] = self.lake.stage(IngestionLedger, result.ledger)
        for table in todo:
            position = Position(self.source.name, positions[table], plan.batch)
            metadata = {"batch": str(plan.batch)}
            result.commits[table] = self.lake.commit(table, staged[table], position=position, metadata=metadata)
        return result

    def _ledger_entry(self, plan: Plan, file: PlannedFile, name: str) -> dict[str, Any]:
        return {
            "received_date": plan.received_at.date(),
            "source": self.source.name,
            "file_digest": file.digest,
            "source_file": name,
            "bytes": file.bytes,
            "received_lines": 0,
            "stored_lines": 0,
            "rejected_lines": 0,
            "withdrawn_lines": None,
            "withdrawn_at": None,
            "first_day": None,
            "last_day": None,
            "damage": None,
            "stream": file.segment and file.segment.stream,
            "generation": file.segment and file.segment.generation,
            "begin_position": file.segment and file.segment.begin,
            "end_position": file.segment and file.segment.end,
            "batch": plan.batch,
            "received_at": plan.received_at,
        }

    def _without(self, plan: Plan, problem: FileProblem) -> Plan:
        """The plan without a file, written down. One that can never be read goes to quarantine, others stay."""
        file = plan.files[problem.number]
        rest = replace(plan, files=tuple(one for one in plan.files if one is not file))
        if problem.for_good:
            self.files.quarantine(file, problem.reason)
        if rest.files:
            write_durably(self._plan_path(plan.batch), rest.to_json().encode())
        else:
            self._plan_path(plan.batch).unlink(missing_ok=True)
        return rest

    # ------------------------------------------------------------------ plans
    def _plan_path(self, batch: int) -> Path:
        return self.plans / f"{batch:012d}.json"

    def _next_batch(self, ledger: Snapshot) -> int:
        return (ledger.position(self.source.name) or 0) + 1

    def unfinished(self) -> Plan | None:
        """The plan that was written and not carried out to its end."""
        waiting = sorted(self.plans.glob("*.json"))
        return Plan.from_json(waiting[0].read_text()) if waiting else None

    def _new_plans(self, waiting: Iterator[PlannedFile]) -> Iterator[Plan]:
        """Durable plans of the files that were never taken in; files known by content are put away."""
        seen = set[str]()
        for files in _in_batches(waiting):
            ledger = self.lake.snapshot(IngestionLedger)
            known = seen | self._known(ledger, [file.digest for file in files])
            new, twins = list[PlannedFile](), list[PlannedFile]()
            for file in files:
                (twins if file.digest in known else new).append(file)
                known.add(file.digest)
                seen.add(file.digest)
            batch = self._next_batch(ledger)
            if twins:
                if not all(file.bytes for file in twins):
                    # One empty file is like another: the next one too says that the source is alive.
                    (self.folder / HEARTBEAT).touch()
                Followed(self.folder).take(self.files.put_away(batch, twins))
            if new:
                plan = Plan(batch, dt.datetime.now(dt.UTC), tuple(new))
                # A plan names what is on the disk: whoever copied the files here need not have waited for that.
                with contextlib.suppress(OSError):  # gone meanwhile, which carrying it out will tell
                    durable.sync_within(self.folder.parent, [self.folder / file.path for file in new])
                write_durably(self._plan_path(batch), plan.to_json().encode())
                yield plan

    def _known(self, ledger: Snapshot, digests: Sequence[str]) -> set[str]:
        """Those of these contents that were taken in, and not out again. Of a million files 0.1 s; all of them as a set
        would be 1 s and 100 MB."""
        asked = pl.col("file_digest").is_in(digests)
        of_source = pl.col("source") == self.source.name, pl.col("withdrawn_lines").is_null()
        return set(ledger.scan().filter(*of_source, asked).select("file_digest").collect()["file_digest"])


def _in_batches(files: Iterator[PlannedFile]) -> Iterator[list[PlannedFile]]:
    some: list[PlannedFile] = []
    size = 0
    for file in files:
        some.append(file)
        size += file.bytes
        if size >= BATCH_BYTES or len(some) >= BATCH_FILES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _count(entries: Sequence[dict[str, Any]], result: BatchResult, source: LandingSource, read: Read) -> None:
    for lines in read.files:
        entry = entries[lines.number]
        entry["received_lines"] += lines.stored + lines.rejected
        entry["stored_lines"] += lines.stored
        entry["rejected_lines"] += lines.rejected
        entry["first_day"] = min(filter(None, (entry["first_day"], lines.first_day)), default=None)
        entry["last_day"] = max(filter(None, (entry["last_day"], lines.last_day)), default=None)
    if len(read.rejected):
        day = str(result.plan.received_at.date())
        result.rejected_days[day] = result.rejected_days.get(day, 0) + len(read.rejected)
    if len(read.rows) and source.table.partition:
        for day, rows in read.rows[source.table.partition].value_counts().iter_rows():
            result.days[str(day)] = result.days.get(str(day), 0) + rows


def _as_segments_say(rejected: pl.DataFrame, segments: Mapping[str, Segment]) -> pl.DataFrame:
    """Rejected lines with their position in the stream that they came from, where lines of it have one, and with the
    reason for which its reader refused them, where it did."""
    if rejected.is_empty() or not segments:
        return rejected
    reasons = {digest: dict(segment.refused) for digest, segment in segments.items()}
    positions, refused = list[int | None](), list[str | None]()
    for digest, line in rejected.select("file_digest", "source_line").iter_rows():
        positions.append(segments[digest].position_of(line) if digest in segments else None)
        refused.append(reasons.get(digest, {}).get(line))
    refusals = pl.Series(refused, dtype=pl.String)
    return rejected.with_columns(
        source_position=pl.Series(positions, dtype=pl.Int64), reason=pl.coalesce(refusals, pl.col("reason"))
    )


def _disagreement(file: PlannedFile, lines: int) -> str | None:
    """What a segment says of itself and what it holds, where these are not the same."""
    if is_segment(file.name) and not file.appended and file.segment is None:
        return "its name is that of a segment, and it does not end as one"
    if file.segment and file.segment.lines != lines:
        return f"it says that it holds {file.segment.lines} lines"
    return None
