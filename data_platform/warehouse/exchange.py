"""What a step of Dagster and the dbt process that it started say to each other, by files in a folder of their own.
Belongs here: the messages. Not here: what either does with them (assets, computing)."""

from __future__ import annotations

import datetime as dt
import json
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from data_platform.core.errors import PlatformError
from data_platform.core.quality.validation import Verdict

PLAN, SELECTION = "plan.json", "selection.json"
LOOKED_AFTER = 0.005
"""Seconds between two looks for an answer."""


@dataclass(frozen=True)
class Plan:
    """What dbt is to compute or, `as_stored`, to test alone."""

    root: str
    today: str
    slice_rows: int
    days: Mapping[str, Sequence[str]]
    """Table → its days, as `YYYY-MM-DD`; none for a table without days."""
    reads: Mapping[str, Sequence[tuple[str, int | None, int]]]
    """Table → what it reads: tables, each with the first and last day that a day needs."""
    tests: Mapping[str, Sequence[str]]
    """Table → the tests that are to be asked before its days are published."""
    as_stored: bool = False

    def write(self, folder: Path) -> None:
        (folder / PLAN).write_text(json.dumps(asdict(self)))


def plan_of(folder: Path) -> Plan | None:
    """None where nobody left a plan: dbt was started from a shell."""
    file = folder / PLAN
    return Plan(**json.loads(file.read_text())) if file.exists() else None


def select(folder: Path, names: Sequence[str]) -> None:
    """Tell dbt what it is to select, which is what it waits for. The plan is written before."""
    unfinished = folder / f".{SELECTION}"
    unfinished.write_text(json.dumps(list(names)))
    unfinished.rename(folder / SELECTION)


def await_selection(folder: Path, started_by: int) -> list[str]:
    """What to select, once that is known. Raises PlatformError when the process that started dbt is gone."""
    selected: list[str] = json.loads(_awaited(folder / SELECTION, started_by).read_text())
    return selected


def _awaited(file: Path, started_by: int) -> Path:
    while not file.exists():
        if os.getppid() != started_by or not file.parent.exists():
            raise PlatformError("The step that started dbt has ended.", "Run it again.")
        time.sleep(LOOKED_AFTER)
    return file


@dataclass(frozen=True)
class Slice:
    """Computed days (none: the whole table) and the file that holds their rows."""

    days: Sequence[dt.date]
    file: str

    def rows(self, folder: Path) -> pl.DataFrame:
        return pl.read_ipc(folder / self.file)


@dataclass(frozen=True)
class Handover:
    """A model that was computed, with what its tests say; nothing of it is published."""

    key: str
    sql: str
    slices: Sequence[Slice] = ()
    verdicts: Sequence[Verdict] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Days that cannot be computed, and why."""
    error: Exception | None = None
    """Why nothing of it could be computed."""
    waits_for: Sequence[str] = ()
    """Tables whose refused days hold back days of this one."""
    read: Mapping[str, int | None] = field(default_factory=dict)
    """The versions that were read."""


def hand_over(folder: Path, handover: Handover) -> None:
    """Leave it for the step, and say so on standard output in the words of dbt's log, which is what a step listens
    to."""
    name = handover.key.replace("/", ".")
    unfinished = folder / f".{name}.computed"
    unfinished.write_bytes(pickle.dumps(handover))
    unfinished.rename(folder / f"{name}.computed")
    info = {"name": "LakeHandover", "level": "info", "msg": f"{handover.key} is computed", "invocation_id": ""}
    print(json.dumps({"info": info, "data": {}}), flush=True)


def handed_over(folder: Path) -> list[Handover]:
    """What was left since the last time, oldest first."""
    found = sorted(folder.glob("[!.]*.computed"), key=lambda path: path.stat().st_mtime_ns)
    handovers: list[Handover] = []
    for path in found:
        handovers.append(pickle.loads(path.read_bytes()))
        path.unlink()
    return handovers


def answer(folder: Path, key: str, refused: Sequence[str]) -> None:
    """Tell dbt that the table is published, but for the days that are refused (or `""`, the whole table)."""
    name = key.replace("/", ".")
    unfinished = folder / f".{name}.published"
    unfinished.write_text(json.dumps(list(refused)))
    unfinished.rename(folder / f"{name}.published")


def await_answer(folder: Path, key: str) -> set[str]:
    """The days of a table that were refused, once its publication is over. Raises PlatformError when the step is
    gone."""
    file = _awaited(folder / f"{key.replace('/', '.')}.published", os.getppid())
    refused: list[str] = json.loads(file.read_text())
    return set(refused)


def message(event: Mapping[str, Any]) -> str:
    """What an event of dbt's log says."""
    return " ".join(str(event.get("info", {}).get("msg", "")).split())
