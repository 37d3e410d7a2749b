"""What a feature table remembers of its corrections: as little as possible, and the truth whatever dies when.
Not here: the join that asks it (test_point_in_time), the client (test_feature_store)."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.contract.table import Personal
from data_platform.core.errors import PlatformError
from data_platform.core.lake.bitemporal import history_of, open_history, scan_as_known
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures as Churn
from data_platform.domains.gameplay.contracts.registry import Players
from data_platform.features import FeatureStore
from data_platform_tests.support.feature_rows import feature_frame, publish
from data_platform_tests.support.homes import FIRST_DAY, Home, event

HISTORY = history_of(Churn)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(number)


def moment(number: float) -> dt.datetime:
    """So many days after the beginning of the first day."""
    return dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC) + number * DAY


def known(lake: Lake, at: dt.datetime, first: int = 0, last: int = 9) -> dict[tuple[int, str], int]:
    """(day, player) → total_events as known at a moment."""
    rows = scan_as_known(open_history(lake, Churn), at, day(first), day(last)).collect()
    return {((one - FIRST_DAY).days, player): total for one, player, total in
            rows.select("snapshot_date", "player_id", "total_events").iter_rows()}  # fmt: skip


def journal(lake: Lake) -> pl.DataFrame:
    return lake.scan(HISTORY).sort("known_until", "snapshot_date", "player_id").collect()


# ------------------------------------------------------------------------------- what is kept
def test_only_rows_that_change_are_kept(home: Home) -> None:
    lake, rows = home.lake, {f"p{n}": n for n in range(50)}
    publish(lake, Churn, {day(0): rows, day(1): rows}, moment(5))
    first = journal(lake)
    assert first.select("snapshot_date", "player_id", "existed").rows() == [
        (day(0), None, False),
        (day(1), None, False),
    ]

    publish(lake, Churn, {day(0): rows, day(1): rows}, moment(6))
    assert journal(lake).equals(first), "the same again costs nothing"

    changed = {**rows, "p7": 700, "new": 1}
    del changed["p9"]
    publish(lake, Churn, {day(0): rows, day(1): changed}, moment(7))
    kept = journal(lake).filter(pl.col("known_until") == moment(7))
    assert kept.select("snapshot_date", "player_id", "existed", "total_events").rows() == [
        (day(1), "new", False, None), (day(1), "p7", True, 7), (day(1), "p9", True, 9)
    ]  # fmt: skip
    before = feature_frame(Churn, {day(1): {"p7": 7, "p9": 9}})
    assert kept.filter("existed").select(before.columns).equals(before), "every feature as it was"


def test_a_day_that_is_not_over_leaves_nothing_behind(home: Home) -> None:
    for hour in range(4):
        publish(home.lake, Churn, {day(3): {"ann": hour}}, moment(3.1) + hour * HOUR)
    assert not home.lake.exists(HISTORY)
    assert known(home.lake, moment(3.9)) == {}, "nobody knows a day before its end"
    assert known(home.lake, moment(4)) == {(3, "ann"): 3}
    publish(home.lake, Churn, {day(3): {"ann": 9}}, moment(4) + HOUR)
    assert known(home.lake, moment(4)) == {(3, "ann"): 3}
    assert known(home.lake, moment(4) + HOUR) == {(3, "ann"): 9}


def test_days_cleared_and_filled_again(home: Home) -> None:
    lake = home.lake
    publish(lake, Churn, {day(0): {"ann": 1, "bob": 2}}, moment(2))
    publish(lake, Churn, {day(0): {}}, moment(3))
    publish(lake, Churn, {day(0): {"bob": 3, "cid": 4}}, moment(4))
    assert known(lake, moment(1.9)) == {}
    assert known(lake, moment(2.5)) == {(0, "ann"): 1, (0, "bob"): 2}
    assert known(lake, moment(3.5)) == {}
    assert known(lake, moment(4)) == {(0, "bob"): 3, (0, "cid"): 4}


def test_the_table_itself_is_what_it_would_be_without_history(home: Home, tmp_path: Path) -> None:
    plain = Lake(str(tmp_path / "plain"))
    for numbers in ({day(0): {"ann": 1}, day(1): {"ann": 2}}, {day(1): {"bob": 3}}, {day(0): {}}):
        publish(home.lake, Churn, numbers)
        plain.replace(Churn, feature_frame(Churn, numbers), list(numbers))
    assert home.lake.scan(Churn).collect().equals(plain.scan(Churn).collect())
    assert (
        home.lake.partitions(Churn)
        .select("partition", "rows")
        .equals(plain.partitions(Churn).select("partition", "rows"))
    )


def test_nothing_to_write_is_no_commit(home: Home) -> None:
    publish(home.lake, Churn, {day(0): {"ann": 1}})
    before = home.lake.version(Churn)
    publish(home.lake, Churn, {day(1): {}})
    assert home.lake.version(Churn) == before


def test_the_journal_follows_from_the_contract() -> None:
    assert HISTORY.key == "features/player_churn_features_history"
    assert set(Churn.columns) < set(HISTORY.columns)
    assert HISTORY.columns["player_id"].personal == Personal.PSEUDONYM
    assert all(
        one.nullable for name, one in HISTORY.columns.items() if name in Churn.columns and name != Churn.partition
    )
    with pytest.raises(PlatformError, match="bitemporal"):
        history_of(Players)


# --------------------------------------------------------------------- whatever dies, whoever else writes
KILLED = """
import datetime as dt, os, signal
from data_platform.core.lake.store import Lake
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures as Churn
from data_platform_tests.support.feature_rows import publish
from data_platform_tests.core.lake.test_feature_history import day, moment

class Dying(Lake):
    def commit(self, table, *given, **more):
        if table is Churn:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().commit(table, *given, **more)

publish(Dying({root!r}), Churn, {{day(0): {{"ann": 2}}, day(1): {{"ann": 1}}}}, moment(5))
"""


def test_killed_between_journal_and_commit(home: Home) -> None:
    lake = home.lake
    publish(lake, Churn, {day(0): {"ann": 1}}, moment(3))
    died = home.start("-c", KILLED.format(root=lake.root))
    assert died.wait(60) == -9, died.communicate()
    assert len(journal(lake)) == 3, "the journal was written"
    assert lake.scan(Churn).collect()["total_events"].to_list() == [1], "the table was not"
    for at in (3, 4.9, 5, 5.5):
        assert known(lake, moment(at)) == {(0, "ann"): 1}, "what never happened changes no answer"

    publish(lake, Churn, {day(0): {"ann": 2}, day(1): {"ann": 1}}, moment(6))
    for at in (3, 4.9, 5, 5.9):
        assert known(lake, moment(at)) == {(0, "ann"): 1}, "nor after the next attempt"
    assert known(lake, moment(2.9)) == {}
    assert known(lake, moment(6)) == {(0, "ann"): 2, (1, "ann"): 1}


def test_a_clock_that_goes_back_does_not_rewrite_the_past(home: Home) -> None:
    lake = home.lake
    publish(lake, Churn, {day(0): {"ann": 1}}, moment(3))
    publish(lake, Churn, {day(0): {"ann": 2}}, moment(5))
    publish(lake, Churn, {day(0): {"ann": 3}}, moment(4))
    assert known(lake, moment(4.5)) == {(0, "ann"): 1}
    assert known(lake, moment(5)) == {(0, "ann"): 2}
    assert known(lake, moment(5.1)) == {(0, "ann"): 3}


def test_many_publish_at_once(home: Home) -> None:
    """Four writers, each with a day of its own and all with one in common: each finds what it had published."""
    lake, rounds = home.lake, 6

    def writer(number: int) -> list[tuple[dt.datetime, int]]:
        seen = []
        for turn in range(rounds):
            own = 100 * number + turn
            publish(Lake(lake.root), Churn, {day(number): {"ann": own}, day(9): {f"p{number}": own}})
            seen.append((dt.datetime.now(dt.UTC), own))
        return seen

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(writer, range(4)))
    for number, seen in enumerate(found):
        for at, own in seen:
            assert known(lake, at, number, number) == {(number, "ann"): own}
    in_common = [known(lake, at, 9, 9) for seen in found for at, _ in seen]
    assert all(len(one) == 1 for one in in_common), "of one publication, never of two"


def test_nothing_is_lost_to_compaction_vacuum_and_a_short_log(home: Home) -> None:
    lake = home.lake
    for turn in range(12):
        publish(lake, Churn, {day(0): {"ann": turn, "bob": 0}, day(1): {"ann": -1}}, moment(3 + turn))
    before = [known(lake, moment(2.5 + turn)) for turn in range(14)]
    assert before[1] == {(0, "ann"): 0, (0, "bob"): 0, (1, "ann"): -1}
    for table in (Churn, HISTORY):
        compact(lake, table, at_least_files=2)
        delta = lake.open(table)
        delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
        delta.create_checkpoint()
        delta.cleanup_metadata()
    assert [known(lake, moment(2.5 + turn)) for turn in range(14)] == before


def test_a_damaged_day_is_computed_again_and_its_past_is_not_made_up(home: Home) -> None:
    lake = home.lake
    publish(lake, Churn, {day(0): {"ann": 1}, day(1): {"ann": 2}}, moment(3))
    damaged = next(path for path in lake.open(Churn).file_uris() if str(day(0)) in path)
    Path(damaged).write_bytes(b"not parquet")
    publish(lake, Churn, {day(0): {"ann": 10}, day(1): {"ann": 20}}, moment(5))
    assert known(lake, moment(4)) == {(1, "ann"): 2}, "what the damaged file said is lost, and not what is known now"
    assert known(lake, moment(5)) == {(0, "ann"): 10, (1, "ann"): 20}


# ----------------------------------------------------------------------------- the whole pipeline
def test_as_of_last_tuesday_gets_tuesdays_values(home: Home) -> None:
    """A late event corrects features; what was known before it stays what it was."""
    when = [dt.datetime.combine(day(n), dt.time(12), dt.UTC) for n in range(3)]
    home.drop("a.ndjson", [event(event_id=f"e{n}", timestamp=at.isoformat()) for n, at in enumerate(when)])
    nobody_knew = dt.datetime.now(dt.UTC)
    home.build(["features/player_churn_features"])
    tuesday = dt.datetime.now(dt.UTC)
    home.drop("late.ndjson", [event(event_id="late", timestamp=(when[1] + HOUR).isoformat())])
    home.build(["features/player_churn_features"])

    entities = pl.DataFrame({"player_id": ["p-1"] * 3, "event_timestamp": [at + DAY for at in when]})
    store = FeatureStore(home.lake)

    def totals(known_at: dt.datetime | None) -> list[int | None]:
        found = store.get_historical_features(entities, ["player_churn_features:total_events"], known_at=known_at)
        return found.to_polars()["total_events"].to_list()

    assert totals(None) == [1, 3, 4]
    assert totals(tuesday) == [1, 2, 3]
    assert totals(nobody_knew) == [None, None, None]
    kept = journal(home.lake).filter("existed")
    assert kept["snapshot_date"].min() == day(1), "days before the late event were not touched"
