"""What benchmarks share: simulated landing files made once, fresh homes, progress bars, and the one long pipeline run.
Not here: any goal."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import data_platform
from benchmarks.process import Follow, Measured, run_task
from data_platform.domains.gameplay import sources as gameplay
from data_platform.domains.gameplay.simulation.truth import Truth
from data_platform.simulation import simulate
from data_platform.sources.landing_source import LandingSource

START = dt.date(2024, 1, 1)
SEED = 1

Made = TypeVar("Made")


@dataclass(frozen=True)
class Simulated:
    """A landing root that is only ever read: homes get hard links of its files."""

    root: Path
    truth: Truth
    days: list[dt.date]

    @property
    def events(self) -> int:
        return sum(day.clean for day in self.truth.dates.values())

    def files(self, sources: Sequence[LandingSource] = gameplay.SOURCES) -> list[Path]:
        """The game's files unless said otherwise: what the platform is measured against reads no others."""
        return sorted(path for source in sources for path in (self.root / source.name).glob("*.gz"))

    def uncompressed_bytes(self) -> int:
        """Each file is one gzip member below 4 GB, so its last four bytes are its length."""
        return sum(int.from_bytes(path.read_bytes()[-4:], "little") for path in self.files())

    def land(
        self, home: Path, days: list[dt.date] | None = None, sources: Sequence[LandingSource] = gameplay.SOURCES
    ) -> None:
        """Drop the files (of the given days) of the sources into a home's landing folders."""
        names = {str(day) for day in days} if days is not None else None
        for path in self.files(sources):
            if names is None or path.name[:10] in names:
                target = home / "landing" / path.relative_to(self.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, target)
                except OSError:
                    shutil.copyfile(path, target)


class Bench:
    """One run of benchmarks. A context manager; leaving it removes the homes and keeps the simulated files."""

    def __init__(self, scale: float, folder: Path, console: Console) -> None:
        self.scale, self.folder = scale, folder
        self._cleanup = ExitStack()
        self._made: dict[Any, Any] = {}
        column = "[progress.description]{task.description}"
        self._progress = Progress(
            SpinnerColumn(), TextColumn(column), BarColumn(), TimeElapsedColumn(), console=console, transient=True
        )

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._cleanup.enter_context(self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def once(self, make: Callable[[Bench], Made]) -> Made:
        """What `make` makes of this bench, made at the first call: several benchmarks look at one long run."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]  # type: ignore[no-any-return]

    def scaled(self, count: int) -> int:
        return max(20, round(count * self.scale))

    def fresh_home(self) -> Path:
        return self.fresh_folder() / "home"

    def fresh_folder(self) -> Path:
        return Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=self.folder)))

    def simulated(self, players: int, days: int) -> Simulated:
        """Landing files of a clean simulation, kept between runs for as long as the simulation's code is the same."""
        package = Path(data_platform.__path__[0])
        code = b"".join(path.read_bytes() for path in sorted(package.rglob("simulation/*.py")))
        digest = hashlib.blake2b(code, digest_size=4).hexdigest()
        root = self.folder / f"landing-{players}-players-{days}-days-seed-{SEED}-{digest}"
        if not (root / "truth.json").exists():
            with self.following(f"simulate {players:,} players, {days} days") as follow:
                simulate(players, days, SEED, START, root, progress=lambda done, total: follow("", done, total))
        truth = Truth.read(root / "truth.json")
        return Simulated(root, truth, [START + dt.timedelta(day) for day in range(days)])

    def run(self, title: str, task: str, home: Path, **arguments: Any) -> Measured:
        """A function of `tasks.py` in a fresh process."""
        with self.following(title) as follow:
            return run_task(task, arguments, home, START.isoformat(), follow)

    def following(self, title: str) -> _Bar:
        return _Bar(self._progress, title)


class _Bar:
    """A progress bar for the time of a `with` block."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title = progress, title

    def __enter__(self) -> Follow:
        self._bar = self._progress.add_task(self._title, total=None)
        return self._follow

    def __exit__(self, *_error: object) -> None:
        self._progress.remove_task(self._bar)

    def _follow(self, what: str, done: int, total: int) -> None:
        text = f"{self._title}: {what}" if what else self._title
        self._progress.update(self._bar, description=text, completed=done, total=total)
