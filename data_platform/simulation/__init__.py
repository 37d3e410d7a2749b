"""A deterministic pretend company that fills landing folders, for demos, benchmarks and tests; the platform never
imports it. Belongs here: what all domains' parts share: arguments and seeds (`scenario`), what a part is
(`company`), text, files (`writer`), order of days (`run`). Not here: what happens in a domain (its `simulation`)."""

from data_platform.simulation.run import simulate

__all__ = ["simulate"]
