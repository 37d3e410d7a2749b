"""The Feast repository without Feast: which files it holds, how it is brought up to date, which versions rows had.
Not here: whether Feast finds the same values in it (test_feast)."""

from __future__ import annotations

import ast
import datetime as dt
import os
import random
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from data_platform.cli import command_line
from data_platform.core.contract.table import Table, column
from data_platform.core.errors import PlatformError
from data_platform.core.lake.bitemporal import history_of
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures as Churn
from data_platform.features.catalogue import FeatureSet
from data_platform.features.feast.definitions import definitions
from data_platform.features.feast.repository import CONFIGURATION_FILE, DEFINITIONS, Exported, write_repository
from data_platform.features.feast.versions import row_versions
from data_platform_tests.support.bitemporal_oracle import DAY, Oracle, end_of
from data_platform_tests.support.feature_rows import publish
from data_platform_tests.support.homes import Home

CHURN = Churn.table_name()
FIRST = dt.date(2024, 1, 1)
THEN = [CHURN, f"{CHURN}_as_known"]
PLAYERS = ("ann", "bob", "cid")


def day(number: int) -> dt.date:
    return FIRST + number * DAY


def hour(number: float) -> dt.datetime:
    """So many hours after the end of the first day."""
    return end_of(FIRST) + number * dt.timedelta(hours=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three days of two players, published an hour after the first two were over."""
    made = Lake(str(tmp_path / "lake"))
    publish(made, Churn, {day(n): {"ann": n, "bob": 10 + n} for n in range(3)}, hour(25))
    return made


def found(repository: Path) -> dict[tuple[dt.date, str], int]:
    """(event date, player) → total_events, of all files that Feast would read."""
    files = repository / "data" / CHURN / "*" / "*.parquet"
    rows = pl.scan_parquet(files, hive_partitioning=True, try_parse_hive_dates=True)
    return {(at, player): total for at, player, total in
            rows.select("event_timestamp", "player_id", "total_events").collect().iter_rows()}  # fmt: skip


# ------------------------------------------------------------------------------- the files
def test_files_are_the_lakes_own_and_hold_from_the_next_day_on(lake: Lake, tmp_path: Path) -> None:
    assert write_repository(lake, tmp_path / "feast") == (Exported(CHURN, linked=3, written=0, unchanged=0),)
    linked = {path.stat().st_ino for path in (tmp_path / "feast" / "data").rglob("*.parquet")}
    live = {os.stat(f"{lake.uri(Churn)}/{path}").st_ino for path in lake.snapshot(Churn).files["path"]}
    assert linked == live, "not one byte is copied"
    assert found(tmp_path / "feast") == {
        (day(n + 1), player): n + more for n in range(3) for player, more in (("ann", 0), ("bob", 10))
    }


def test_only_what_changed_is_done_again(lake: Lake, tmp_path: Path) -> None:
    to = tmp_path / "feast"
    write_repository(lake, to, as_known=True)
    (to / CONFIGURATION_FILE).write_text("project: mine\n")
    again = write_repository(lake, to, as_known=True)
    assert [(one.view, one.linked, one.written, one.unchanged) for one in again] == [(name, 0, 0, 3) for name in THEN]

    publish(lake, Churn, {day(1): {"ann": 100}, day(2): {}}, hour(50))
    publish(lake, Churn, {day(3): {"cid": 3}}, hour(73))
    assert write_repository(lake, to, as_known=True) == (
        Exported(CHURN, linked=2, written=0, unchanged=1),
        Exported(f"{CHURN}_as_known", linked=0, written=3, unchanged=1),
    )
    assert found(to) == {(day(1), "ann"): 0, (day(1), "bob"): 10, (day(2), "ann"): 100, (day(4), "cid"): 3}
    assert (to / CONFIGURATION_FILE).read_text() == "project: mine\n", "it is the user's"
    assert not list(to.rglob("*.part"))


def test_what_compaction_rewrote_is_linked_anew(lake: Lake, tmp_path: Path) -> None:
    before = found_after(lake, tmp_path / "feast")
    first_day = lake.scan(Churn, day(0), day(0)).collect()
    lake.append(Churn, first_day.with_columns(player_id="x" + pl.col("player_id")))
    doubled = found_after(lake, tmp_path / "feast")
    assert len(doubled) == len(before) + 2
    assert compact(lake, Churn, at_least_files=2) == 2
    assert found_after(lake, tmp_path / "feast") == doubled
    assert len(list((tmp_path / "feast" / "data").rglob("*.parquet"))) == 3


def found_after(lake: Lake, to: Path) -> dict[tuple[dt.date, str], int]:
    write_repository(lake, to)
    return found(to)


def test_files_from_before_a_column_are_copied_with_it(lake: Lake, tmp_path: Path) -> None:
    """Feast takes every file to be like the first one."""
    to = tmp_path / "feast"
    write_repository(lake, to)
    path = next((to / "data").rglob("*.parquet"))
    older = pl.read_parquet(path).drop("unique_roles")
    event_day = dt.date.fromisoformat(path.parent.name.removeprefix("event_timestamp=")) - DAY
    live = Path(f"{lake.uri(Churn)}/snapshot_date={event_day}") / path.name
    older.write_parquet(live)  # in place: what was linked before is the older file as well
    assert write_repository(lake, to) == (Exported(CHURN, linked=0, written=1, unchanged=2),)
    copied = pl.read_parquet(path)
    assert copied.drop("unique_roles").equals(older)
    assert copied["unique_roles"].null_count() == len(older)
    assert pl.read_parquet(live).columns == older.columns, "the lake's file stays as it is"


def test_definitions_are_python_whatever_contracts_say() -> None:
    class HostileFeatures(Table):
        '''Says """ and \\ and {braces} and "quotes".'''

        key = "testing/hostile_features"
        partition = "snapshot_date"
        primary_key = ("snapshot_date", "player_id")
        owner = "team:'testing'"

        snapshot_date: dt.date = column("Day.")
        player_id: str = column("Player.")
        score: float = column('Half "a" {point}\n', unit="'")

    source = definitions([FeatureSet(HostileFeatures)])
    texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    assert {HostileFeatures.table_description(), 'Half "a" {point}\n', "team:'testing'", "'"} <= texts
    assert "ttl=datetime.timedelta(0)" in source, "for ever, in Feast's words"

    class DatedFeatures(HostileFeatures):
        """With a day among its features."""

        key = "testing/dated_features"
        birthday: dt.date = column("Day.")

    with pytest.raises(PlatformError, match=r"no type for dated_features\.birthday"):
        definitions([FeatureSet(DatedFeatures)])


# ---------------------------------------------------------------------------- which versions
def test_versions_answer_as_the_oracle_does(tmp_path: Path) -> None:
    """Random histories, looked at around every publication: the newest version known is what a reader found then."""
    asked = answered = 0
    for seed in range(25):
        generator = random.Random(seed)
        lake, oracle = Lake(str(tmp_path / str(seed))), Oracle()
        moments = sorted(generator.sample([hour(n / 2) for n in range(-4, 100)], 5))
        for moment in moments:
            numbers = {
                day(n): {p: generator.randrange(9) for p in PLAYERS if generator.random() < 0.6}
                for n in generator.sample(range(2), generator.randint(1, 2))
            }
            publish(lake, Churn, numbers, moment)
            oracle.publications.append((moment, numbers))  # type: ignore[arg-type]
        versions = row_versions(Churn, lake.scan(Churn).collect(), lake.scan(history_of(Churn)).collect())
        assert versions.select("event_timestamp", "player_id", "created_timestamp").is_unique().all()
        for known_at in [at + nudge * dt.timedelta(microseconds=1) for at in moments for nudge in (-1, 0, 1)]:
            for one in (day(0), day(1)):
                if known_at < end_of(one):
                    continue
                known = versions.filter(event_timestamp=end_of(one)).filter(pl.col("created_timestamp") <= known_at)
                newest = known.sort("created_timestamp").unique("player_id", keep="last")
                rows = dict(newest.filter(pl.col("total_events").is_not_null()).select("player_id", "total_events").iter_rows())  # noqa: E501 # fmt: skip
                assert rows == oracle.day_as_known(one, known_at), (seed, one, known_at)
                asked, answered = asked + 1, answered + len(rows)
    assert asked > 300
    assert answered > 300


# -------------------------------------------------------------------------------- bad input
def test_what_cannot_be_done_is_said(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no feature set 'player_chrun_features'.*player_churn_features"):
        write_repository(lake, tmp_path / "feast", ["player_chrun_features"])
    with pytest.raises(PlatformError, match=r"no rows of features/player_engagement_features.*build"):
        write_repository(lake, tmp_path / "feast", ["player_engagement_features"])
    with pytest.raises(PlatformError, match="no rows of"):
        write_repository(Lake(str(tmp_path / "empty")), tmp_path / "feast")
    with pytest.raises(PlatformError, match=r"has one of \* \? \["):
        write_repository(lake, tmp_path / "feast[1]")
    assert not (tmp_path / "feast").exists(), "nothing was begun"
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PlatformError, match="cannot be used"):
        write_repository(lake, file)
    theirs = tmp_path / "theirs" / DEFINITIONS
    theirs.parent.mkdir()
    theirs.write_text("# mine\n")
    with pytest.raises(PlatformError, match="not made by this command"):
        write_repository(lake, theirs.parent)
    assert theirs.read_text() == "# mine\n"


def test_the_command(home: Home, tmp_path: Path) -> None:
    publish(home.lake, Churn, {day(0): {"ann": 1}}, hour(2))
    to = tmp_path / "feast"
    said = CliRunner().invoke(command_line(), ["features", "feast-repo", "--to", str(to), "--as-known"]).output
    assert f"{CHURN}: 1 file linked, 0 written, 0 as before" in said
    assert f"{CHURN}_as_known: 0 files linked, 1 written, 0 as before" in said
    assert f"cd {to} && feast apply" in said
    assert {path.name for path in to.iterdir()} == {"data", DEFINITIONS, CONFIGURATION_FILE}
    failed = CliRunner().invoke(command_line(), ["features", "feast-repo", "nothing", "--to", str(to)])
    assert failed.exit_code == 1
    assert "There is no feature set 'nothing'" in str(failed.exception)
