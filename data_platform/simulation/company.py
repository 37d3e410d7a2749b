"""What a domain's part of the simulation is, and all parts together, found in the modules `simulation` of the domains.
Not here: any part, the order of days (run)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from data_platform.core.lake.store import Lake
from data_platform.core.packages import modules_called
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.writer import Landing

P = TypeVar("P", bound="Part")


class Part:
    """What a domain declares in its module `simulation`: a subclass that lives through the days of a scenario.

    A part that builds on another asks for it when it is made (`company.part(Game)`), and then lives each day after it.
    """

    def __init__(self, scenario: Scenario, company: Company) -> None:
        self.scenario = scenario

    def live(self, day: int, landing: Landing) -> None:
        """Live through a day and write what arrives on it. Called for each day in order; 0 is the first."""
        raise NotImplementedError

    def finish(self, landing: Landing) -> dict[str, Any]:
        """After the last day: what is true of all that was written, under names of one's own, for `truth.json`."""
        return {}

    @classmethod
    def told(cls, lake: Lake, facts: Mapping[str, Any]) -> Iterable[str]:
        """What `data-platform demo` prints of it, line by line, once its tables are built; `facts` is `truth.json`."""
        return ()


class Company:
    """One of each part, those that others build on first."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._parts = scenario, dict[type[Part], Part]()
        for kind in known_parts():
            self.part(kind)

    def part(self, kind: type[P]) -> P:
        if kind not in self._parts:
            made = kind(self._scenario, self)  # which makes what it builds on before it stands here itself
            self._parts[kind] = made
        found = self._parts[kind]
        assert isinstance(found, kind)
        return found

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())


def known_parts() -> list[type[Part]]:
    """The parts of every domain, ours and those of installed packages."""
    declared = [value for module in modules_called("simulation") for value in vars(module).values()]
    parts = [value for value in declared if isinstance(value, type) and issubclass(value, Part) and value is not Part]
    return list(dict.fromkeys(parts))
