"""Where Dagster itself keeps runs, events and logs: PostgreSQL when `DATA_PLATFORM_POSTGRES_URL` is set, else SQLite,
always under the platform's home. Named in `dagster.yaml`, so that `dagster dev` at the root needs no other variable."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import dagster as dg

# Instance storage can only be chosen by a configurable class, and its base classes are not exported publicly.
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from data_platform.core.instance.sqlite_event_log import PooledEventLog
from data_platform.core.private_files import close_home, write_for_owner_alone
from data_platform.core.settings import PROJECT_ROOT, settings

EVENT_BATCH_SIZE = 500


class PooledSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with our event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH_SIZE))
        self._event_log_storage = PooledEventLog(self._event_log_storage._base_dir)


class ChosenStorage(DagsterSqliteStorage):
    """Runs, events and schedules: PostgreSQL or SQLite, by the settings."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> DagsterStorage:  # type: ignore[override]
        url = settings().postgres_url
        if url is None:
            return _opened_alone(_folder("storage"), inst_data)
        from data_platform.core.instance.postgres_storage import postgres_storage

        return postgres_storage(url.get_secret_value(), inst_data)


def _opened_alone(folder: Path, inst_data: ConfigurableClassData | None) -> DagsterStorage:
    """Open the storage while nobody else does: two processes that create it at once leave "more than one head"."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return PooledSqliteStorage(base_dir=str(folder), inst_data=inst_data)


class HomeArtifacts(LocalArtifactStorage):
    """Files Dagster keeps beside its storage."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> LocalArtifactStorage:  # type: ignore[override]
        return LocalArtifactStorage(base_dir=str(_folder("artifacts")), inst_data=inst_data)


class HomeComputeLogs(LocalComputeLogManager):
    """What steps print."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> LocalComputeLogManager:  # type: ignore[override]
        return LocalComputeLogManager(base_dir=str(_folder("logs")), inst_data=inst_data)


def open_instance() -> dg.DagsterInstance:
    """The instance that `dagster dev` at the root uses too. Close it, or use it as a context manager."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(_folder(".")), config_dir=str(PROJECT_ROOT)))


def sync_history(instance: dg.DagsterInstance, run_id: str) -> None:
    """Wait until what Dagster was told of a run is on the disk. PostgreSQL waits by itself."""
    storage = instance.event_log_storage
    if isinstance(storage, PooledEventLog):
        storage.sync(run_id)


def _folder(name: str) -> Path:
    write_for_owner_alone()  # the webserver and the daemon load nothing else of the platform
    close_home(settings().home, settings().parts)
    folder = settings().dagster_home / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
