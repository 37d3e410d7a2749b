"""How fresh a table is: the rule alone, with a controlled clock.
Not here: what is seen of a real home and what Dagster is told (test_freshness_checks)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract import table as contract
from data_platform.core.contract.table import within
from data_platform.observability.contracts import Freshness, FreshnessState
from data_platform.observability.freshness import FreshnessFacts, FreshnessVerdict, judge_freshness, looks_frame
from data_platform_tests.support.homes import FIRST_DAY

FRESH, STALE, CRITICAL, NOT_BUILT = FreshnessState
EVENTS = within(hours=1, warn=dt.timedelta(minutes=5))
HOURLY = within(hours=2, warn=dt.timedelta(hours=1))
DAILY = within(hours=26, warn=dt.timedelta(hours=3))
NIGHTLY = within(hours=26)
NOON = dt.datetime(2024, 3, 10, 12, tzinfo=dt.UTC)
TODAY = NOON.date()
YESTERDAY = TODAY - dt.timedelta(1)


def ago(**span: float) -> dt.datetime:
    return NOON - dt.timedelta(**span)


RAW, CLEAN, METRICS, FEATURES, SILENT = "raw/events", "clean/events", "game/metrics", "features/churn", "raw/changes"
BUILT = {
    RAW: FreshnessFacts(EVENTS, newest=TODAY, newest_event=ago(minutes=2)),
    SILENT: FreshnessFacts(None, newest=dt.date(2024, 1, 5)),
    CLEAN: FreshnessFacts(EVENTS, (RAW,), newest=TODAY),
    METRICS: FreshnessFacts(HOURLY, (CLEAN, SILENT), newest=TODAY),
    FEATURES: FreshnessFacts(DAILY, (METRICS, SILENT), newest=TODAY),
}
"""Everything up to date at noon."""


def judge(
    changes: Mapping[str, Mapping[str, object]] | None = None, now: dt.datetime = NOON
) -> dict[str, FreshnessVerdict]:
    tables = {key: replace(facts, **(changes or {}).get(key, {})) for key, facts in BUILT.items()}  # type: ignore[arg-type]
    return judge_freshness(tables, now, FIRST_DAY)


def states(looks: Mapping[str, FreshnessVerdict]) -> list[str]:
    return [looks[key].state.value for key in (RAW, CLEAN, METRICS, FEATURES)]


# ------------------------------------------------------------------------------------ the rule
def test_a_table_without_a_promise_is_not_judged() -> None:
    looks = judge()
    assert set(looks) == set(BUILT) - {SILENT}
    assert states(looks) == ["fresh"] * 4, "silence of a source that promises nothing holds nothing back"
    assert looks[FEATURES].watermark == ago(minutes=2)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ({"minutes": 5}, [FRESH, FRESH, FRESH, FRESH]),
        ({"minutes": 5, "seconds": 1}, [STALE, STALE, FRESH, FRESH]),
        ({"hours": 1}, [STALE, STALE, FRESH, FRESH]),
        ({"hours": 1, "seconds": 1}, [CRITICAL, CRITICAL, STALE, FRESH]),
        ({"hours": 2, "seconds": 1}, [CRITICAL, CRITICAL, CRITICAL, FRESH]),
        ({"hours": 3, "seconds": 1}, [CRITICAL, CRITICAL, CRITICAL, STALE]),
    ],
)
def test_a_late_watermark_counts_although_todays_partition_is_there(
    since: dict[str, float], expected: list[FreshnessState]
) -> None:
    looks = judge({RAW: {"newest_event": ago(**since)}})
    assert states(looks) == expected
    assert looks[FEATURES].age == dt.timedelta(**since)
    assert RAW in looks[FEATURES].reason, "the reason names where it comes from"


def test_todays_empty_features_computed_from_late_events_are_not_fresh() -> None:
    """Yesterday's last event was at 8:00; a late event made today's features be computed just now."""
    looks = judge({RAW: {"newest": YESTERDAY, "newest_event": ago(hours=28)}, CLEAN: {"newest": YESTERDAY}})
    assert states(looks) == [CRITICAL] * 4
    assert looks[FEATURES].newest == TODAY
    assert looks[FEATURES].watermark == ago(hours=28)


def test_a_silent_source_is_fresh_while_its_heart_beats() -> None:
    silent = {RAW: {"newest": YESTERDAY, "newest_event": ago(hours=20)}, CLEAN: {"newest": YESTERDAY}}
    assert states(judge(silent)) == [CRITICAL, CRITICAL, CRITICAL, STALE]
    alive = {**silent, RAW: silent[RAW] | {"heartbeat": ago(minutes=1)}}
    looks = judge(alive)
    assert states(looks) == [FRESH] * 4
    assert looks[RAW].watermark == ago(hours=20), "the watermark stays what it is"
    assert looks[RAW].expected == looks[CLEAN].expected == YESTERDAY, "no day without events is expected"
    assert "alive" in looks[RAW].reason
    assert states(judge({**silent, RAW: silent[RAW] | {"heartbeat": ago(minutes=6)}}))[0] == STALE
    assert states(judge({**silent, RAW: silent[RAW] | {"heartbeat": ago(hours=40)}}))[0] == CRITICAL


def test_clocks_ahead_of_ours_do_not_make_a_negative_age() -> None:
    for ahead in ({"newest_event": ago(minutes=-9), "heartbeat": ago(hours=-1)}, {"newest_event": ago(minutes=-9)}):
        looks = judge({RAW: ahead})
        assert {look.age for look in looks.values()} == {dt.timedelta(0)}


def test_a_table_without_days_is_judged_by_its_inputs() -> None:
    tables = {**BUILT, "game/whole": FreshnessFacts(HOURLY, (CLEAN,))}
    look = judge_freshness(tables, NOON, FIRST_DAY)["game/whole"]
    assert (look.state, look.age, look.newest, look.expected) == (FRESH, dt.timedelta(minutes=2), None, None)
    tables["game/whole"] = FreshnessFacts(HOURLY, (CLEAN,), waiting_since=ago(hours=3))
    assert judge_freshness(tables, NOON, FIRST_DAY)["game/whole"].state == CRITICAL
    tables["game/whole"] = FreshnessFacts(HOURLY, (CLEAN,), built=False)
    assert judge_freshness(tables, NOON, FIRST_DAY)["game/whole"].state == NOT_BUILT


def test_the_root_cause_is_reported_rather_than_the_missing_day() -> None:
    gone = dt.date(2024, 3, 5)
    changes = {key: {"newest": gone} for key in (CLEAN, METRICS, FEATURES)}
    looks = judge({**changes, RAW: {"newest": gone, "newest_event": dt.datetime(2024, 3, 5, 9, tzinfo=dt.UTC)}})
    assert looks[FEATURES].reason.startswith("The newest event of raw/events is from 2024-03-05 09:00 UTC: 5 days old")


def test_what_waits_to_be_computed_makes_old_and_writing_does_not_make_fresh() -> None:
    looks = judge({CLEAN: {"waiting_since": ago(minutes=30)}})
    assert states(looks) == [FRESH, STALE, FRESH, FRESH]
    assert looks[CLEAN].reason.startswith("What was received since 2024-03-10 11:30 UTC is not computed")
    looks = judge({FEATURES: {"waiting_since": ago(hours=27)}})
    assert states(looks) == [FRESH, FRESH, FRESH, CRITICAL]
    assert looks[FEATURES].watermark == ago(hours=27)


def test_a_day_that_an_input_has_is_missed() -> None:
    """Without Dagster's record of what was written when: a lake that came from elsewhere."""
    looks = judge({CLEAN: {"newest": YESTERDAY}})
    assert states(looks) == [FRESH, CRITICAL, CRITICAL, STALE]
    assert looks[CLEAN].age == dt.timedelta(hours=12)
    assert "The newest day of clean/events is 2024-03-09, but raw/events has 2024-03-10" in looks[CLEAN].reason


@pytest.mark.parametrize(
    ("now", "newest", "state", "expected"),
    [
        ("2024-03-10T02:59", "2024-03-08", FRESH, "2024-03-08"),
        ("2024-03-10T03:00", "2024-03-08", STALE, "2024-03-09"),
        ("2024-03-11T01:59", "2024-03-08", STALE, "2024-03-09"),
        ("2024-03-11T02:00", "2024-03-08", CRITICAL, "2024-03-09"),
        ("2024-03-10T12:00", "2024-03-09", FRESH, "2024-03-09"),
    ],
)
def test_a_table_that_is_computed_by_day_needs_yesterday_also_when_nothing_happened(
    now: str, newest: str, state: FreshnessState, expected: str
) -> None:
    clock = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    tables = {
        SILENT: BUILT[SILENT],
        "daily": FreshnessFacts(DAILY, (SILENT,), newest=dt.date.fromisoformat(newest)),
    }
    look = judge_freshness(tables, clock, FIRST_DAY)["daily"]
    assert (look.state, look.expected) == (state, dt.date.fromisoformat(expected))
    assert ("should be there since" in look.reason) == (state != FRESH)


def test_a_live_table_needs_today_once_its_bound_has_passed_after_midnight() -> None:
    midnight = dt.datetime.combine(TODAY, dt.time(), dt.UTC)
    for minutes, expected in ((0, YESTERDAY), (5, YESTERDAY), (6, TODAY)):
        now = midnight + dt.timedelta(minutes=minutes)
        assert judge({RAW: {"newest_event": now}}, now)[RAW].expected == expected
    # Yesterday's last event, three minutes into the day: nothing is late yet.
    early = midnight + dt.timedelta(minutes=3)
    before = {"newest": YESTERDAY}
    changes = {RAW: before | {"newest_event": midnight - dt.timedelta(minutes=1)}, CLEAN: before, METRICS: before,
               FEATURES: before}  # fmt: skip
    assert states(judge(changes, early)) == [FRESH] * 4


def test_the_first_day_and_before() -> None:
    first = dt.datetime.combine(FIRST_DAY, dt.time(10), dt.UTC)
    nothing = {key: {"built": False, "newest": None, "newest_event": None} for key in BUILT}
    assert states(judge(nothing, first)) == [NOT_BUILT] * 4
    assert judge(nothing, first)[FEATURES].expected is None, "no day is due on the first one"
    started = {key: {"newest": FIRST_DAY, "newest_event": first if key == RAW else None} for key in BUILT}
    assert states(judge(started, first)) == [FRESH] * 4


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("month", [3, 4, 10, 11])
def test_days_are_utc_days_also_when_clocks_change(zone: str, month: int) -> None:
    """Every half hour of the month: the same answer whatever the zone of the clock, and every day is due 24 h after the
    one before."""
    due: list[dt.datetime] = []
    expected: dt.date | None = None
    tables = {SILENT: BUILT[SILENT], "daily": FreshnessFacts(DAILY, (SILENT,), newest=dt.date(2024, month, 1))}
    start = dt.datetime(2024, month, 1, tzinfo=dt.UTC)
    for half_hours in range(30 * 48):
        now = start + dt.timedelta(minutes=30 * half_hours)
        look = judge_freshness(tables, now, FIRST_DAY)["daily"]
        assert look == judge_freshness(tables, now.astimezone(ZoneInfo(zone)), FIRST_DAY)["daily"]
        if look.expected != expected:
            due.append(now)
            expected = look.expected
    assert {later - earlier for earlier, later in pairwise(due[1:])} == {dt.timedelta(days=1)}


def test_without_a_warning_bound_a_table_goes_from_fresh_to_critical() -> None:
    tables = {
        SILENT: replace(BUILT[SILENT], newest=TODAY),
        "report": FreshnessFacts(NIGHTLY, (SILENT,), newest=YESTERDAY),
    }
    assert judge_freshness(tables, NOON, FIRST_DAY)["report"].state == FRESH
    assert judge_freshness(tables, NOON + dt.timedelta(hours=14), FIRST_DAY)["report"].state == FRESH
    late = judge_freshness(tables, NOON + dt.timedelta(hours=14, seconds=1), FIRST_DAY)["report"]
    assert (late.state, late.bound) == (CRITICAL, dt.timedelta(hours=26))


minutes = st.integers(0, 4000)


@st.composite
def lineages(draw: st.DrawFn) -> dict[str, FreshnessFacts]:
    """Sources and tables computed from any earlier ones, all with today's day."""
    tables: dict[str, FreshnessFacts] = {}
    promises = st.sampled_from([EVENTS, HOURLY, DAILY, None])
    for number in range(draw(st.integers(1, 8))):
        inputs = draw(st.lists(st.sampled_from(sorted(tables)), unique=True)) if tables else []
        maybe = st.one_of(st.none(), minutes.map(lambda n: ago(minutes=n)))
        tables[f"t{number}"] = FreshnessFacts(
            draw(promises), tuple(inputs), True, TODAY,
            newest_event=None if inputs else draw(maybe),
            heartbeat=None if inputs else draw(maybe),
            waiting_since=draw(maybe) if inputs else None,
        )  # fmt: skip
    return tables


def upstream(tables: Mapping[str, FreshnessFacts], key: str) -> set[str]:
    return {key}.union(*(upstream(tables, needed) for needed in tables[key].inputs))


def oldest(tables: Mapping[str, FreshnessFacts], key: str) -> dt.datetime | None:
    """By looking at every table upstream at once instead of passing anything down."""
    moments: list[dt.datetime] = []
    for one in (tables[name] for name in upstream(tables, key)):
        if one.waiting_since:
            moments.append(one.waiting_since)
        if not one.inputs and one.promise and one.newest_event:
            moments.append(max(one.newest_event, one.heartbeat or one.newest_event))
    return min(moments, default=None)


@given(lineages())
def test_age_is_that_of_the_oldest_thing_upstream(tables: dict[str, FreshnessFacts]) -> None:
    for key, look in judge_freshness(tables, NOON, FIRST_DAY).items():
        moment, promise = oldest(tables, key), tables[key].promise
        assert isinstance(promise, contract.FreshnessPolicy)
        assert look.age == (None if moment is None else NOON - moment)
        age = look.age or dt.timedelta(0)
        late = promise.warn is not None and age > promise.warn
        assert look.state == (CRITICAL if age > promise.fail else STALE if late else FRESH)


def test_looks_as_rows() -> None:
    frame = looks_frame(judge(), NOON)
    assert dict(frame.schema) == Freshness.schema()
    assert len(frame) == len(BUILT) - 1
    assert frame["recorded_at"].unique().to_list() == [NOON]
