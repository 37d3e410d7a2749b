"""A deterministic pretend game that fills a landing folder, for demos, benchmarks and tests.

The platform never imports this package. Start with `simulate`; the modules follow a day's path: `players` and
`campaigns` (state), `world` (sessions and table changes), `events` (what happens in them), `dirt` (what goes wrong),
`writer` (files), `truth` (what a platform must count).
"""

from data_platform.simulation.run import simulate
from data_platform.simulation.truth import DayTruth, FileTruth, Truth

__all__ = ["DayTruth", "FileTruth", "Truth", "simulate"]
