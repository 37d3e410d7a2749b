"""The client: what it lists, takes, gives back and refuses; what importing it costs; the commands of `features`.
Not here: which rows are right (test_point_in_time), what is remembered (test_feature_history)."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from data_platform.cli import command_line
from data_platform.core.contract.table import Table, column, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake.bitemporal import open_history
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.features import PlayerCampaignFeatures
from data_platform.features import FeatureStore, catalogue
from data_platform.features.store import entities
from data_platform_tests.features.test_training_sets import activity_rows
from data_platform_tests.support.feature_rows import publish
from data_platform_tests.support.homes import FIRST_DAY, Home

DAY = dt.timedelta(days=1)
TOTAL = "player_churn_features:total_events"
MOMENT = pl.col("event_timestamp")
MICROSECONDS = pl.Datetime("us", "UTC")


def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(number)


def moment(number: float) -> dt.datetime:
    return dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC) + number * DAY


@pytest.fixture
def store(home: Home) -> FeatureStore:
    """Days 0 to 3 of ann (10, 11, ...) and bob (day 0 alone)."""
    numbers = {day(n): {"ann": 10 + n} | ({"bob": 20} if n == 0 else {}) for n in range(4)}
    publish(home.lake, PlayerChurnFeatures, numbers, moment(5))
    publish(home.lake, PlayerCampaignFeatures, numbers, moment(5))
    return FeatureStore(home.lake)


def asked(*rows: tuple[str | None, float]) -> pl.DataFrame:
    schema = {"player_id": pl.String, "event_timestamp": MICROSECONDS}
    return pl.DataFrame([(player, moment(at)) for player, at in rows], schema, orient="row")


ROWS = asked(("ann", 2.5), ("bob", 1), ("ann", 0.99), ("eve", 3), ("ann", 2.5))
EXPECTED = [11, 20, None, None, 11]


# ---------------------------------------------------------------------------- what there is
def test_features_are_those_of_the_contracts(store: FeatureStore) -> None:
    listed = store.list_features()
    churn = listed.filter(pl.col("feature_set") == "player_churn_features")
    assert churn["feature"].to_list() == [
        c for c in PlayerChurnFeatures.columns if c not in PlayerChurnFeatures.primary_key
    ]
    assert not listed["feature_set"].str.contains("history").any(), "a journal is no feature set"
    row = churn.filter(pl.col("feature") == "max_session_duration_minutes").row(0, named=True)
    assert (row["unit"], row["nullable"], row["owner"]) == ("min", True, "team:gameplay")

    described = store.describe("player_churn_features")
    assert (described.newest_snapshot, described.snapshots, described.rows) == (day(3), 4, 5)
    assert described.ttl == PlayerChurnFeatures.ttl
    assert described.fresh_within == dt.timedelta(hours=26)
    assert described.remembers_corrections
    assert "weekend_ratio ≤ 1" in next(one for one in described.features if one.name == "weekend_ratio").checks
    assert "avg_difficulty ≥ 0 (warning)" in next(f for f in described.features if f.name == "avg_difficulty").checks
    assert "total_events" in str(described)
    json.dumps(described.to_dict())


def test_describing_what_was_never_built(home: Home) -> None:
    described = FeatureStore(home.lake).describe("player_churn_features")
    assert (described.newest_snapshot, described.rows, described.table_version) == (None, 0, None)


# ------------------------------------------------------------------- every kind of frame, in and out
def test_every_kind_of_frame_goes_in_and_comes_out(store: FeatureStore) -> None:
    categorical = ROWS.with_columns(pl.col("player_id").cast(pl.Categorical))
    elsewhere = ROWS.with_columns(MOMENT.dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"))
    for given in (ROWS, ROWS.lazy(), ROWS.to_pandas(), ROWS.to_arrow(), categorical, elsewhere):
        found = store.get_historical_features(given, [TOTAL])
        assert found.to_polars()["total_events"].to_list() == EXPECTED, type(given)
        assert found.to_arrow().column("total_events").to_pylist() == EXPECTED
        assert found.to_df()["total_events"].astype("Int64").tolist()[:2] == EXPECTED[:2]
        assert dict(found.to_polars().schema) == found.schema


def test_rows_keep_their_order_and_columns(store: FeatureStore) -> None:
    given = ROWS.with_columns(label=pl.Series([True, False, None, True, False]), note=pl.lit("x"))
    found = store.get_historical_features(given, "player_churn_features").to_polars()
    assert found.select(given.columns).equals(given)
    assert found.columns == [*given.columns, *catalogue.feature_set("player_churn_features").features]


def test_features_of_several_sets(store: FeatureStore) -> None:
    wanted = ["player_churn_features:active_campaigns", "player_campaign_features:active_campaigns", TOTAL]
    with pytest.raises(PlatformError, match=r"active_campaigns.*full_feature_names"):
        store.get_historical_features(ROWS, wanted)
    found = store.get_historical_features(ROWS, wanted, full_feature_names=True).to_polars()
    assert found.columns[2:] == ["player_churn_features__active_campaigns", "player_churn_features__total_events",
                                 "player_campaign_features__active_campaigns"]  # fmt: skip
    assert all(found[name].to_list() == EXPECTED for name in found.columns[2:])


def test_the_time_to_live_is_the_contracts_unless_given(store: FeatureStore) -> None:
    late = asked(("ann", 11), ("ann", 11.01), ("bob", 3))

    def totals(ttl: Any) -> list[int | None]:
        return store.get_historical_features(late, TOTAL, ttl=ttl).to_polars()["total_events"].to_list()

    assert totals(None) == [13, None, 20]
    assert totals(dt.timedelta.max) == [13, 13, 20]
    assert totals({"player_churn_features": 2 * DAY}) == [None, None, 20]
    assert totals(dt.timedelta(0)) == [None, None, None]


def test_status_tells_what_a_null_means(store: FeatureStore, home: Home) -> None:
    found = store.get_historical_features(
        asked(("ann", 2.5), ("ann", 20), ("eve", 2)), TOTAL, with_status=True
    ).to_polars()
    assert found["total_events__status"].to_list() == ["present", "expired", "missing"]
    assert found["player_churn_features__snapshot_date"].to_list() == [day(1), None, None]
    taken = ROWS.with_columns(total_events__status=1)
    with pytest.raises(PlatformError, match="total_events__status"):
        store.get_historical_features(taken, TOTAL, with_status=True)


def test_batches_give_the_same(store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = store.get_historical_features(ROWS, TOTAL, with_status=True).to_polars()
    monkeypatch.setattr(entities, "BATCH_ROWS", 2)
    for given in (ROWS, ROWS.lazy()):
        found = store.get_historical_features(given, TOTAL, with_status=True)
        assert found.to_polars().equals(whole)
        for name, read in (("a.parquet", pl.read_parquet), ("a.csv", pl.read_csv), ("a.ndjson", pl.read_ndjson)):
            assert found.write(tmp_path / name) == len(ROWS)
            assert read(tmp_path / name)["total_events"].to_list() == EXPECTED
    assert not list(tmp_path.glob(".*")), "temporary files are gone"
    assert store.get_historical_features(ROWS.clear(), TOTAL).to_polars().columns == [*ROWS.columns, "total_events"]


def test_a_result_does_not_change_once_it_was_asked_for(store: FeatureStore, home: Home) -> None:
    found = store.get_historical_features(ROWS, TOTAL)
    publish(home.lake, PlayerChurnFeatures, {day(1): {"ann": 99}}, moment(6))
    assert found.to_polars()["total_events"].to_list() == EXPECTED
    assert store.get_historical_features(ROWS, TOTAL).to_polars()["total_events"].to_list() == [99, 20, None, None, 99]
    pinned = store.get_historical_features(ROWS, TOTAL, versions={"player_churn_features": 1})
    assert pinned.to_polars()["total_events"].to_list() == EXPECTED


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Table]]:
    """Feature tables with few options: one that remembers nothing, and one that is no set."""
    known = dict(contracts())
    monkeypatch.setattr("data_platform.core.contract.table._CONTRACTS", known)

    class Plain(Table):
        """Features without options."""

        key = "features/plain"
        partition = "snapshot_date"
        primary_key = ("snapshot_date", "player_id")
        owner = "team:testing"

        snapshot_date: dt.date = column("Day.")
        player_id: str = column("Player.")
        score: float | None = column("Score.")

    class Whole(Table):
        """Features of nobody's day."""

        key = "features/whole"
        primary_key = ("player_id",)
        owner = "team:testing"

        player_id: str = column("Player.")
        score: float | None = column("Score.")

    return {"plain": Plain, "whole": Whole}


def test_a_set_that_remembers_no_corrections_is_read_as_it_stands(home: Home, declared: dict[str, type[Table]]) -> None:
    plain, day = declared["plain"], dt.date(2024, 1, 3)
    store = FeatureStore(home.lake)
    for score in (1.0, 2.0):
        rows = [{"snapshot_date": day, "player_id": "p-1", "score": score}]
        home.lake.replace(plain, pl.DataFrame(rows, schema=plain.schema()), [day])
    later = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)
    wanted = pl.DataFrame({"player_id": ["p-1", "p-2"], "event_timestamp": [later, later]})
    found = store.get_historical_features(wanted, ["plain"], with_status=True).to_polars()
    assert found["score"].to_list() == [2.0, None]
    assert found["score__status"].to_list() == ["present", "missing"]
    assert store.get_historical_features(wanted, ["plain"], versions={"plain": 1}).to_polars()["score"][0] == 1.0
    assert not store.describe("plain").remembers_corrections
    for refused in (
        lambda: store.get_historical_features(wanted, ["plain"], known_at=later),
        lambda: open_history(home.lake, plain).corrections(dt.datetime.now(dt.UTC), day, day),
    ):
        with pytest.raises(PlatformError, match=r"does not remember .* `bitemporal = True`"):
            refused()
    with pytest.raises(PlatformError, match="features/whole is no feature set: its key is player_id"):
        store.get_historical_features(wanted, ["whole"])


def test_training_sets_are_built_and_loaded(home: Home) -> None:
    rows = {"ann": 1, "bob": 2}
    publish(home.lake, PlayerChurnFeatures, {day(0): rows, day(1): rows})
    home.lake.replace(
        PlayerDailyActivity, activity_rows({day(n): ["bob"] for n in range(4)}), [day(n) for n in range(4)]
    )
    store = FeatureStore(home.lake)
    built = store.training_set("churn", (day(0), day(1)), horizon_days=2, split=None)
    assert built.rows().sort("snapshot_date", "player_id")["churned"].to_list() == [True, False, True, False]
    publish(home.lake, PlayerChurnFeatures, {day(1): {"ann": 9}})
    assert store.load_training_set(built.id).rows().equals(built.rows())


# -------------------------------------------------------------------------------- what is refused
REFUSED: Sequence[tuple[str, dict[str, Any], str]] = [
    ("an unknown set", {"features": ["player_churn_feature:total_events"]}, "Did you mean player_churn_features"),
    ("an unknown feature", {"features": ["player_churn_features:total_event"]}, "Did you mean total_events"),
    ("hostile names", {"features": ["../../etc/passwd:x\0'; DROP TABLE"]}, "There is no feature set"),
    ("no feature", {"features": []}, "No feature is named"),
    ("an empty feature", {"features": ["player_churn_features:"]}, "No feature is named"),
    ("a number", {"features": [7]}, "not by int"),
    ("no players", {"entities": ROWS.drop("player_id")}, "no column 'player_id'"),
    ("no timestamps", {"entities": ROWS.drop("event_timestamp")}, "no column 'event_timestamp'"),
    ("players as numbers", {"entities": ROWS.with_columns(player_id=1)}, "not text"),
    ("naive timestamps", {"entities": ROWS.with_columns(MOMENT.dt.replace_time_zone(None))},
     "no time zone.*replace_time_zone"),
    ("days", {"entities": ROWS.with_columns(MOMENT.dt.date())}, "is Date, not a timestamp"),
    ("text for timestamps", {"entities": ROWS.with_columns(event_timestamp=pl.lit("2024-01-01"))}, "not a timestamp"),
    ("rows without a timestamp", {"entities": ROWS.with_columns(pl.when(False).then(MOMENT).alias("event_timestamp"))},
     "5 rows have no event_timestamp"),
    ("moments of no calendar", {"entities": ROWS.with_columns(event_timestamp=pl.lit(2**62).cast(MICROSECONDS))},
     "after 9999"),
    ("no frame", {"entities": [1, 2]}, "not list"),
    ("naive knowledge", {"known_at": dt.datetime(2024, 1, 1)}, "known_at.*no time zone"),
    ("knowledge of no kind", {"known_at": 7}, "known_at is int"),
    ("knowledge in no column", {"known_at": "then"}, "no column 'then'"),
    ("a version that never was", {"versions": {"player_churn_features": 99}}, "no version 99"),
    ("a negative life", {"ttl": -DAY}, "0 or more"),
    ("a column twice", {"entities": ROWS.with_columns(total_events=1)}, "more than one column called total_events"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"), [(change, message) for _, change, message in REFUSED], ids=[n for n, *_ in REFUSED]
)
def test_refused_with_a_remedy(store: FeatureStore, change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"entities": ROWS, "features": [TOTAL]} | change
    with pytest.raises(PlatformError, match=f"(?s){message}") as raised:
        store.get_historical_features(given.pop("entities"), given.pop("features"), **given).to_polars()
    assert raised.value.remedy


def test_a_lake_without_the_table(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"not in .*FeatureStore\(lake="):
        FeatureStore(tmp_path).get_historical_features(ROWS, TOTAL)


# --------------------------------------------------------------------------------------- online
def test_online_features_in_feasts_shape(store: FeatureStore, home: Home) -> None:
    from data_platform.features.online.sqlite_store import SqliteStore
    from data_platform.features.online.vectors import serve_day

    today = dt.datetime.now(dt.UTC).date() - DAY
    publish(home.lake, PlayerChurnFeatures, {today: {"ann": 7}})
    online = SqliteStore(home.path / "online")
    serve_day(home.lake, online, PlayerChurnFeatures, today, home.lake.version(PlayerChurnFeatures) or 0)
    store = FeatureStore(home.lake, online=online)
    wanted = [TOTAL, "player_churn_features:preferred_themes", "player_churn_features:spend"]
    found = store.get_online_features(wanted, [{"player_id": "ann"}, {"player_id": "eve'; --"}])
    assert found.to_dict() == {
        "player_id": ["ann", "eve'; --"],
        "total_events": [7, None],
        "preferred_themes": ["t7", None],
        "spend": [Decimal("7.00"), None],
    }
    assert found.to_dict(include_status=True)["total_events__status"] == ["present", "missing"]
    assert found.served["player_churn_features"].snapshot_date == today
    assert found.to_df()["preferred_themes"][0] == "t7"
    with pytest.raises(PlatformError, match="Entity row 1 has no player_id"):
        store.get_online_features(wanted, [{"player_id": "ann"}, {"player": "bob"}])


def test_old_online_features_expire(store: FeatureStore, home: Home) -> None:
    from data_platform.features.online.sqlite_store import SqliteStore
    from data_platform.features.online.vectors import serve_day

    online = SqliteStore(home.path / "online")
    serve_day(home.lake, online, PlayerChurnFeatures, day(3), home.lake.version(PlayerChurnFeatures) or 0)
    found = FeatureStore(home.lake, online=online).get_online_features([TOTAL], [{"player_id": "ann"}])
    assert (found.values["total_events"], found.statuses["total_events"]) == ([None], ["expired"])


# ------------------------------------------------------------------------------------ importing it
IMPORT = """
import time, sys
import polars, deltalake
begun = time.process_time()
from data_platform.features import FeatureStore
FeatureStore(sys.argv[1]).list_features()
seconds = time.process_time() - begun
import json
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_the_client_needs_no_dagster_and_half_a_second(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, home.lake.root], env=home.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, modules = json.loads(done.stdout)
    assert not {"dagster", "pandera", "pandas", "starlette", "sklearn"} & set(modules)
    assert "data_platform" in modules
    assert seconds < 0.5


# ------------------------------------------------------------------------------------- the commands
def run_command(*arguments: str) -> Result:
    return CliRunner().invoke(command_line(), arguments)


def test_features_from_the_command_line(store: FeatureStore, home: Home, tmp_path: Path) -> None:
    listed = json.loads(run_command("features", "list", "--json").stdout)
    assert {"player_churn_features", "player_engagement_features"} <= {one["feature_set"] for one in listed}
    assert "total_events" in run_command("features", "describe", "player_churn_features").stdout

    players, out = tmp_path / "players.csv", tmp_path / "out.parquet"
    players.write_text("player_id,at\nann,2024-01-03T12:00:00Z\nbob,2024-01-02T00:00:00Z\n")
    run_command("features", "pull", TOTAL, "--players", str(players), "--as-of", "at", "--out", str(out))
    assert pl.read_parquet(out)["total_events"].to_list() == [11, 20]
    run_command(
        "features", "pull", TOTAL, "--players", str(players), "--as-of", "2024-01-04", "--out", str(out), "--status"
    )
    assert pl.read_parquet(out)["total_events"].to_list() == [13, 20], "a day is its end"
    assert pl.read_parquet(out)["player_churn_features__snapshot_date"].to_list() == [day(3), day(0)]
    known = ["--known-at", "2024-01-05T23:00:00Z"]
    run_command(
        "features", "pull", TOTAL, "--players", str(players), "--as-of", "2024-01-04", "--out", str(out), *known
    )
    assert pl.read_parquet(out)["total_events"].to_list() == [None, None], "published a day later"


@pytest.mark.parametrize(("given", "message"), [
    (["--as-of", "2024-01-04T10:00:00"], "no time zone"),
    (["--as-of", "tuesday"], "neither a day"),
    (["--players", "nowhere.csv"], "There is no file"),
    (["--out", "features.xlsx"], "no known format"),
])  # fmt: skip
def test_the_command_says_what_is_wrong(store: FeatureStore, tmp_path: Path, given: list[str], message: str) -> None:
    players = tmp_path / "players.csv"
    players.write_text("player_id\nann\n")
    good = {"--players": str(players), "--as-of": "2024-01-04", "--out": str(tmp_path / "out.csv")}
    options = [part for pair in (good | dict([given])).items() for part in pair]
    failed = run_command("features", "pull", TOTAL, *options)
    assert failed.exit_code == 1
    assert message in str(failed.exception)
    assert isinstance(failed.exception, PlatformError)
