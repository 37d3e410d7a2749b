"""Which table tells what departed on a day in several: one alarm for one cause.
Belongs here: that choice, from lineage and what was found unusual. Not here: what is unusual (anomalies), where that is
kept (profile_store)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from functools import cached_property

from data_platform.core.contract.lineage import INPUTS, Part, same_day_origins
from data_platform.core.contract.table import Table, contract, contracts
from data_platform.core.quality.profile import is_profiled

Departures = Mapping[tuple[dt.date, str, str], bool]
"""Day, table, column (or ROWS) that departed → whether that table told it."""


class Causes:
    """What departed upstream of a table, or in tables made of the same; read when something departs, and once.

    Upstream tells. Of tables made of the same input, which itself is not judged, the one that was judged first tells;
    it goes on telling when days are judged again, and the others go on pointing to it.
    """

    def __init__(self, table: type[Table], departures_of: Callable[[Collection[str]], Departures]) -> None:
        self._table = table
        self._departures_of = departures_of

    def elsewhere(self, day: dt.date, departed: Collection[str]) -> Mapping[str, str]:
        """For each of `departed` that another table tells, that table's key."""
        chosen = ((about, self._reported_at(day, about)) for about in departed)
        return {about: key for about, key in chosen if key}

    def _reported_at(self, day: dt.date, about: str) -> str | None:
        above = {one for one in self._above.get(about, ()) if (day, *one) in self._departed}
        if above:
            # The one that no other of them is upstream of; in the order of names where several are.
            return min(above, key=lambda one: (not above.isdisjoint(self._above_of(one)), one))[0]
        if self._departed.get((day, self._table.key, about)):
            return None
        return min(
            (key for key, what in self._beside.get(about, ()) if self._departed.get((day, key, what))), default=None
        )

    def _above_of(self, part: Part) -> set[Part]:
        key, about = part
        return same_day_origins(contract(key)).get(about, set())

    @cached_property
    def _above(self) -> dict[str, set[Part]]:
        return same_day_origins(self._table)

    @cached_property
    def _beside(self) -> dict[str, set[Part]]:
        """Column (or ROWS) → those of other tables that share an input with it which is not judged."""
        mine = _not_judged_origins(self._table)
        known = contracts()
        shared: dict[str, set[Part]] = {about: set() for about in mine}
        for key in sorted(known.keys() & INPUTS.keys() - {self._table.key}):
            if is_profiled(known[key]):
                for what, theirs in _not_judged_origins(known[key]).items():
                    for about, of in mine.items():
                        if not of.isdisjoint(theirs):
                            shared[about].add((key, what))
        return shared

    @cached_property
    def _departed(self) -> Departures:
        kin = {key for parts in (*self._above.values(), *self._beside.values()) for key, _ in parts}
        return self._departures_of({*kin, self._table.key}) if kin else {}


def _not_judged_origins(table: type[Table]) -> dict[str, set[Part]]:
    found = same_day_origins(table, through=lambda one: not is_profiled(one))
    return {about: {one for one in parts if not is_profiled(contract(one[0]))} for about, parts in found.items()}
