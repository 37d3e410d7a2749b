"""The Delta store by itself: exact replacement, one atomic commit, counts from the log, nothing cast in silence.
Not here: several processes (test_concurrency), Dagster (test_pipeline)."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.core.lake.commits import Position
from data_platform.core.lake.store import Lake
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.registry import PlayerChanges, Players
from data_platform_tests.support.homes import FIRST_DAY, Home


def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(number)


def moment(number: int) -> dt.datetime:
    return dt.datetime.combine(day(number), dt.time(12), dt.UTC)


def rows(numbers: list[int], tag: str = "x") -> pl.DataFrame:
    """One row of PlayerChanges per number, on that day."""
    given = {
        "change_date": [day(n) for n in numbers],
        "player_id": [f"p-{i}" for i in range(len(numbers))],
        "username": [tag] * len(numbers),
        "operation": ["insert"] * len(numbers),
        "changed_at": [moment(n) for n in numbers],
    }
    schema = PlayerChanges.schema()
    return pl.DataFrame({name: given.get(name, [None] * len(numbers)) for name in schema}, schema=schema, strict=False)


def tags(lake: Lake) -> dict[dt.date, set[str]]:
    seen = lake.scan(PlayerChanges).group_by("change_date").agg(pl.col("username").unique()).collect()
    return {one: set(found) for one, found in seen.iter_rows()}


def test_replace_touches_exactly_its_days(home: Home) -> None:
    lake = home.lake
    lake.replace(PlayerChanges, rows([0, 1, 1, 2], "old"), [day(0), day(1), day(2)])
    before = home.files(PlayerChanges)
    commit = lake.replace(PlayerChanges, rows([1], "new"), [day(1)])
    after = home.files(PlayerChanges)
    assert tags(lake) == {day(0): {"old"}, day(1): {"new"}, day(2): {"old"}}
    assert {part for part in after if after[part] != before[part]} == {str(day(1))}
    assert commit.rows == {str(day(1)): 1}
    assert commit.version == lake.version(PlayerChanges) == 2


def test_an_empty_frame_clears_its_days(home: Home) -> None:
    home.lake.replace(PlayerChanges, rows([0, 1]), [day(0), day(1)])
    commit = home.lake.replace(PlayerChanges, PlayerChanges.empty(), [day(1)])
    assert tags(home.lake) == {day(0): {"x"}}
    assert commit.rows == {str(day(1)): 0}


def test_rows_outside_the_days_are_refused_and_nothing_changes(home: Home) -> None:
    home.lake.replace(PlayerChanges, rows([0]), [day(0)])
    with pytest.raises(ValueError, match="2024-01-02"):
        home.lake.replace(PlayerChanges, rows([0, 1], "new"), [day(0)])
    assert tags(home.lake) == {day(0): {"x"}}
    assert home.lake.version(PlayerChanges) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda f: f.with_columns(username=pl.lit(1)), "username is Int32, declared String"),
        (lambda f: f.drop("username"), "username is missing"),
        (lambda f: f.with_columns(more=pl.lit(1)), "more is not declared"),
        (lambda f: f.with_columns(changed_at=pl.col("changed_at").dt.cast_time_unit("ms")), "changed_at is Datetime"),
        (
            lambda f: f.with_columns(changed_at=pl.col("changed_at").dt.replace_time_zone(None)),
            "changed_at is Datetime",
        ),
    ],
)
def test_a_frame_of_another_schema_is_refused(home: Home, wrong, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlatformError, match="does not match its contract") as raised:
        home.lake.replace(PlayerChanges, wrong(rows([0])), [day(0)])
    assert message in raised.value.problem
    assert "PlayerChanges" in raised.value.remedy
    assert not home.lake.exists(PlayerChanges)


def test_the_order_of_columns_does_not_matter(home: Home) -> None:
    home.lake.replace(PlayerChanges, rows([0]), [day(0)])
    home.lake.replace(PlayerChanges, rows([1]).select(reversed(PlayerChanges.columns)), [day(1)])
    assert home.rows(PlayerChanges).sort("change_date").equals(rows([0, 1]).with_columns(player_id=pl.lit("p-0")))


def test_a_table_without_partitions_is_replaced_whole(home: Home) -> None:
    def players(count: int) -> pl.DataFrame:
        given = {"player_id": [str(n) for n in range(count)], "valid_from": [moment(n) for n in range(count)],
                 "is_current": [True] * count}  # fmt: skip
        schema = Players.schema()
        return pl.DataFrame({name: given.get(name, [None] * count) for name in schema}, schema=schema)

    home.lake.replace(Players, players(5), [])
    commit = home.lake.replace(Players, players(3), [])
    assert len(home.rows(Players)) == 3
    assert commit.rows == {None: 3} or commit.rows.get(None) == 3
    assert home.lake.partitions(Players).select("rows", "files").row(0) == (3, 1)


def test_nothing_is_visible_before_publish(home: Home) -> None:
    staged = home.lake.stage(PlayerChanges, rows([0, 1]))
    assert sorted(file.partition or "" for file in staged) == [str(day(0)), str(day(1))]
    assert home.lake.scan(PlayerChanges).collect().is_empty()
    home.lake.commit(PlayerChanges, staged)
    assert len(home.rows(PlayerChanges)) == 2


def test_publish_without_replacing_adds(home: Home) -> None:
    for tag in ("a", "b"):
        home.lake.append(PlayerChanges, rows([0], tag))
    assert tags(home.lake) == {day(0): {"a", "b"}}
    commit = home.lake.append(PlayerChanges, rows([0], "c"))
    assert commit.rows == {str(day(0)): 3}


def test_the_position_moves_with_the_rows(home: Home) -> None:
    lake = home.lake
    assert lake.position(PlayerChanges, "s") is None
    lake.append(PlayerChanges, rows([0]), Position("s", None, 1))
    lake.commit(PlayerChanges, [], position=Position("s", 1, 2))
    assert lake.position(PlayerChanges, "s") == 2
    assert lake.position(PlayerChanges, "other") is None
    assert Lake(lake.root).position(PlayerChanges, "s") == 2


def test_a_position_survives_a_checkpoint(home: Home) -> None:
    lake = home.lake
    for number in range(45):
        lake.commit(PlayerChanges, [], position=Position("s", number or None, number + 1))
    assert list(Path(lake.uri(PlayerChanges), "_delta_log").glob("*.checkpoint*.parquet")), "the log was compacted"
    assert Lake(lake.root).position(PlayerChanges, "s") == 45


def test_scan_of_a_window_reads_only_its_days(home: Home) -> None:
    home.lake.replace(PlayerChanges, rows([0, 1, 2, 3]), [day(n) for n in range(4)])
    for path in Path(home.lake.uri(PlayerChanges)).glob(f"change_date={day(0)}/*.parquet"):
        path.write_bytes(b"no parquet")
    found = home.lake.scan(PlayerChanges, day(1), day(2)).collect()
    assert sorted(found["change_date"]) == [day(1), day(2)]
    assert found.columns == list(PlayerChanges.columns)
    assert sorted(home.lake.scan(PlayerChanges, first=day(2)).collect()["change_date"]) == [day(2), day(3)]
    with pytest.raises(pl.exceptions.ComputeError):
        home.lake.scan(PlayerChanges).collect()


def test_before_the_first_write(home: Home) -> None:
    assert home.lake.version(PlayerChanges) is None
    assert home.lake.scan(PlayerChanges).collect().schema == PlayerChanges.schema()
    assert home.lake.partitions(PlayerChanges).is_empty()
    with pytest.raises(TableNotFoundError):
        home.lake.open(PlayerChanges)


def test_rows_are_stored_in_key_order_and_every_type_survives(home: Home) -> None:
    shuffled = rows([0] * 50).sample(fraction=1, shuffle=True, seed=1)
    home.lake.replace(PlayerChanges, shuffled, [day(0)])
    (path,) = home.files(PlayerChanges)[str(day(0))]
    assert pl.read_parquet(path)["player_id"].is_sorted()
    schema = PlayerDailyActivity.schema()
    values = {
        "activity_date": [day(0)],
        "player_id": ["p"],
        "hourly_events": [list(range(24))],
        "engagement_points": [0.1],
    }
    values |= {name: [moment(0)] for name in ("first_event_at", "last_event_at")}
    frame = pl.DataFrame({name: values.get(name, [3]) for name in schema}, schema=schema)
    home.lake.replace(PlayerDailyActivity, frame, [day(0)])
    assert home.rows(PlayerDailyActivity).equals(frame)


def test_other_engines_read_the_same(home: Home) -> None:
    home.lake.replace(PlayerChanges, rows([0, 1, 1]), [day(0), day(1)])
    home.lake.replace(PlayerChanges, rows([1], "new"), [day(1)])
    by_delta = pl.DataFrame(DeltaTable(home.lake.uri(PlayerChanges)).to_pyarrow_table())
    ours = home.rows(PlayerChanges)
    key = ["change_date", "player_id"]
    assert by_delta.select(ours.columns).sort(key).rows() == ours.sort(key).rows()
    files = [file for files in home.files(PlayerChanges).values() for file in files]
    count = duckdb.sql(f"SELECT count(*) FROM read_parquet({files}, hive_partitioning = true)").fetchall()  # noqa: S608
    assert count == [(2,)]


def test_the_log_holds_no_personal_values(home: Home) -> None:
    """No minima and maxima: they would outlive the erasure of the rows."""
    secret = rows([0]).with_columns(email=pl.lit("ann@example.com"), username=pl.lit("ann_the_brave"))
    home.lake.replace(PlayerChanges, secret, [day(0)])
    log = Path(home.lake.uri(PlayerChanges), "_delta_log")
    entries = [one for path in log.glob("*.json") for one in path.read_text().splitlines()]
    assert not [one for one in entries if "ann" in one]
    stats = [json.loads(one)["add"]["stats"] for one in entries if one.startswith('{"add"')]
    assert [json.loads(one) for one in stats] == [{"numRecords": 1}]
    configuration = home.lake.open(PlayerChanges).metadata().configuration
    assert configuration["delta.dataSkippingNumIndexedCols"] == "0", "other engines that write must not add them"


def test_columns_a_contract_gained_are_null_in_older_files(home: Home) -> None:
    whole = PlayerChanges.columns
    try:
        PlayerChanges.columns = {name: one for name, one in whole.items() if name != "country"}
        home.lake.replace(PlayerChanges, rows([0]), [day(0)])
    finally:
        PlayerChanges.columns = whole
    assert "country" not in {field.name for field in home.lake.open(PlayerChanges).schema().fields}
    assert home.rows(PlayerChanges)["country"].to_list() == [None], "also before anything new is written"
    home.lake.replace(PlayerChanges, rows([1]).with_columns(country=pl.lit("NO")), [day(1)])
    found = home.rows(PlayerChanges).sort("change_date")
    assert found["country"].to_list() == [None, "NO"]
    assert "country" in {field.name for field in home.lake.open(PlayerChanges).schema().fields}


def test_two_processes_that_add_the_same_column(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one opened the table before the first one had added it."""
    whole = PlayerChanges.columns
    try:
        PlayerChanges.columns = {name: one for name, one in whole.items() if name != "country"}
        home.lake.ensure(PlayerChanges)
    finally:
        PlayerChanges.columns = whole
    stale = home.lake.open(PlayerChanges)
    home.lake.ensure(PlayerChanges)
    opened = iter([stale])
    monkeypatch.setattr(home.lake, "open", lambda *_: next(opened, None) or DeltaTable(home.lake.uri(PlayerChanges)))
    assert "country" in {field.name for field in home.lake.ensure(PlayerChanges).schema().fields}
    assert home.lake.version(PlayerChanges) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 4), min_size=1), st.integers(0, 3)), min_size=1, max_size=6))
def test_any_sequence_of_replacements_equals_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[set[int], int]]
) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    model: dict[dt.date, list[str]] = {}
    for number, (days, count) in enumerate(writes):
        frame = rows([n for n in days for _ in range(count)], f"w{number}")
        commit = lake.replace(PlayerChanges, frame, [day(n) for n in days])
        for n in days:
            model[day(n)] = [f"w{number}"] * count
        assert commit.rows == {str(day(n)): count for n in days}
    found = lake.scan(PlayerChanges).group_by("change_date").agg("username").collect()
    assert dict(found.iter_rows()) == {one: names for one, names in model.items() if names}
    by_log = dict(lake.partitions(PlayerChanges).select("partition", "rows").iter_rows())
    assert by_log == {str(one): len(names) for one, names in model.items() if names}


def test_the_value_of_an_option_is_not_repeated() -> None:
    options = {"aws_allow_http": "s3cr3t", "aws_access_key_id": "k", "aws_secret_access_key": "s", "aws_region": "x"}
    with pytest.raises(PlatformError, match="failed to parse the value of an option as boolean") as raised:
        Lake("s3://bucket/lake", options).exists(PlayerChanges)
    assert "s3cr3t" not in str(raised.value)
