"""The game as a part of the simulation: its tables' changes, its events with their dirt, in order of arrival, and what
the game servers count. Holds the order of things; each thing has its module."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from data_platform.domains.gameplay.simulation.dirt import no_strays, soil, stray_lines
from data_platform.domains.gameplay.simulation.events import (
    Texts,
    catalogue,
    devices,
    devices_of,
    fragments,
    happenings,
    lines,
    with_ids,
)
from data_platform.domains.gameplay.simulation.truth import Tally, Truth
from data_platform.domains.gameplay.simulation.world import Sessions, World
from data_platform.simulation.company import Company, Part
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.text import DAY, Ints, iso
from data_platform.simulation.writer import Landing

# Independent streams of random numbers, so that dirt does not change what the players do; 0 and 1 are the world's.
_EVENTS, _DIRT = 2, 3
_LINES_AT_ONCE = 20_000  # 10 MB of text
EVENTS, TOTALS = "player_events", "event_totals"


class Game(Part):
    """Players, campaigns and events. `sessions` and `changes` (rows by table) are those of the day lived last."""

    sessions: Sessions
    changes: dict[str, pl.DataFrame]

    def __init__(self, scenario: Scenario, company: Company) -> None:
        super().__init__(scenario, company)
        self.world = World(scenario)
        self._tally = Tally(scenario)
        self._after_midnight, self._on_the_way = pl.DataFrame(), no_strays()

    def live(self, day: int, landing: Landing) -> None:
        device = devices_of(self.world.players)
        self.sessions, self.changes = self.world.live(day)
        for table, rows in self.changes.items():
            self._tally.changed(table, rows["operation"])
            if "last_active" in rows.columns:
                rows = rows.with_columns(iso("last_active").alias("last_active"))
            landing.write_rows(self.scenario.date(day), table, rows)
        texts = _texts(self.world, day)
        tomorrow = self.scenario.midnight(day + 1)
        events = self._happened(day, device)
        if self.scenario.dirty:
            first, end = self.scenario.midnight(day), self.scenario.midnight(self.scenario.days)
            events, strays = soil(events, texts, first, end, day, self.scenario.random(_DIRT, day))
            self._on_the_way = pl.concat([self._on_the_way, strays])
        arrives = pl.col("arrives") < tomorrow
        self._write(day, landing, events, self._on_the_way.filter(arrives), texts)
        self._on_the_way = self._on_the_way.filter(~arrives)

    def finish(self, landing: Landing) -> dict[str, Any]:
        truth = self._tally.truth()
        landing.write_rows(self.scenario.date(self.scenario.days - 1), TOTALS, self._control_totals(truth))
        return asdict(truth)

    def _happened(self, day: int, device: Ints) -> pl.DataFrame:
        """The day's events in order; those of its sessions that lie after midnight wait for tomorrow."""
        rng = self.scenario.random(_EVENTS, day)
        events = happenings(self.sessions, device, rng)
        if day:
            events = pl.concat([self._after_midnight, events])
        is_today = pl.col("at") < self.scenario.midnight(day + 1)
        self._after_midnight = events.filter(~is_today)
        return with_ids(events.filter(is_today).sort("at", maintain_order=True), rng)

    def _write(self, day: int, landing: Landing, events: pl.DataFrame, strays: pl.DataFrame, texts: Texts) -> None:
        """Write what arrived on a day, in order of arrival: its events (sorted by `at`) and strays, see `dirt`."""
        strays = strays.sort("arrives", maintain_order=True)
        arrivals = strays["arrives"]
        offset = passed = 0
        with landing.lines(self.scenario.date(day), EVENTS) as file:
            while offset < len(events) or passed < len(strays):
                piece = events[offset : offset + _LINES_AT_ONCE]
                offset += len(piece)
                all_passed = offset >= len(events)
                until = len(strays) if all_passed else int(arrivals.search_sorted(events["at"][offset], "left"))
                guests = strays[passed:until]
                passed = until
                text = lines(fragments(piece, texts))
                if len(guests):
                    arrived = pl.concat([piece["at"], guests["arrives"]]).arg_sort()
                    text = pl.concat([text, stray_lines(guests)])[arrived]
                path = file.write(text)
                self._tally.clean(path, day, len(piece))
                self._tally.judged(path, guests)

    def _control_totals(self, truth: Truth) -> pl.DataFrame:
        """What the game servers count of each day once its last event has arrived."""
        counts = [day.clean for day in truth.dates.values()]
        starts_at = [self.scenario.midnight(day) for day in range(len(counts))]
        return pl.DataFrame({"starts_at": starts_at, "events": counts, "counted_at": [at + DAY for at in starts_at]})


def _texts(world: World, day: int) -> Texts:
    event_type, event_data = catalogue()
    return Texts(
        player=_quoted("player_id", world.players.id),
        campaign=pl.concat([pl.Series(['"campaign_id":null']), _quoted("campaign_id", world.campaigns.id)]),
        event_type=event_type,
        event_data=event_data,
        device=devices(day),
    )


def _quoted(name: str, values: pl.Series) -> pl.Series:
    return pl.select(pl.format('"{}":"{}"', pl.lit(name), values)).to_series()
