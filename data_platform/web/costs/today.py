"""Today's calls as they arrive: new segments read, parsed as ingestion does, each call once, priced, added up.
Belongs here: what is held of today. Not here: what a call costs (its domain says so), what a page shows (spending)."""

from __future__ import annotations

import datetime as dt
import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from data_platform.core.contract.calendar import midnight, today_utc
from data_platform.core.http.tenants import EVERYBODY, Reach
from data_platform.core.settings import settings
from data_platform.sources.compressed_lines import FileRefused, LineChunk, LineFile
from data_platform.sources.line_parser import LineParser, Received
from data_platform.sources.live_spend import LiveSpend
from data_platform.sources.tail import Tail
from data_platform.web.query.questions import Period
from data_platform.web.query.tables import TenantTables

log = logging.getLogger(__name__)
BEFORE_MIDNIGHT = dt.timedelta(hours=1)
"""Calls of the end of yesterday are held too: reports of one call around midnight are one call."""
MOST_SEGMENTS = 100
"""Taken in between two looks, so that a server that reads back a day shows how far it is."""
CALL = "__call"


class Today:
    """The calls of one source since midnight (UTC), and what they cost. For one thread; `rows` for all.

    Holds each call with its tokens, some 0.4 KB: 400 MB for a million calls a day."""

    def __init__(self, spend: LiveSpend, landing: Path, tables: TenantTables) -> None:
        self.spend, self._tables = spend, tables
        tolerance = dt.timedelta(minutes=settings().future_tolerance_minutes)
        self._parser = LineParser(spend.source, settings().first_day, tolerance)
        self._folder = landing / spend.source.name
        self.generation = 0
        """Grows with each change of `rows`."""
        self.waiting = 0
        self.newest: float | None = None
        """When the newest segment that was read was written, in seconds since 1970."""
        self._prices = [table.empty() for table in spend.priced_by]
        self._prices_versions: list[int | None] = [None for _ in spend.priced_by]
        self._begin(today_utc())

    def _begin(self, day: dt.date) -> None:
        self.day = day
        since = midnight(day) - BEFORE_MIDNIGHT
        self._tail = Tail(self._folder, since.timestamp())
        self._found = deque[Path]()
        self._calls: pl.DataFrame | None = None
        self._sums: pl.DataFrame | None = None
        self.generation += 1

    def rows(self, reach: Reach) -> pl.DataFrame | None:
        """Sums of today that may be seen, by tenant, feature, model and currency; None before the first call."""
        sums, tenant = self._sums, self.spend.query.tenant
        if sums is None:
            return None
        of_today = sums.filter(pl.col(self.spend.day) == self.day)
        return of_today if reach.tenant is None else of_today.filter(pl.col(tenant) == reach.tenant)

    def step(self, now: dt.datetime) -> bool:
        """Take in what arrived since the last step, and whatever changed of prices; whether there was anything."""
        if now.date() != self.day:
            self._begin(now.date())
        repriced = self._look_at_prices()
        self._found.extend(self._tail.look())
        paths = [self._found.popleft() for _ in range(min(len(self._found), MOST_SEGMENTS))]
        self.waiting = len(self._found)
        for text in self._texts(paths):
            self._take(text, now)
        return bool(paths) or repriced

    def _look_at_prices(self) -> bool:
        """Read the prices again where a commit changed them, and price today's calls by them."""
        versions = [self._tables.version(table) for table in self.spend.priced_by]
        if versions == self._prices_versions:
            return False
        until = Period(dt.date(1970, 1, 1), self.day)
        self._prices = [
            table.empty() if version is None else self._tables.scan(table, EVERYBODY, until, {}).collect()
            for table, version in zip(self.spend.priced_by, versions, strict=True)
        ]
        self._prices_versions = versions
        if self._calls is not None:
            self._sums = self.spend.summed(self._calls.drop(CALL), *self._prices)
            self.generation += 1
        return True

    def _texts(self, paths: list[Path]) -> Iterator[bytes]:
        """The lines of segments; one that was put away meanwhile is read where it lies now."""
        for path in paths:
            for place in (path, self._tail.moved(path) if not path.exists() else None):
                if place is None:
                    continue
                try:
                    written = place.stat().st_mtime
                    chunks = [chunk.text for chunk in LineFile(place).chunks() if isinstance(chunk, LineChunk)]
                except FileNotFoundError:
                    continue
                except (OSError, FileRefused) as error:
                    log.warning("%s is not shown among today's costs: %s", place.name, error)
                    break
                self.newest = max(self.newest or 0, written)
                yield from chunks
                break

    def _take(self, text: bytes, now: dt.datetime) -> None:
        """Fold some lines in: where a call is known already, the report that counts replaces the other."""
        parsed = self._parser.parse(LineChunk(1, text), Received("", "", now))
        since = midnight(self.day) - BEFORE_MIDNIGHT
        calls = self.spend.calls(parsed.rows.filter(pl.col(self.spend.source.time_field) >= since))
        if calls.is_empty():
            return
        calls = calls.with_columns(self.spend.identity(calls).alias(CALL))
        if self._calls is None or self._sums is None:
            self._calls, self._sums = calls, self.spend.summed(calls.drop(CALL), *self._prices)
        else:
            told_before = self._calls.filter(pl.col(CALL).is_in(calls[CALL].implode()))
            if len(told_before):
                counting = self.spend.counting(pl.concat([told_before, calls]).drop(CALL))
                calls = counting.with_columns(self.spend.identity(counting).alias(CALL))
                self._calls = self._calls.join(told_before.select(CALL), on=CALL, how="anti")
            new = self.spend.summed(calls.drop(CALL), *self._prices)
            self._calls = pl.concat([self._calls, calls])
            self._sums = self._added(self._sums, new, told_before)
        self.generation += 1

    def _added(self, sums: pl.DataFrame, new: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
        numbers = [measure.name for measure in self.spend.query.measures]
        parts = [sums, new]
        if len(gone):
            taken = self.spend.summed(gone.drop(CALL), *self._prices)
            parts.append(taken.with_columns(-pl.col(numbers)))
        keys = [name for name in sums.columns if name not in numbers]
        added = pl.concat([part.select(sums.columns) for part in parts]).group_by(keys).agg(pl.col(numbers).sum())
        return added.filter(pl.any_horizontal(pl.col(numbers) != 0)).select(sums.columns)
