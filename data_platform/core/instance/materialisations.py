"""What Dagster remembers: when each partition was materialised (ids only grow), which attempts failed, what steps took.
Belongs here: asking, through Dagster or, for a glance, its SQLite files. Not here: what follows (staleness, plan)."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from data_platform.core.contract.day_ranges import as_range
from data_platform.core.contract.table import Table, contracts
from data_platform.core.settings import settings

if TYPE_CHECKING:
    import dagster as dg

WHOLE = ""
"""Stands for the single partition of a table that has none."""
_EVENT, _PLANNED, _UNCHANGED = "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED", "ASSET_OBSERVATION"
_STEP_EVENTS = {
    "STEP_START": "IN_PROGRESS",
    "STEP_SUCCESS": "SUCCESS",
    "STEP_FAILURE": "FAILURE",
    "STEP_SKIPPED": "SKIPPED",
}
"""Events of a step, and how the step stands after each."""
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Tags of a run over a range of days: its first and its last."""


class Materialisations(Protocol):
    """What Dagster remembers of what was written."""

    def newest(self, table: type[Table]) -> Mapping[str, int]:
        """Partition (WHOLE for a table without) → id of its newest materialisation."""

    def confirmed(self, table: type[Table]) -> Mapping[str, int]:
        """Partition → id of the newest report that it holds what it should: that it was written or, of a table that is
        written only when it changed, that it was computed and is what it was."""

    def first_after(self, table: type[Table], partition: str, after: int) -> dt.datetime:
        """When the partition was first materialised after that id."""


@dataclass(frozen=True)
class PastStep:
    """A step of a past run that succeeded."""

    name: str
    days: tuple[tuple[str, ...], ...]
    """Of each of its tables: the days that it computed, or ranges of them (`2024-01-03..2024-01-09`); none of a table
    without days, and where the run was over no range."""
    seconds: float


class DagsterRecord(Materialisations, Protocol):
    """The same, and what became of runs."""

    def unfinished(self, table: type[Table]) -> Mapping[str, str]:
        """Partition → the newest run that was to write it, where that run did not."""

    def failed_steps(self, runs: Collection[str]) -> Mapping[str, set[str]]:
        """Run → its steps that failed, of failed runs; a step that never began because another failed did not fail."""

    def past_steps(self, wanted: Mapping[str, Collection[str]], runs: int) -> Iterator[PastStep]:
        """The successes of these steps, each with the tables it may compute, in the newest runs, newest run first."""


class _Reported:
    """What both ways of reading say alike, of the newest reports of one kind (`_newest`)."""

    def newest(self, table: type[Table]) -> Mapping[str, int]:
        return self._newest(table, _EVENT)

    def confirmed(self, table: type[Table]) -> Mapping[str, int]:
        if not table.only_changed:
            return self.newest(table)
        return _later(self.newest(table), self._newest(table, _UNCHANGED))

    def _newest(self, table: type[Table], event: str) -> Mapping[str, int]:
        raise NotImplementedError


@dataclass(frozen=True)
class ThroughDagster(_Reported):
    """By Dagster's own interface, for any storage."""

    instance: dg.DagsterInstance

    def _newest(self, table: type[Table], event: str) -> Mapping[str, int]:
        import dagster as dg

        key = dg.AssetKey(table.key.split("/"))
        if table.partition is None:
            fetch = self.instance.fetch_materializations if event == _EVENT else self.instance.fetch_observations
            records = fetch(key, limit=1).records
            return {WHOLE: records[0].storage_id} if records else {}
        found = self.instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType(event))
        return {day: newest for day, newest in found.items() if day}

    def first_after(self, table: type[Table], partition: str, after: int) -> dt.datetime:
        import dagster as dg

        wanted = dg.AssetRecordsFilter(
            dg.AssetKey(table.key.split("/")),
            asset_partitions=[partition] if partition != WHOLE else None,
            after_storage_id=after,
        )
        (first,) = self.instance.fetch_materializations(wanted, limit=1, ascending=True).records
        return dt.datetime.fromtimestamp(first.timestamp, dt.UTC)

    def unfinished(self, table: type[Table]) -> Mapping[str, str]:
        import dagster as dg

        key = dg.AssetKey(table.key.split("/"))
        if table.partition is None:
            records = self.instance.get_asset_records([key])
            entry = records[0].asset_entry if records else None
            if entry is None or entry.last_run_id is None:
                return {}
            written = entry.last_materialization.run_id if entry.last_materialization else None
            return {WHOLE: entry.last_run_id} if entry.last_run_id != written else {}
        storage = self.instance.event_log_storage
        found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        return {day: run_id for day, (run_id, _) in found.items() if day is not None}

    def failed_steps(self, runs: Collection[str]) -> Mapping[str, set[str]]:
        import dagster as dg

        from data_platform.core.instance.past_runs import runs_of_ids

        failed = runs_of_ids(self.instance, runs, [dg.DagsterRunStatus.FAILURE])
        return {
            run.run_id: {
                step.step_key
                for step in self.instance.get_run_step_stats(run.run_id)
                if step.status is not None and step.status.value == "FAILURE"
            }
            for run in failed
        }

    def past_steps(self, wanted: Mapping[str, Collection[str]], runs: int) -> Iterator[PastStep]:
        for run in self.instance.get_runs(limit=runs):
            for step in self.instance.get_run_step_stats(run.run_id):
                succeeded = step.status is not None and step.status.value == "SUCCESS"
                if step.step_key in wanted and succeeded and step.start_time and step.end_time:
                    chosen = run.asset_selection
                    keys = {key.to_user_string() for key in chosen} if chosen else None
                    days = _days_of(run.run_config, run.tags, step.step_key, _computed(wanted[step.step_key], keys))
                    yield PastStep(step.step_key, days, step.end_time - step.start_time)


@dataclass(frozen=True)
class InSqlite(_Reported):
    """The same from the files of a home, without Dagster: its import takes 0.85 s, this takes 20 ms."""

    file: Path
    """The index of assets; beside it lies the log of each run, and above it the runs."""

    def _newest(self, table: type[Table], event: str) -> Mapping[str, int]:
        asked = "SELECT coalesce(partition, ''), max(id) FROM event_logs WHERE asset_key = ? AND dagster_event_type = ?"
        rows = self._rows(f"{asked} GROUP BY 1", json.dumps(table.key.split("/")), event)
        if table.partition is None:
            return {WHOLE: max(newest for _, newest in rows)} if rows else {}
        return {day: newest for day, newest in rows if day}

    def first_after(self, table: type[Table], partition: str, after: int) -> dt.datetime:
        asked = "SELECT timestamp FROM event_logs WHERE asset_key = ? AND dagster_event_type = ? AND id > ?"
        of_partition = "" if partition == WHOLE else " AND partition = ?"
        values: tuple[str | int, ...] = (
            json.dumps(table.key.split("/")),
            _EVENT,
            after,
            *([partition] if of_partition else []),
        )
        ((moment,),) = self._rows(f"{asked}{of_partition} ORDER BY id LIMIT 1", *values)
        return dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)

    def unfinished(self, table: type[Table]) -> Mapping[str, str]:
        key = json.dumps(table.key.split("/"))
        asked = "SELECT run_id FROM event_logs WHERE asset_key = ? AND dagster_event_type = ? ORDER BY id DESC LIMIT 1"
        if table.partition is None:
            planned = self._rows("SELECT last_run_id FROM asset_keys WHERE asset_key = ?", key)
            written = self._rows(asked, key, _EVENT)
            return {WHOLE: planned[0][0]} if planned and planned[0][0] and planned != written else {}
        newest = (
            "SELECT partition, max(id), run_id FROM event_logs "
            "WHERE asset_key = ? AND dagster_event_type = ? AND partition IS NOT NULL GROUP BY partition"
        )
        written_at = {day: at for day, at, _ in self._rows(newest, key, _EVENT)}
        return {day: run for day, at, run in self._rows(newest, key, _PLANNED) if at > written_at.get(day, 0)}

    def failed_steps(self, runs: Collection[str]) -> Mapping[str, set[str]]:
        asked = "SELECT run_id FROM runs WHERE status = 'FAILURE' AND run_id IN (SELECT value FROM json_each(?))"
        failed = self._rows(asked, json.dumps(sorted(runs)), file=self._runs) if runs else []
        return {
            run: {step for step, (status, *_) in self._steps(run).items() if status == "FAILURE"} for (run,) in failed
        }

    def past_steps(self, wanted: Mapping[str, Collection[str]], runs: int) -> Iterator[PastStep]:
        asked = "SELECT run_id, run_body FROM runs ORDER BY id DESC LIMIT ?"
        for run_id, body in self._rows(asked, runs, file=self._runs):
            run = json.loads(body)
            chosen = (run["asset_selection"] or {}).get("__frozenset__")
            keys = {"/".join(key["path"]) for key in chosen} if chosen else None
            for step, (status, began, ended) in self._steps(run_id, wanted).items():
                if status == "SUCCESS" and began and ended:
                    days = _days_of(run["run_config"], run["tags"], step, _computed(wanted[step], keys))
                    yield PastStep(step, days, ended - began)

    @property
    def _runs(self) -> Path:
        return self.file.parent.with_suffix(".db")

    def _steps(self, run: str, wanted: Collection[str] | None = None) -> dict[str, tuple[str, float, float]]:
        """Step → how it ended, and when it began and ended; in the order in which they began."""
        asked = "SELECT step_key, dagster_event_type, event FROM event_logs WHERE step_key IS NOT NULL "
        asked += "AND dagster_event_type IN (SELECT value FROM json_each(?)) ORDER BY id"
        found: dict[str, tuple[str, float, float]] = {}
        for step, event, body in self._rows(asked, json.dumps([*_STEP_EVENTS]), file=self.file.with_name(f"{run}.db")):
            if wanted is not None and step not in wanted:
                continue
            _, began, ended = found.get(step, ("", 0.0, 0.0))
            moment = json.loads(body)["timestamp"]
            times = (moment, ended) if event == "STEP_START" else (began, moment)
            found[step] = (_STEP_EVENTS[event], *times)
        return found

    def _rows(self, asked: str, *values: str | int, file: Path | None = None) -> list[tuple]:  # type: ignore[type-arg]
        """Nothing of a file that is not there, or that Dagster has just begun to make."""
        file = file or self.file
        if not file.exists():
            return []
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=20)) as connection:
            try:
                return connection.execute(asked, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise


def _later(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Of each partition the later of two reports."""
    return {partition: max(one.get(partition, 0), other.get(partition, 0)) for partition in {*one, *other}}


def _computed(tables: Collection[str], selected: Collection[str] | None) -> list[str]:
    """Which of a step's tables a run computed."""
    return sorted({*tables} & {*(tables if selected is None else selected)})


def _days_of(
    config: Mapping[str, Any], tags: Mapping[str, str], step: str, tables: Collection[str]
) -> tuple[tuple[str, ...], ...]:
    """Of each table the days a step of a run computed: those chosen for it, else the run's range."""
    chosen = config.get("ops", {}).get(step, {}).get("config", {})
    of_table: Mapping[str, Sequence[str]] = chosen.get("days_of") or {}
    days: Sequence[str] | None = chosen.get("days")
    if days is None and RANGE_START in tags:
        days = [as_range(tags[RANGE_START], tags[RANGE_END])]
    known = contracts()
    daily = [table not in known or known[table].partition is not None for table in tables]
    return tuple(
        tuple(of_table.get(table, days or ()) if has_days else ())
        for table, has_days in zip(tables, daily, strict=True)
    ) or (tuple(days or ()),)


@contextmanager
def of_home() -> Iterator[DagsterRecord]:
    """Of the configured home, the quickest way there is."""
    if settings().postgres_url is None:
        yield InSqlite(settings().dagster_home / "storage" / "history" / "runs" / "index.db")
        return
    from data_platform.core.instance.dagster_home import open_instance

    with open_instance() as instance:
        yield ThroughDagster(instance)
