"""Training sets: labels against a naive oracle, no leakage, refusals, and an id that always gives the same rows.
Not here: how long pins hold (test_training_set_pins), the assets over them (test_churn_model)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.bitemporal import commit as commit_with_history
from data_platform.core.lake.files import LakeFiles
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.labels import churned
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.features import training_sets
from data_platform.features.training_sets import TimeSplit, registry
from data_platform.features.training_sets.labels import LabelWindow
from data_platform.features.training_sets.manifest import Manifest, content_digest

FIRST = dt.date(2024, 1, 1)
DAYS = 40
PLAYERS = [f"p-{number:02}" for number in range(12)]
TODAY = FIRST + dt.timedelta(DAYS)
RANGE = (FIRST + dt.timedelta(5), FIRST + dt.timedelta(25))


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(number)


def activity_rows(played: Mapping[dt.date, list[str]]) -> pl.DataFrame:
    return filled(
        PlayerDailyActivity,
        [{"activity_date": on, "player_id": player} for on, players in played.items() for player in players],
    )


def filled(table: type[Table], rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows of a table; what they do not say is zero, or empty text."""
    zero = {pl.String: "", pl.List: [0] * 24, pl.Float64: 0.0, pl.Boolean: False, pl.Int64: 0, pl.Decimal: 0}
    blank = {name: zero.get(dtype.base_type()) for name, dtype in table.schema().items()}
    return pl.DataFrame([blank | row for row in rows], schema=table.schema())


def random_history(seed: int) -> dict[dt.date, list[str]]:
    chance = random.Random(seed)
    keen = {player: chance.random() ** 2 for player in PLAYERS}
    # The last one plays every day: no day may be without a file.
    return {day(n): [p for p in PLAYERS if p == PLAYERS[-1] or chance.random() < keen[p]] for n in range(DAYS)}


def feature_rows(played: Mapping[dt.date, list[str]], seed: int = 1) -> pl.DataFrame:
    """One row per player and day; `total_events` counts the days played so far, the others are random."""
    chance = random.Random(seed)
    rows = []
    for snapshot in played:
        for player in PLAYERS:
            events = sum(player in players for on, players in played.items() if on <= snapshot)
            rows.append(
                {
                    "snapshot_date": snapshot,
                    "player_id": player,
                    "total_events": events,
                    "weekend_ratio": chance.random(),
                    "preferred_themes": chance.choice(["horror", "zoë", ""]),
                    "max_session_duration_minutes": chance.choice([None, 1.5]),
                }
            )
    return filled(PlayerChurnFeatures, rows)


@pytest.fixture
def played() -> dict[dt.date, list[str]]:
    return random_history(7)


@pytest.fixture
def lake(tmp_path: Path, played: dict[dt.date, list[str]]) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    lake.replace(PlayerDailyActivity, activity_rows(played), list(played))
    lake.replace(PlayerChurnFeatures, feature_rows(played), list(played))
    return lake


def build(lake: Lake, **changes: object) -> training_sets.TrainingSet:
    arguments = {"horizon_days": 3, "split": None, "today": TODAY} | changes
    name, snapshots = arguments.pop("name", "churn"), arguments.pop("snapshot_range", RANGE)
    return training_sets.build(lake, name, snapshots, **arguments)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------- labels
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), max_size=25),
    st.integers(0, 6),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_churned_is_no_event_in_the_window(
    events: list[tuple[int, str]], snapshot: int, horizon: int, gap: int
) -> None:
    activity = pl.LazyFrame(
        {"activity_date": [day(n) for n, _ in events], "player_id": [player for _, player in events]},
        schema={"activity_date": pl.Date, "player_id": pl.String},
    )
    found = churned(day(snapshot), pl.LazyFrame({"player_id": ["a", "b", "c"]}), activity, LabelWindow(horizon, gap))
    naive = {
        player: not any(p == player and snapshot + gap < n <= snapshot + gap + horizon for n, p in events)
        for player in "abc"
    }
    assert dict(found.collect().iter_rows()) == naive


@pytest.mark.parametrize("gap", [0, 2])
def test_rows_are_features_and_labels_of_active_players(lake: Lake, played: dict[dt.date, list[str]], gap: int) -> None:
    built = build(lake, gap_days=gap, every_days=4)
    features = feature_rows(played)
    expected = []
    for row in features.iter_rows(named=True):
        snapshot = row["snapshot_date"]
        if row["total_events"] and snapshot in {day(n) for n in range(5, 26, 4)}:
            after = [snapshot + dt.timedelta(gap + n) for n in (1, 2, 3)]
            expected.append(row | {"churned": not any(row["player_id"] in played[on] for on in after)})
    found = built.rows()
    assert found.columns == ["snapshot_date", "player_id", "split", *built.features, "churned"]
    assert found.drop("split").to_dicts() == sorted(expected, key=lambda row: (row["snapshot_date"], row["player_id"]))
    assert 0 < built.manifest.positives < built.manifest.rows == len(expected)
    everyone = build(lake, gap_days=gap, every_days=4, players="all").rows()
    assert len(everyone) == 6 * len(PLAYERS) > len(found)


def test_excluded_players_are_in_no_row(lake: Lake) -> None:
    built = build(lake, exclude=PLAYERS[:3])
    assert not set(built.rows()["player_id"]) & set(PLAYERS[:3])
    assert built.manifest.definition.excluded_players == 3
    assert not any(player in built.manifest.to_json() for player in PLAYERS), "a manifest names no player"
    assert training_sets.rebuild(lake, built.id, exclude=PLAYERS[:3]).id == built.id
    with pytest.raises(PlatformError, match="excluded"):
        training_sets.rebuild(lake, built.id)


# ------------------------------------------------------------------------- no leakage
def test_nothing_after_the_label_windows_changes_a_row(lake: Lake, played: dict[dt.date, list[str]]) -> None:
    before = build(lake)
    last = RANGE[1] + dt.timedelta(3)
    later = [on for on in played if on > last]
    assert len(later) > 5
    lake.replace(PlayerDailyActivity, activity_rows({later[0]: ["someone new"]}), later)
    lake.replace(PlayerChurnFeatures, feature_rows(played, seed=2), [on for on in played])
    lake.replace(
        PlayerChurnFeatures,
        pl.concat([feature_rows(played).filter(pl.col("snapshot_date") <= RANGE[1])]),
        list(played),
    )
    assert build(lake).id == before.id
    # The first day after the last snapshot is in a label window: it must count.
    lake.replace(PlayerDailyActivity, activity_rows({last: PLAYERS}), [last])
    assert build(lake).id != before.id


@given(st.integers(1, 120), st.integers(1, 7), st.integers(1, 20), st.floats(0, 0.5), st.floats(0.01, 0.49))
def test_no_part_reaches_into_the_snapshots_of_a_later_one(
    days: int, every: int, reach: int, validation: float, test: float
) -> None:
    snapshots = [day(n) for n in range(0, days, every)]
    try:
        parts = TimeSplit(validation, test).parts(snapshots, reach)
    except PlatformError:
        return
    order = ("train", "validation", "test")
    assert list(parts) == sorted(parts)
    assert {p for p, share in zip(order, (1, validation, test), strict=True) if share} == set(parts.values())
    for earlier, part in parts.items():
        for later, other in parts.items():
            assert order.index(part) <= order.index(other) or earlier > later
            if order.index(part) < order.index(other):
                assert earlier + dt.timedelta(reach) < later
    left_out = set(snapshots) - set(parts)
    assert all(any(0 < (p - d).days <= reach for p in parts) for d in left_out), "only the embargo is left out"


def test_a_split_set_leaves_the_embargo_out(lake: Lake) -> None:
    built = build(lake, split=TimeSplit(validation=0.2, test=0.2))
    days_of = {
        part: built.rows(part)["snapshot_date"].unique().sort().to_list() for part in ("train", "validation", "test")
    }
    assert days_of["test"] == [day(n) for n in range(22, 26)]
    assert days_of["validation"] == [day(n) for n in range(15, 19)], "labels end on the 21st"
    assert days_of["train"] == [day(n) for n in range(5, 12)]
    assert sum(built.manifest.rows_by_split.values()) == built.manifest.rows == len(built.rows())
    with pytest.raises(PlatformError, match="no part 'holdout'"):
        built.rows("holdout")


# --------------------------------------------------------------------------- refusals
def test_labels_are_refused_while_their_window_is_open(lake: Lake) -> None:
    closes = RANGE[1] + dt.timedelta(3 + 2)
    assert build(lake, gap_days=2, today=closes + dt.timedelta(1)).manifest.rows
    with pytest.raises(PlatformError, match=f"not known before the end of {closes}") as refused:
        build(lake, gap_days=2, today=closes)
    assert f"End the snapshot range at {RANGE[1] - dt.timedelta(1)}" in refused.value.remedy


def test_days_that_were_not_computed_are_refused(lake: Lake, played: dict[dt.date, list[str]]) -> None:
    gone = day(12)
    lake.replace(PlayerDailyActivity, PlayerDailyActivity.empty(), [gone])
    with pytest.raises(PlatformError, match=f"gameplay/player_daily_activity has no rows on {gone}"):
        build(lake)
    lake.replace(PlayerDailyActivity, activity_rows({gone: played[gone]}), [gone])
    lake.replace(PlayerChurnFeatures, PlayerChurnFeatures.empty(), [gone])
    with pytest.raises(PlatformError, match=f"features/player_churn_features has no rows on {gone}"):
        build(lake)
    with pytest.raises(PlatformError, match="has not been built"):
        build(Lake(lake.root + "-nowhere"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_set": "player_chrun"}, "There is no feature set"),
        ({"features": ["total_events", "shoe_size"]}, "has no feature shoe_size"),
        ({"label": "rich"}, "There is no label"),
        ({"horizon_days": 0}, "cannot be"),
        ({"gap_days": -1}, "cannot be"),
        ({"every_days": 0}, "no snapshot day"),
        ({"snapshot_range": (day(9), day(8))}, "no snapshot day"),
        ({"name": "../../etc"}, "cannot be called"),
        ({"name": "Churn\0"}, "cannot be called"),
        ({"players": "some"}, "no players called"),
        ({"feature_set": "player_campaign_features"}, "does not say who was active"),
        ({"split": TimeSplit(), "snapshot_range": (day(5), day(7))}, "leave none for"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(lake: Lake, changes: dict[str, object], message: str) -> None:
    with pytest.raises(PlatformError, match=message) as refused:
        build(lake, **changes)
    assert refused.value.remedy
    assert training_sets.registered(lake) == []


@pytest.mark.parametrize("wrong", ["churn", "../churn-0123456789abcdef", "churn-0123456789abcdef\n", "x" * 10_000])
def test_ids_that_are_none_are_refused(lake: Lake, wrong: str) -> None:
    with pytest.raises(PlatformError, match="is no id"):
        training_sets.load(lake, wrong)


# ------------------------------------------------------------------ one id, the same rows
def files_of(built: training_sets.TrainingSet) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(built.root).iterdir()}


def test_the_same_set_twice_is_one_set(lake: Lake) -> None:
    built = build(lake)
    files = files_of(built)
    compact(lake, PlayerDailyActivity, at_least_files=1)
    again = build(lake)
    assert again.id == built.id
    assert files_of(again) == files
    assert [manifest.id for manifest in training_sets.registered(lake)] == [built.id]
    other = build(lake, horizon_days=2)
    assert other.id != built.id
    assert {manifest.id for manifest in training_sets.registered(lake, "churn")} == {built.id, other.id}
    assert training_sets.registered(lake, "retention") == []


def test_a_set_is_plain_parquet_and_a_manifest(lake: Lake) -> None:
    built = build(lake)
    manifest = json.loads((Path(built.root) / "manifest.json").read_text())
    found = duckdb.read_parquet(f"{built.root}/*.parquet").aggregate("count(*), sum(churned::INT)").fetchall()
    assert found == [(manifest["rows"], manifest["positives"])]
    assert manifest["table_versions"].keys() == {"features/player_churn_features", "gameplay/player_daily_activity"}
    assert manifest["contract_versions"]["features/player_churn_features"] == PlayerChurnFeatures.version()
    assert Manifest.from_json(json.dumps(manifest)) == built.manifest == training_sets.load(lake, built.id).manifest
    assert_frame_equal(training_sets.load(lake, built.id).rows(), built.rows())


def test_a_tampered_set_is_refused_and_can_be_restored(lake: Lake) -> None:
    built = build(lake)
    files = files_of(built)
    victim = Path(built.root) / built.manifest.files[3].file
    changed = pl.read_parquet(victim).with_columns(~pl.col("churned"))
    changed.write_parquet(victim)
    with pytest.raises(PlatformError, match=victim.name):
        training_sets.load(lake, built.id)
    with pytest.raises(PlatformError, match="is not what was registered"):
        build(lake)
    forged = Path(built.root) / "manifest.json"
    registered = forged.read_text()
    digest = hashlib.sha256(victim.read_bytes()).hexdigest()
    forged.write_text(registered.replace(built.manifest.files[3].sha256, digest))
    with pytest.raises(PlatformError, match="has other content"):
        training_sets.load(lake, built.id)
    content = content_digest(changed)
    forged.write_text(forged.read_text().replace(built.manifest.files[3].content_sha256, content))
    with pytest.raises(PlatformError, match="does not belong to this id"):
        training_sets.load(lake, built.id)
    forged.write_text(registered)
    restored = training_sets.rebuild(lake, built.id)
    assert {name: content for name, (_, content) in files_of(restored).items()} == {
        name: content for name, (_, content) in files.items()
    }
    victim.unlink()
    with pytest.raises(PlatformError, match="is gone"):
        training_sets.load(lake, built.id)
    (Path(built.root) / "manifest.json").write_text("{}")
    with pytest.raises(PlatformError, match="no manifest of a training set"):
        training_sets.load(lake, built.id)


def test_a_half_registered_set_does_not_exist(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write = LakeFiles.write

    def dies_at_the_manifest(self: LakeFiles, path: str, content: bytes) -> None:
        if path == registry.MANIFEST:
            raise KeyboardInterrupt
        write(self, path, content)

    monkeypatch.setattr(LakeFiles, "write", dies_at_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        build(lake)
    monkeypatch.undo()
    assert list(Path(lake.root, "training_sets").rglob("*.parquet"))
    assert training_sets.registered(lake) == []
    built = build(lake)
    assert [manifest.id for manifest in training_sets.registered(lake)] == [built.id]


def test_the_digest_sees_every_bit_and_nothing_else(played: dict[dt.date, list[str]]) -> None:
    frame = feature_rows(played).head(60)
    digest = content_digest(frame)
    assert content_digest(pl.concat([frame[40:], frame[:40]], rechunk=False)) == digest
    changes = [
        pl.col("weekend_ratio") + pl.lit(2**-52) * (pl.int_range(pl.len()) == 17),
        pl.col("max_session_duration_minutes").fill_null(0.0),
        pl.col("total_events").cast(pl.Int32),
        pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("x")).otherwise("preferred_themes").alias("preferred_themes"),
    ]
    digests = {content_digest(frame.with_columns(change)) for change in changes}
    digests |= {content_digest(frame.rename({"total_events": "events"})), content_digest(frame[1:])}
    assert len(digests | {digest}) == len(changes) + 3


def test_the_library_needs_no_dagster() -> None:
    code = "import data_platform.features.training_sets, sys; print({'dagster', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "set()", done.stderr


# ------------------------------------------------------------------- as known at a moment
def test_a_set_as_known_at_a_moment_has_the_values_of_that_moment(tmp_path: Path) -> None:
    """Trained "as of last Tuesday", a model gets Tuesday's values, whatever was corrected since."""
    played, lake = random_history(7), Lake(str(tmp_path / "lake"))
    lake.replace(PlayerDailyActivity, activity_rows(played), list(played))

    def publish(seed: int) -> dt.datetime:
        rows = feature_rows(played, seed)
        commit_with_history(lake, PlayerChurnFeatures, lake.stage(PlayerChurnFeatures, rows), map(str, played))
        return dt.datetime.now(dt.UTC)

    tuesday = publish(1)
    before = build(lake)
    publish(2)
    corrected, as_known = build(lake), build(lake, known_at=tuesday)
    assert as_known.rows().equals(before.rows())
    assert not corrected.rows().equals(before.rows())
    publish(3)
    assert training_sets.rebuild(lake, as_known.id).manifest == as_known.manifest
    assert build(lake, known_at=tuesday.astimezone(dt.timezone(dt.timedelta(hours=9)))).id == as_known.id
    with pytest.raises(PlatformError, match="no time zone"):
        build(lake, known_at=tuesday.replace(tzinfo=None))
    with pytest.raises(PlatformError, match="not come yet"):
        build(lake, known_at=dt.datetime(2999, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(PlatformError, match="Nothing was known of 2024-01-06"):
        build(lake, known_at=dt.datetime(2024, 3, 1, tzinfo=dt.UTC))
    with pytest.raises(PlatformError, match="not known before the end of 2024-01-29"):
        build(lake, known_at=dt.datetime(2024, 1, 29, 23, tzinfo=dt.UTC), today=None)
