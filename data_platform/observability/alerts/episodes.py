"""One alert per failure: what was said of a problem, and whether something must be said now.
Belongs here: the pure rules of episodes. Not here: finding problems, keeping episodes (store), sending (delivery)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from data_platform.observability.alerts.problems import Level, Problem

FLAPPING = dt.timedelta(minutes=10)
"""A problem that is back within this time after it was gone is the same episode, and is told again only after it."""
AFTERMATH = dt.timedelta(minutes=30)
"""For so long after a cause is gone, what follows from it may take to mend by itself."""
REMIND = dt.timedelta(hours=24)


class Reason(StrEnum):
    """Why something is said."""

    OPENED = "opened"
    ROSE = "rose"
    """It was known as a warning and is critical now."""
    BACK = "back"
    """It was told as recovered, came back soon after, and stayed."""
    STILL = "still"
    """A mute ended, and it is still there."""
    REMINDER = "reminder"
    """Critical, and unchanged since it was told a day ago."""
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Mute:
    """Nothing is said of problems whose key matches the pattern (`*` and `?`) until then."""

    pattern: str
    until: dt.datetime

    def covers(self, key: str, now: dt.datetime) -> bool:
        return now < self.until and fnmatchcase(key, self.pattern)


@dataclass(frozen=True)
class Episode:
    """One failure from when it was first seen until it was gone, with what was told of it."""

    problem: Problem
    """As last seen; its `since` is the earliest that was seen."""
    opened_at: dt.datetime
    last_seen: dt.datetime
    count: int = 0
    """Looks that found it."""
    closed_at: dt.datetime | None = None
    notified_level: Level | None = None
    """The highest level that was told."""
    notified_at: dt.datetime | None = None
    notified_open: bool = False
    """Whether those who were told believe that it lasts."""
    silenced: bool = False
    """Seen while muted, and not told since."""
    quiet_until: dt.datetime | None = None


@dataclass(frozen=True)
class State:
    """The newest episode per key, and the mutes."""

    episodes: Mapping[str, Episode]
    mutes: Sequence[Mute] = ()


@dataclass(frozen=True)
class Notification:
    """Something to be said of an episode."""

    reason: Reason
    episode: Episode
    at: dt.datetime

    @property
    def level(self) -> Level:
        """Who hears of it: those who heard of the problem hear of its end."""
        return max(self.episode.notified_level or Level.INFO, self.episode.problem.level)


def advance(
    state: State, problems: Sequence[Problem], now: dt.datetime, unseen: frozenset[str] = frozenset()
) -> tuple[State, list[Notification]]:
    """The state after a look at `now` that found `problems`, and what must be said; changes nothing.

    Problems of the kinds in `unseen` could not be looked for: their episodes stay as they are.
    """
    current: dict[str, Problem] = {}
    for problem in problems:
        known = current.get(problem.key)
        if known is None or problem.level > known.level:
            current[problem.key] = problem
    episodes = dict(state.episodes)
    said: list[Notification] = []
    for key, problem in current.items():
        before = _same_episode(episodes.get(key), now)
        if before is None and _explained(problem, current, state.episodes, now):
            continue
        episodes[key], reason = _seen(before, problem, now, _muted(state, key, now))
        if reason:
            said.append(Notification(reason, episodes[key], now))
    for key, episode in state.episodes.items():
        if key in current or episode.problem.kind in unseen or (episode.closed_at and not episode.notified_open):
            continue
        closed = replace(episode, closed_at=episode.closed_at or now, silenced=False)
        # Gone while muted: said when the mute ends, so that nobody is left believing that it lasts.
        muted = _muted(state, key, now)
        if closed.notified_open and not muted:
            said.append(Notification(Reason.RECOVERED, closed, now))
        episodes[key] = replace(closed, notified_open=closed.notified_open and muted)
    return State(episodes, state.mutes), said


def _same_episode(episode: Episode | None, now: dt.datetime) -> Episode | None:
    if episode is None or (episode.closed_at is not None and now - episode.closed_at > FLAPPING):
        return None
    return episode


def _seen(before: Episode | None, problem: Problem, now: dt.datetime, muted: bool) -> tuple[Episode, Reason | None]:
    episode = before or Episode(problem, opened_at=now, last_seen=now)
    if episode.closed_at is not None:
        episode = replace(episode, closed_at=None, quiet_until=episode.closed_at + FLAPPING)
    since = min(problem.since, episode.problem.since)
    episode = replace(episode, problem=replace(problem, since=since), last_seen=now, count=episode.count + 1)
    if muted:
        return replace(episode, silenced=True), None
    reason = _due(episode, now)
    if reason is None:
        return episode, None
    highest = max(problem.level, episode.notified_level or problem.level)
    notified = replace(episode, notified_level=highest, notified_at=now, notified_open=True)
    return replace(notified, silenced=False, quiet_until=None), reason


def _due(episode: Episode, now: dt.datetime) -> Reason | None:
    """Why it must be told now, if it must."""
    level = episode.problem.level
    if episode.notified_level is None:
        return Reason.OPENED
    if level > episode.notified_level:
        return Reason.ROSE
    if episode.silenced:
        return Reason.STILL
    if not episode.notified_open:
        return Reason.BACK if episode.quiet_until is None or now >= episode.quiet_until else None
    reminded = episode.notified_at is not None and now - episode.notified_at >= REMIND
    return Reason.REMINDER if reminded and level == Level.CRITICAL else None


def _muted(state: State, key: str, now: dt.datetime) -> bool:
    return any(mute.covers(key, now) for mute in state.mutes)


def _explained(
    problem: Problem, current: Mapping[str, Problem], episodes: Mapping[str, Episode], now: dt.datetime
) -> bool:
    """Whether it follows from a problem at least as bad that is there, or was until half an hour ago."""
    for key in problem.explained_by:
        cause = current.get(key)
        if cause is not None and cause.level >= problem.level:
            return True
        past = episodes.get(key)
        if past is None or past.problem.level < problem.level:
            continue
        if past.closed_at is None or now - past.closed_at <= AFTERMATH:
            return True
    return False
