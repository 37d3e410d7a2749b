"""Runs the pretend company day by day. Holds the order of things and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from data_platform.simulation.company import Company
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.writer import Landing


def simulate(
    players: int,
    days: int,
    seed: int,
    start: date,
    to: Path,
    dirty: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate every domain and write what arrives to the landing root `to`; returns `truth.json` there: the arguments,
    and what each domain says is true of its files.

    `players` is how many register in all: some before `start`, so that day one is not empty, and the rest evenly over
    the `days`. Equal arguments give equal bytes. `progress` is told days done and days in all. Only one day's rows,
    and late ones on their way, are in memory at a time.
    """
    scenario = Scenario(players, days, seed, str(start), dirty)
    truth = to / "truth.json"
    _refuse_another(truth, scenario)
    company = Company(scenario)
    facts: dict[str, Any] = asdict(scenario)
    with Landing(to) as landing:
        for day in range(days):
            for part in company:
                part.live(day, landing)
            if progress:
                progress(day + 1, days)
        for part in company:
            own = part.finish(landing)
            if twice := facts.keys() & own.keys():
                raise ValueError(f"{type(part).__name__} calls a fact {min(twice)}, which is taken: name it otherwise")
            facts |= own
    temporary = truth.with_name(f".{truth.name}")
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    temporary.rename(truth)
    return truth


def _refuse_another(truth: Path, scenario: Scenario) -> None:
    """Two simulations in one folder would overwrite each other in part, and then no truth would be true."""
    if truth.exists() and Scenario.of(truth) != scenario:
        raise FileExistsError(f"{truth.parent} already holds another simulation: choose an empty folder")
