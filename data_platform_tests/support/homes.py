"""A platform home in a temporary folder, with what tests do in one: drop files, ingest, build, read tables.
Not here: any assertion about the platform, any fixture (conftest)."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import dagster as dg
import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.discovery import landing_sources
from data_platform.core.lake.store import Lake
from data_platform.core.settings import PROJECT_ROOT, settings
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents, RawPlayerEventsRejected
from data_platform.operations.runs import Built
from data_platform.sources.ingestion import ingest_waiting
from data_platform.sources.landing import BatchResult

FIRST_DAY = dt.date(2024, 1, 1)
"""First daily partition of the test process; assets are built with it at import. See conftest."""
TESTED_APART = ("team:commerce", "team:finance", "team:research")
"""Owners of tables that homes of other rooms do not build."""
COMPUTED_GROUPS = ("clean", "gameplay", "features")
Row = dict[str, Any]


def event(**changes: Any) -> Row:
    """A good event; `name=None` sets null, `name=...` leaves the field out."""
    made: Row = {
        "event_id": "e-1",
        "player_id": "p-1",
        "campaign_id": "c-1",
        "event_type": "combat_start",
        "event_data": {"enemy": "wolf"},
        "session_id": "s-1",
        "timestamp": "2024-01-03T10:00:00Z",
        "client_timestamp": "2024-01-03T09:59:58Z",
        "device_info": {"os": "linux"},
    }
    made |= changes
    return {name: value for name, value in made.items() if value is not ...}


def line(**changes: Any) -> str:
    return json.dumps(event(**changes))


def text_of(count: int) -> bytes:
    """A file of so many events, `e-0` and on."""
    return "".join(line(event_id=f"e-{n}") + "\n" for n in range(count)).encode()


def all_tables() -> list[type[Table]]:
    """Every table of data but those TESTED_APART, in key order (no journals, nor what is reported of them, nor what is
    online just now); contracts are known once their modules are imported."""
    from data_platform.features.contracts import OnlinePlayerFeatures

    data = [table for table in built_tables() if table.table_group() != "quality" and not table.journal]
    return [table for table in data if table is not OnlinePlayerFeatures]


def built_tables() -> list[type[Table]]:
    """What `Home.build` computes. What is TESTED_APART would add seconds to every build."""
    import data_platform.definitions  # noqa: F401
    from data_platform.core.contract.table import contracts

    return [table for table in contracts().values() if table.owner not in TESTED_APART and not table.journal]


def leave_game_and_shop(landing: Path) -> None:
    """Take what is TESTED_APART, but for the shop that churn features follow from, out of a simulated landing: a build
    of all tables would compute 74 more that the test looks at none of."""
    for source in landing_sources():
        if source.table.owner in TESTED_APART and source.table.owner != "team:commerce":
            shutil.rmtree(landing / source.name, ignore_errors=True)


@dataclass(frozen=True)
class Home:
    """One DATA_PLATFORM_HOME. Building needs it to be in use (`with home.used()`, or the fixture `home`)."""

    path: Path
    _instance: list[dg.DagsterInstance] = field(default_factory=list, compare=False)

    @property
    def landing(self) -> Path:
        return self.path / "landing"

    @cached_property
    def lake(self) -> Lake:
        return Lake(str(self.path / "lake"))

    @property
    def variables(self) -> dict[str, str]:
        """What makes settings point here."""
        return {"DATA_PLATFORM_HOME": str(self.path)}

    @contextlib.contextmanager
    def used(self) -> Iterator[Self]:
        """Settings point here inside the block."""
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        settings.cache_clear()
        try:
            yield self
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value
            settings.cache_clear()

    # ------------------------------------------------------------------ what arrives
    def drop(self, name: str, content: bytes | str | Iterable[str | Row], folder: str = "player_events") -> Path:
        """Put a file into landing: bytes as they are, or lines (dicts become JSON); `.gz` in the name compresses."""
        if not isinstance(content, bytes | str):
            content = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in content)
        data = content.encode() if isinstance(content, str) else content
        path = self.landing / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".gz" and not isinstance(content, bytes):
            data = gzip.compress(data)
        path.write_bytes(data)
        long_ago = time.time() - 60  # nobody is writing to it
        os.utime(path, (long_ago, long_ago))
        return path

    def ingest(self) -> list[BatchResult]:
        """Take in everything that waits, without Dagster."""
        return ingest_waiting(landing_sources(), self.lake, self.landing)

    # ------------------------------------------------------------------- Dagster
    @property
    def instance(self) -> dg.DagsterInstance:
        """An instance in memory that lasts as long as this object."""
        if not self._instance:
            self._instance.append(dg.DagsterInstance.ephemeral())
        return self._instance[0]

    def with_log(self) -> Self:
        """Its instance writes events to the log of homes: for builds of many days."""
        self._instance.append(instance_in(self.path / "instance"))
        return self

    def build(self, selection: Sequence[str] = (), **days: dt.date) -> Built:
        from data_platform.definitions import defs
        from data_platform.operations.build import build

        with self.used():
            built = build(defs, self.instance, selection or [table.key for table in built_tables()], **days)
        assert not built.failures, built.failures
        return built

    def build_on_disk(self) -> Built:
        """Like build, with the instance that `data-platform build` and `dagster dev` use."""
        from data_platform.core.instance.dagster_home import open_instance
        from data_platform.definitions import defs
        from data_platform.operations.build import build

        with self.used(), open_instance() as instance:
            built = build(defs, instance)
        assert not built.failures, built.failures
        return built

    def verdicts(self, table: type[Table], check: str) -> dict[str | None, dg.AssetCheckEvaluation]:
        """Newest evaluation of a check per partition."""
        return verdicts(self.instance, table, check)

    # --------------------------------------------------------------------- tables
    def rows(self, table: type[Table]) -> pl.DataFrame:
        return self.lake.scan(table).collect()

    def raw(self) -> pl.DataFrame:
        return self.rows(RawPlayerEvents).sort("source_file", "source_line", "received_at")

    def rejected(self) -> pl.DataFrame:
        return self.rows(RawPlayerEventsRejected).sort("source_file", "source_line", "file_digest")

    def ledger(self) -> pl.DataFrame:
        return self.rows(IngestionLedger).sort("batch", "source", "source_file")

    def computed(self) -> dict[str, pl.DataFrame]:
        """Every table of the groups clean, gameplay and features, sorted by its key."""
        tables = [t for t in all_tables() if t.table_group() in COMPUTED_GROUPS]
        return {t.key: self.rows(t).sort(t.primary_key) for t in tables}

    def received(self) -> dict[str, pl.DataFrame]:
        """Every raw table without what depends on when it was received."""
        tables = [t for t in all_tables() if t.table_group() == "raw"]
        volatile = ("received_at", "received_date", "batch")
        return {t.key: self.rows(t).drop(volatile, strict=False).sort(pl.all()) for t in tables}

    def files(self, table: type[Table]) -> dict[str, frozenset[str]]:
        """Live files per partition: a partition was written again exactly if its files are others."""
        if not self.lake.exists(table):
            return {}
        found: dict[str, set[str]] = {}
        for path in self.lake.open(table).file_uris():
            part = next((p.split("=")[1] for p in path.split("/") if p.startswith(f"{table.partition}=")), "")
            found.setdefault(part, set()).add(path)
        return {part: frozenset(paths) for part, paths in found.items()}

    # ---------------------------------------------------------------- other processes
    def environment(self, **more: str) -> dict[str, str]:
        root = str(PROJECT_ROOT)
        return os.environ | {
            **self.variables,
            "PYTHONPATH": root,
            "COLUMNS": "200",
            "NO_COLOR": "1",
            **more,
        }

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A process of its own group, so that it can be killed with all its children."""
        return subprocess.Popen(
            [sys.executable, *command],
            env=self.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def instance_in(folder: Path) -> dg.DagsterInstance:
    """Runs in memory, events in the log that homes have, which stores the verdicts of a step together: less the more
    days a build has. Dagster's log in memory is for many runs of little: here each run has a database of its own."""
    from dagster._core.instance.types import InstanceType
    from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
    from dagster._core.run_coordinator import DefaultRunCoordinator
    from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
    from dagster._core.storage.root import TemporaryLocalArtifactStorage
    from dagster._core.storage.runs import InMemoryRunStorage

    from data_platform.core.instance.sqlite_event_log import PooledEventLog

    return dg.DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=TemporaryLocalArtifactStorage(),
        run_storage=InMemoryRunStorage(),
        event_storage=PooledEventLog(str(folder)),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=DefaultRunCoordinator(),
        run_launcher=SyncInMemoryRunLauncher(),
    )


def materialisations(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str | None, dict[str, Any]]:
    """Newest materialisation's metadata per partition."""
    records = instance.fetch_materializations(key, limit=10_000, ascending=True).records
    found: dict[str | None, dict[str, Any]] = {}
    for record in records:
        assert record.asset_materialization is not None
        found[record.partition_key] = {n: v.value for n, v in record.asset_materialization.metadata.items()}
    return found


def verdicts(instance: dg.DagsterInstance, table: type[Table], check: str) -> dict[str | None, dg.AssetCheckEvaluation]:
    """Newest evaluation of a check per partition (None: of the whole run)."""
    return every_verdict(instance).get((table.key, check), {})


def every_verdict(
    instance: dg.DagsterInstance,
) -> dict[tuple[str, str], dict[str | None, dg.AssetCheckEvaluation]]:
    """Of each table and check, the newest evaluation per partition: reading them takes as long for all as for one."""
    records = instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION), limit=100_000, ascending=True
    )
    found: dict[tuple[str, str], dict[str | None, dg.AssetCheckEvaluation]] = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        assert event is not None
        evaluation = event.asset_check_evaluation_data
        of_check = found.setdefault(("/".join(evaluation.asset_key.path), evaluation.check_name), {})
        of_check[evaluation.partition] = evaluation
    return found


def assert_not_empty(tables: Mapping[str, pl.DataFrame]) -> None:
    """Two homes with nothing in them would be equal too."""
    faultless = ("campaign_changes", "campaign_participant_changes", "event_totals", "player_changes", "live_windows")
    unseen = {"raw/live_windows", "gameplay/live_comparison"}  # no live view was open
    may_be_empty = {f"raw/{name}_rejected" for name in faultless} | unseen
    assert {key for key, frame in tables.items() if frame.is_empty()} <= may_be_empty


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL the process and its children, and wait until they are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def assert_same_tables(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> None:
    """Value for value; floats exactly."""
    assert one.keys() == other.keys()
    for key, left in one.items():
        right = other[key]
        assert left.schema == right.schema, key
        if not left.equals(right):
            known = set(map(repr, right.rows()))
            example = [row for row in left.rows() if repr(row) not in known][:2]
            raise AssertionError(f"{key}: {len(left)} and {len(right)} rows; only on the left, for example: {example}")
