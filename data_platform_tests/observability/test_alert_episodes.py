"""Who is told what and when, on the pure rules alone: against a naive judge that reads the whole history again at every
look. Not here: finding problems and sending (test_alerts)."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.observability.alerts.episodes import AFTERMATH, FLAPPING, REMIND, Mute, Reason, State, advance
from data_platform.observability.alerts.messages import Message, of_notification
from data_platform.observability.alerts.problems import Findings, Level, Problem
from data_platform.observability.alerts.store import AlertStore

T0 = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
EMPTY = State({})


def problem(
    level: Level = Level.CRITICAL, key: str = "check:a/b:rule", *causes: str, since: dt.datetime = T0
) -> Problem:
    return Problem(key, level, f"{key} is bad", "It is bad.", "team:a", since, "a/b", explained_by=causes)


@dataclass(frozen=True)
class Step:
    """A look `after` minutes after the last one; `level` of the problem, None when it is gone."""

    after: int
    level: Level | None
    muted: bool = False


def said_by(steps: Sequence[Step], state: State = EMPTY, key: str = "check:a/b:rule") -> list[list[Reason]]:
    """What each look made us say."""
    now, said = T0, []
    for step in steps:
        now += step.after * MINUTE
        mutes = [Mute("check:*", now + MINUTE)] if step.muted else []
        found = [problem(step.level, key)] if step.level else []
        state, notifications = advance(State(state.episodes, mutes), found, now)
        said.append([notification.reason for notification in notifications])
    return said


def judged_by(steps: Sequence[Step]) -> list[list[Reason]]:
    """The same from the history alone: no state is carried from look to look but the list of what was said."""
    times: list[dt.datetime] = []
    said: list[list[Reason]] = []
    for number, step in enumerate(steps):
        times.append((times[-1] if times else T0) + step.after * MINUTE)
        now = times[-1]
        # The episode: back to the first gap of looks without the problem that lasted longer than FLAPPING.
        begin, gone_at, ends = number, None, []
        for i in range(number - 1, -1, -1):
            if steps[i].level:
                if gone_at is not None and steps[begin].level:
                    back_at = times[begin]
                    if back_at - gone_at > FLAPPING:
                        break
                    ends.append(gone_at)
                begin, gone_at = i, None
            else:
                gone_at = times[i]
        if not step.level:
            earlier = [r for i in range(begin, number) for r in said[i]]
            believes = bool(earlier) and earlier[-1] != Reason.RECOVERED
            said.append([Reason.RECOVERED] if believes and not step.muted else [])
            continue
        notified_at = [(i, r) for i in range(begin, number) for r in said[i]]
        alerts = [i for i, r in notified_at if r != Reason.RECOVERED]
        highest = max((steps[i].level or Level.INFO for i in alerts), default=None)
        visible = max(i for i in range(number + 1) if i == 0 or not steps[i - 1].level)  # where this stretch began
        last_alert = max(alerts, default=-1)
        stretch = range(max(visible, last_alert + 1), number)
        if step.muted:
            said.append([])
        elif highest is None:
            said.append([Reason.OPENED])
        elif step.level > highest:
            said.append([Reason.ROSE])
        elif any(steps[i].muted for i in stretch):
            said.append([Reason.STILL])
        elif notified_at[-1][1] == Reason.RECOVERED:
            said.append([Reason.BACK] if now - max(ends) >= FLAPPING else [])
        else:
            due = step.level == Level.CRITICAL and now - times[last_alert] >= REMIND
            said.append([Reason.REMINDER] if due else [])
    return said


MINUTES = st.sampled_from([1, 1, 1, 3, 9, 10, 11, 25, 60, 1439, 1440])
STEPS = st.builds(
    Step, MINUTES, st.sampled_from([None, None, Level.WARNING, Level.CRITICAL, Level.CRITICAL]), st.booleans()
)


@settings(max_examples=600, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_episodes_say_what_a_judge_of_the_whole_history_says(steps: list[Step]) -> None:
    assert said_by(steps) == judged_by(steps)


def looks(pattern: str, after: int = 1) -> list[Step]:
    """`C` critical, `W` warning, `.` gone; lower case is muted."""
    levels = {"c": Level.CRITICAL, "w": Level.WARNING, ".": None, ",": None}
    return [Step(after, levels[mark.lower()], mark.islower() or mark == ",") for mark in pattern]


@pytest.mark.parametrize(
    ("pattern", "after", "expected"),
    [
        ("C" * 1000 + ".", 1, ["opened", "recovered"]),
        ("WWWCCW.", 1, ["opened", "rose", "recovered"]),
        ("C.C.C.C.C.C.", 1, ["opened", "recovered"]),
        ("C." + "C" * 30, 1, ["opened", "recovered", "back"]),
        ("C.C", 20, ["opened", "recovered", "opened"]),
        ("C" * 49, 60, ["opened", "reminder", "reminder"]),
        ("W" * 49, 60, ["opened"]),
        ("ccccC", 1, ["opened"]),
        ("CcccccC.", 1, ["opened", "still", "recovered"]),
        ("Cccc,", 1, ["opened"]),
        ("Cccc,,,.", 1, ["opened", "recovered"]),
        ("cccc..", 1, []),
        ("Cc,cC.", 1, ["opened", "still", "recovered"]),
        (".", 1, []),
    ],
)
def test_the_rules_by_example(pattern: str, after: int, expected: list[str]) -> None:
    assert [reason for said in said_by(looks(pattern, after)) for reason in said] == expected


def test_what_follows_from_a_known_problem_is_not_reported() -> None:
    cause, effect = problem(key="freshness:raw/a"), problem(Level.CRITICAL, "freshness:b/c", "freshness:raw/a")
    state, said = advance(EMPTY, [effect, cause], T0)
    assert [n.episode.problem.key for n in said] == ["freshness:raw/a"]
    state, said = advance(state, [effect], T0 + MINUTE)
    assert [(n.reason, n.episode.problem.key) for n in said] == [(Reason.RECOVERED, "freshness:raw/a")]
    _, said = advance(state, [effect], T0 + MINUTE + AFTERMATH)
    assert said == []
    _, said = advance(state, [effect], T0 + 2 * MINUTE + AFTERMATH)
    assert [n.episode.problem.key for n in said] == ["freshness:b/c"]


def test_a_lesser_problem_does_not_hide_a_worse_one() -> None:
    found = [problem(Level.WARNING, "freshness:raw/a"), problem(Level.CRITICAL, "freshness:b/c", "freshness:raw/a")]
    assert len(advance(EMPTY, found, T0)[1]) == 2


def test_what_cannot_be_seen_has_not_recovered() -> None:
    state, _ = advance(EMPTY, [problem(), problem(key="backlog:x")], T0)
    state, said = advance(state, [], T0 + MINUTE, frozenset({"check"}))
    assert [n.episode.problem.key for n in said] == ["backlog:x"]
    _, said = advance(state, [], T0 + 2 * MINUTE)
    assert [n.episode.problem.key for n in said] == ["check:a/b:rule"]


def test_a_recovery_tells_how_long_it_lasted_since_it_was_first_seen() -> None:
    state, _ = advance(EMPTY, [problem(since=T0 - 3 * 60 * MINUTE)], T0)
    state, _ = advance(state, [problem(since=T0)], T0 + MINUTE)
    _, said = advance(state, [], T0 + 60 * MINUTE)
    message = of_notification(said[0], "http://dagster")
    assert "Recovered: after 4.0 h" in message.body
    assert "Since: 2026-03-01 09:00 UTC" in message.body
    assert message.title == "[ok] recovered: check:a/b:rule is bad"


# ------------------------------------------------------------------------------------------ on disk
def _message_of(said: object) -> Message:
    return of_notification(said, "http://dagster")  # type: ignore[arg-type]


def test_the_store_keeps_everything_the_rules_need(tmp_path: Path) -> None:
    """The same looks with the state written and read back each time, by a new store."""
    patterns = ["WC.C.." + "C" * 15 + "...", "CcccC" + "." * 12 + "W", "C.CcC"]
    for number, pattern in enumerate(patterns):
        now, said = T0, []
        for step in looks(pattern):
            now += MINUTE
            store = AlertStore(tmp_path / str(number))
            store.unmute("check:*")
            if step.muted:
                store.mute("check:*", now + MINUTE)
            found = [replace(problem(step.level), sample=("k=1",))] if step.level else []
            taken = store.take_in(Findings(tuple(found)), now, _message_of, lambda message: ["x"])
            said.append([Reason(message.id.split()[2]) for message in taken])
        assert said == said_by(looks(pattern))
        assert store.waiting() == {"x": sum(map(len, said))}


def test_processes_that_look_at_the_same_time_say_it_once(tmp_path: Path) -> None:
    sent: list[Message] = []
    gate = threading.Barrier(8)

    def one(number: int) -> None:
        store = AlertStore(tmp_path)
        gate.wait()
        sent.extend(store.take_in(Findings((problem(),)), T0 + number * MINUTE / 60, _message_of, lambda message: []))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 1


def test_a_look_that_comes_late_undoes_nothing(tmp_path: Path) -> None:
    store = AlertStore(tmp_path)
    store.take_in(Findings((problem(),)), T0 + MINUTE, _message_of, lambda message: [])
    assert store.take_in(Findings(()), T0, _message_of, lambda message: []) == []
    assert [e.closed_at for e in store.state().episodes.values()] == [None]
    # A clock that was an hour ahead and is set right again does not stop the watch.
    assert len(store.take_in(Findings(()), T0 - 60 * MINUTE, _message_of, lambda message: [])) == 1


def test_sending_waits_longer_each_time_and_keeps_the_order(tmp_path: Path) -> None:
    store, now = AlertStore(tmp_path), T0
    for name in ("first", "second"):
        assert store.queue(Message(name, Level.CRITICAL, "o", name, ""), ["x"], now)
    assert not store.queue(Message("first", Level.CRITICAL, "o", "again", ""), ["x"], now)
    waits = []
    for _ in range(9):
        delivery = store.claim("x", now)
        assert delivery is not None
        assert delivery.message.id == "first"
        assert store.claim("x", now) is None, "claimed by us"
        store.failed(delivery, now)
        tried = now
        while store.claim("x", now) is None:
            now += dt.timedelta(seconds=30)
        waits.append((now - tried).total_seconds())
        now += 2 * MINUTE  # the claim above is given back after its lease
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    delivery = store.claim("x", now)
    assert delivery is not None
    assert not store.failed(delivery, now + dt.timedelta(days=3))
    following = store.claim("x", now)
    assert following is not None
    assert following.message.id == "second"
