"""What is true about a simulated game: how many lines were written, and what a correct platform must make of each.

Counting only; the verdict on a line is given by whoever made it (`dirt`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from data_platform.simulation.scenario import Scenario

RAW_REASONS = (
    "invalid_json",
    "not_an_object",
    "missing_event_id",
    "missing_player_id",
    "missing_timestamp",
    "wrong_type_player_id",
    "wrong_type_event_data",
    "timestamp_in_future",
    "timestamp_before_first_day",
)
CLEAN_REASONS = ("missing_event_type", "conflicting_duplicate")
# Everything that can become of a line. Which of two conflicting copies wins is the platform's to decide; exactly one is
# rejected either way, so the verdict stands on the copy.
VERDICTS = ("clean", "duplicate", *CLEAN_REASONS, *RAW_REASONS)


@dataclass(frozen=True)
class FileTruth:
    """One file of events: received = stored + rejected."""

    received: int
    stored: int
    rejected: int
    rejected_by_reason: dict[str, int]


@dataclass(frozen=True)
class DayTruth:
    """All events of one event date, whenever they arrived: raw = clean + duplicates + rejected."""

    raw: int
    clean: int
    duplicates: int
    rejected: int
    rejected_by_reason: dict[str, int]


@dataclass(frozen=True)
class Truth:
    """The true counts of a game, as `truth.json` has them beside the arguments it was made from."""

    files: dict[str, FileTruth]  # by path below the landing root
    dates: dict[str, DayTruth]  # by event date
    changes: dict[str, dict[str, int]]  # by table: insert, update, delete, total
    totals: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> "Truth":
        content: dict[str, Any] = json.loads(path.read_text())
        files = {name: FileTruth(**counts) for name, counts in content["files"].items()}
        dates = {day: DayTruth(**counts) for day, counts in content["dates"].items()}
        return cls(files, dates, content["changes"], content["totals"])


@dataclass
class Tally:
    """Counts lines by verdict while they are written."""

    scenario: Scenario
    _files: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    _changes: dict[str, dict[str, int]] = field(default_factory=dict)
    _dates: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._dates = np.zeros((self.scenario.days, len(VERDICTS)), np.int64)

    def clean(self, file: str, day: int, count: int) -> None:
        """Count faultless lines of one event day (0 is the first)."""
        self._of(file)[0] += count
        self._dates[day, 0] += count

    def judged(self, file: str, lines: pl.DataFrame) -> None:
        """Count lines by their own `verdict` and `event_day` (null where raw rejects the line)."""
        np.add.at(self._of(file), lines["verdict"].to_numpy(), 1)
        stored = lines.filter(pl.col("event_day").is_not_null())
        np.add.at(self._dates, (stored["event_day"].to_numpy(), stored["verdict"].to_numpy()), 1)

    def changed(self, table: str, operations: pl.Series) -> None:
        """Count change rows of a table by operation."""
        counts = self._changes.setdefault(table, {"insert": 0, "update": 0, "delete": 0, "total": 0})
        for operation, count in operations.value_counts().iter_rows():
            counts[operation] += count
            counts["total"] += count

    def truth(self) -> Truth:
        files = {name: _file_truth(_by_verdict(counts)) for name, counts in self._files.items()}
        dates = {
            str(self.scenario.date(day)): _day_truth(_by_verdict(counts)) for day, counts in enumerate(self._dates)
        }
        totals = {
            **{name: sum(getattr(one, name) for one in files.values()) for name in ("received", "stored")},
            "rejected_raw": sum(one.rejected for one in files.values()),
            **{name: sum(getattr(one, name) for one in dates.values()) for name in ("raw", "clean", "duplicates")},
            "rejected_clean": sum(one.rejected for one in dates.values()),
            "files": len(files),
            "changes": sum(counts["total"] for counts in self._changes.values()),
        }
        return Truth(files, dates, self._changes, totals)

    def _of(self, file: str) -> npt.NDArray[np.int64]:
        return self._files.setdefault(file, np.zeros(len(VERDICTS), np.int64))


def _by_verdict(counts: npt.NDArray[np.int64]) -> dict[str, int]:
    return {verdict: int(count) for verdict, count in zip(VERDICTS, counts, strict=True) if count}


def _only(reasons: tuple[str, ...], counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: counts[reason] for reason in reasons if reason in counts}


def _file_truth(counts: Mapping[str, int]) -> FileTruth:
    rejected = _only(RAW_REASONS, counts)
    received = sum(counts.values())
    return FileTruth(received, received - sum(rejected.values()), sum(rejected.values()), rejected)


def _day_truth(counts: Mapping[str, int]) -> DayTruth:
    rejected = _only(CLEAN_REASONS, counts)
    clean, duplicates = counts.get("clean", 0), counts.get("duplicate", 0)
    return DayTruth(sum(counts.values()), clean, duplicates, sum(rejected.values()), rejected)
