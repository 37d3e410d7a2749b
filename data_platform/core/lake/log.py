"""The Delta log of a table on a disk: what makes a commit last, and what a power cut leaves of one that was under way.
Belongs here: entries as files. Not here: what a commit says (store). Object stores keep what they accepted."""

from __future__ import annotations

import fcntl
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from data_platform.core import durable
from data_platform.core.errors import PlatformError

logger = logging.getLogger(__name__)

ACTIONS = "data_platform.actions"
"""How many actions a commit has, in its first line: an entry that was cut at the end of a line is not whole either."""
ENTRY = re.compile(r"\d{20}\.json")
TOLD = re.compile(rb'"data_platform\.actions":"(\d+)"')


LOG = "_delta_log"


def log_folder(table: Path) -> Path:
    return table / LOG


_synced: dict[Path, int] = {}
"""The newest entry of each table that this process has waited for."""


def sync_entries(table: Path, root: Path, *versions: int) -> None:
    """Wait until entries are on the disk, the first one with the folders that hold the table."""
    entries = [path for version in versions if (path := _entry(log_folder(table), version)).exists()]
    durable.sync_within(root.parent.parent if 0 in versions else table, entries)
    _synced[table] = max(versions)


def sync_before(table: Path, base: int, staged: Sequence[Path]) -> None:
    """Before a commit: what it adds, and the entry that it is built on, which another process may have written and not
    waited for. So whatever a power cut tears lies at the end of the log."""
    made = _entry(log_folder(table), base)
    known = _synced.get(table) == base or not made.exists()
    durable.sync_within(table.parent, [*staged, *([] if known else [made])])


def sync_checkpoint(table: Path, version: int) -> None:
    log = log_folder(table)
    durable.sync([*log.glob(f"{version:020}.checkpoint*.parquet"), log / "_last_checkpoint"], [log])


def is_whole(table: Path, version: int) -> bool:
    """Whether the entry reached the disk as it was written; true for one that is only in a checkpoint by now.
    delta-rs takes an empty entry, or one cut at the end of a line, for a commit that changed less."""
    try:
        content = _entry(log_folder(table), version).read_bytes()
    except FileNotFoundError:
        return True
    stated = TOLD.search(content, 0, content.find(b"\n") + 1)
    lines = len(content.splitlines())
    return lines > (int(stated[1]) if stated else 0)


def open_mended(key: str, table: Path) -> DeltaTable:
    """The table as of its newest whole commit; what a power cut left of a later one is put aside.

    Raises TableNotFoundError where there is no whole commit, PermissionError where it may not be read, PlatformError
    when the log is damaged in another way.
    """
    damage: PlatformError | None = None
    try:
        opened = DeltaTable(table)
        if is_whole(table, opened.version()):
            return opened
    except TableNotFoundError:
        raise
    except DeltaError as error:
        damage = _unreadable(key, table, error)
    try:
        if not undo_torn(table) and damage:
            raise damage
        return DeltaTable(table)
    except TableNotFoundError:
        raise
    except DeltaError as error:
        raise _unreadable(key, table, error) from None
    except OSError:  # who may not write sees what the log will be once it is mended
        last = _last_whole(table)
        if last is None:
            raise TableNotFoundError(f"{table} has no whole commit") from None
        return DeltaTable(table, version=last)


def undo_torn(table: Path) -> bool:
    """Put aside what a power cut left half-written at the end of the log: commits that did not happen, and checkpoints,
    which say nothing that entries do not. Whether there was anything.

    Raises OSError where the lake cannot be written.
    """
    log = log_folder(table)
    if not log.is_dir():
        return False
    aside = table / "_torn"
    torn: list[Path] = []
    with (log / ".lock").open("w") as lock:  # whoever comes second finds it done
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in sorted((path for path in log.iterdir() if ENTRY.fullmatch(path.name)), reverse=True):
            if _parses(entry):
                break
            torn.append(entry)
        checkpoints = [path for path in log.glob("*.checkpoint*.parquet") if not _decodes(path)]
        if checkpoints:
            torn += [*checkpoints, *log.glob("_last_checkpoint")]
        for path in torn:
            aside.mkdir(exist_ok=True)
            path.replace(aside / path.name)
            logger.warning("%s is half-written, as a power cut leaves it; it is put aside in %s", path, aside)
        if torn:
            durable.sync_one(log)
    return bool(torn)


def _last_whole(table: Path) -> int | None:
    """The newest version with a whole entry, for readers that may not mend the log."""
    entries = sorted((path for path in log_folder(table).iterdir() if ENTRY.fullmatch(path.name)), reverse=True)
    return next((int(entry.stem) for entry in entries if _parses(entry)), None)


def _unreadable(key: str, table: Path, error: Exception) -> PlatformError:
    """What delta-rs says of a log that cannot be read, without its stack of C."""
    reason = str(error).splitlines()[0].rstrip(". ")
    return PlatformError(
        f"The log of {key} cannot be read: {reason}.",
        f"Restore {log_folder(table)} from a backup that is at least as new as the table's files.",
    )


def _entry(log: Path, version: int) -> Path:
    return log / f"{version:020}.json"


def _parses(entry: Path) -> bool:
    try:
        actions = [json.loads(line) for line in entry.read_bytes().splitlines()]
    except ValueError:
        return False
    return bool(actions) and len(actions) > int(_information(actions[0]).get(ACTIONS, 0))


def _information(action: Mapping[str, object]) -> Mapping[str, str]:
    found = action.get("commitInfo")
    return found if isinstance(found, Mapping) else {}


def _decodes(checkpoint: Path) -> bool:
    try:
        pl.read_parquet(checkpoint)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException):
        return False
    return True
