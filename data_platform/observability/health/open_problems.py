"""What is wrong now, as alerts see it, and what is known without them: the page and an alert never tell two stories.
Belongs here: which problems the page shows and in which order. Not here: when a check counts as failed (alerts)."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from data_platform.core.contract.calendar import end_of
from data_platform.core.contract.lineage import upstream_of
from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.observability.alerts.episodes import Episode
from data_platform.observability.alerts.problems import (
    LOOK_BACK,
    PLATFORM,
    Level,
    Problem,
    backlogs,
    failed_checks,
    stale_tables,
    storage_growth,
)
from data_platform.observability.alerts.store import AlertStore
from data_platform.observability.contracts import FreshnessState
from data_platform.sources.landing_source import LandingSource

if TYPE_CHECKING:
    from data_platform.observability.health.facts import TableFacts

log = logging.getLogger(__name__)

SEEN_HERE = {"check", "freshness", "backlog", "storage_growth"}
"""Kinds of problems that the page looks for itself; of all others (failed runs) it tells what alerts remember."""


class OpenProblems:
    """Looks for problems; failed checks again only when the verdict ledger has changed."""

    def __init__(self, lake: Lake, sources: Sequence[LandingSource]) -> None:
        self.lake, self.sources = lake, list(sources)
        self.ended: list[Episode] = []
        """What was over at the last look, the newest first."""
        self._unreadable_since: dict[str, dt.datetime] = {}
        self._checks: tuple[int | None, dt.date, list[Problem]] | None = None

    def look(
        self, tables: Sequence[TableFacts], watched: bool, now: dt.datetime, ledger_version: int | None
    ) -> list[Problem]:
        """Worst and newest first; what follows from another problem comes after all that do not.

        `watched` says that freshness is being recorded; if not, it follows from the newest day of each table.
        """
        remembered = self._found("episodes", self._remembered, now)
        first = min([now - LOOK_BACK, *(problem.since for problem in remembered)])
        found = self._found("checks", lambda: self._failed_checks(first, now, ledger_version), now)
        if watched:
            found += self._found("freshness", lambda: stale_tables(self.lake, now, first), now)
        else:
            found += [_stale(facts, now) for facts in tables if _is_old(facts)]
        found += self._found("landing", lambda: backlogs(self.sources, now), now)
        found += self._found("storage", lambda: storage_growth(self.lake, now), now)
        found += [problem for problem in remembered if problem.kind not in SEEN_HERE]
        unreadable = [facts.table.key for facts in tables if facts.unreadable]
        self._unreadable_since = {key: self._unreadable_since.get(key, now) for key in unreadable}
        found += [_unreadable(facts, self._unreadable_since[facts.table.key]) for facts in tables if facts.unreadable]
        keys = {problem.key for problem in found}
        return sorted(found, key=lambda p: (follows(p, keys), -p.level, -p.since.timestamp(), p.key))

    def _remembered(self) -> list[Problem]:
        """Problems of the alerts' open episodes; those that are over are kept in `ended`."""
        home = settings().home
        known = AlertStore(home).state().episodes.values() if (home / "alerts.sqlite").exists() else ()
        over = [episode for episode in known if episode.closed_at is not None]
        self.ended = sorted(over, key=lambda e: e.closed_at or e.last_seen, reverse=True)
        return [episode.problem for episode in known if episode.closed_at is None]

    def _failed_checks(self, first: dt.datetime, now: dt.datetime, ledger_version: int | None) -> list[Problem]:
        if self._checks is None or self._checks[:2] != (ledger_version, now.date()):
            self._checks = (ledger_version, now.date(), failed_checks(self.lake, first))
        return list(self._checks[2])

    def _found(self, what: str, search: Callable[[], list[Problem]], now: dt.datetime) -> list[Problem]:
        """What a search finds; that it cannot search is a problem, too."""
        try:
            return search()
        except Exception as error:
            log.warning("cannot look for problems of %s: %s", what, type(error).__name__)
            title = f"the page cannot see {what}"
            detail = f"{type(error).__name__} while looking for problems of {what}."
            return [Problem(f"watch:{what}", Level.WARNING, title, detail, PLATFORM, now)]


def follows(problem: Problem, open_keys: set[str]) -> bool:
    """Whether it is explained by another open problem."""
    return not open_keys.isdisjoint(problem.explained_by)


def freshness_by_days(
    table: type[Table], built: bool, newest: dt.date | None, now: dt.datetime
) -> tuple[FreshnessState | None, str, dt.timedelta | None]:
    """State, reason and age as far as the newest day with rows tells them; for when nobody looks at event times."""
    if not built:
        return FreshnessState.NOT_BUILT, "Nothing has been built yet.", None
    if newest is None:
        return None, "It has no days.", None
    end = end_of(newest)
    age = max(now - end, dt.timedelta(0))
    reason = f"The newest day with rows is {newest}."
    if table.fresh is None:
        return None, reason, age
    if age > table.fresh.fail:
        return FreshnessState.CRITICAL, reason, age
    late = table.fresh.warn is not None and age > table.fresh.warn
    return FreshnessState.STALE if late else FreshnessState.FRESH, reason, age


def _is_old(facts: TableFacts) -> bool:
    return facts.freshness.state in (FreshnessState.STALE, FreshnessState.CRITICAL)


def _stale(facts: TableFacts, now: dt.datetime) -> Problem:
    table, age = facts.table, facts.freshness.age or dt.timedelta(0)
    critical = facts.freshness.state == FreshnessState.CRITICAL
    bound = table.fresh.warn or table.fresh.fail if table.fresh else dt.timedelta(0)
    return Problem(
        key=f"freshness:{table.key}",
        level=Level.CRITICAL if critical else Level.WARNING,
        title=f"{table.key}: data is {'too old' if critical else 'late'}",
        what=facts.freshness.reason,
        owner=table.owner,
        since=now - age + min(bound, age),
        asset=table.key,
        explained_by=tuple(sorted(f"freshness:{needed.key}" for needed in upstream_of([table]) - {table})),
    )


def _unreadable(facts: TableFacts, now: dt.datetime) -> Problem:
    return Problem(
        key=f"unreadable:{facts.table.key}",
        level=Level.CRITICAL,
        title=f"{facts.table.key}: the table cannot be read",
        what=f"Its log in the lake gave {facts.unreadable}.",
        owner=facts.table.owner,
        since=now,
        asset=facts.table.key,
    )
