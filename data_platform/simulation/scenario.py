"""The arguments of a simulation, the moments it spans, and its random numbers.
Not here: what any domain makes of them."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from data_platform.simulation.text import DAY, midnight


@dataclass(frozen=True)
class Scenario:
    """Equal ones give equal files."""

    players: int
    days: int
    seed: int
    start: str
    dirty: bool

    def __post_init__(self) -> None:
        if min(self.players, self.days) < 1 or self.seed < 0:
            raise ValueError(f"needs at least one player, one day and a seed from 0: got {self}")

    def date(self, day: int) -> dt.date:
        """The date of a day; 0 is the first."""
        return dt.date.fromisoformat(self.start) + dt.timedelta(day)

    def midnight(self, day: int) -> int:
        """The first millisecond of a day."""
        return midnight(self.date(0)) + day * DAY

    def random(self, stream: str | int, *of: int) -> np.random.Generator:
        """A stream of random numbers, named by its domain: what draws from one changes no other.

        Game and shop number theirs, 0 to 5, so that equal seeds give the files they always gave. Names are better: to
        numpy 5 and 5, 0 are one.
        """
        if isinstance(stream, int):
            return np.random.default_rng([self.seed, stream, *of])
        named = blake2b(repr((stream, *of)).encode(), digest_size=16).digest()
        return np.random.default_rng([self.seed, int.from_bytes(named)])

    @classmethod
    def of(cls, truth: Path) -> Scenario:
        """The arguments in a `truth.json`."""
        content = json.loads(truth.read_text())
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})
