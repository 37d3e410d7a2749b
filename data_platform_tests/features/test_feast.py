"""A real Feast, in an environment of its own, over the repository we generate: its values are ours.
Not here: the files of the repository and the versions of rows (test_feast_repository)."""

from __future__ import annotations

import datetime as dt
import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform.core.contract.table import Table
from data_platform.core.lake import bitemporal
from data_platform.core.lake.store import Lake
from data_platform.core.settings import PROJECT_ROOT
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures as Churn
from data_platform.domains.gameplay.contracts.features import PlayerEngagementFeatures as Engagement
from data_platform.features import FeatureStore
from data_platform.features.feast.repository import write_repository
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.feature_rows import feature_frame

FEAST = PROJECT_ROOT / ".venv-feast" / "bin" / "python"
CHURN, ENGAGEMENT = Churn.table_name(), Engagement.table_name()
FIRST = dt.date(2024, 1, 1)
BEGIN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DAY, TICK = dt.timedelta(days=1), dt.timedelta(microseconds=1)
DAYS = 12
STAYING = [f"p{number}" for number in range(8)]
GOING = ["gone-1", "gone-2"]
"""Players whose rows are taken back now and then."""

pytestmark = pytest.mark.skipif(not FEAST.exists(), reason="`make test` installs Feast into .venv-feast")


@dataclass(frozen=True)
class Asked:
    """The same entities, asked of both."""

    lake: Lake
    entities: pl.DataFrame
    feast: dict[str, pl.DataFrame]
    views: dict[str, dict[str, Any]]

    def ours(self, features: str | list[str], **more: Any) -> pl.DataFrame:
        return FeatureStore(self.lake).get_historical_features(self.entities, features, **more).to_polars()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A history of corrections, a repository over it, `feast apply`, and Feast's answers."""
    folder = tmp_path_factory.mktemp("feast")
    generator, lake, repository = random.Random(7), Lake(str(folder / "lake")), folder / "repository"
    moments = published_history(lake, Churn, generator)
    publish(lake, Engagement, {FIRST + DAY * n: {player: n for player in STAYING} for n in range(3)}, BEGIN + 3 * DAY)
    write_repository(lake, repository, as_known=True)
    entities = entity_rows(moments, generator)
    entities.write_parquet(folder / "entities.parquet")
    names = list(Churn.columns)[2:]
    jobs: dict[str, dict[str, Any]] = {
        "now": {"features": [f"{CHURN}:{name}" for name in names]},
        "then": {
            "features": [f"{CHURN}_as_known:{name}" for name in names],
            "filter_by_created_timestamp": True,
        },
        "newest": {"features": [f"{CHURN}_as_known:total_events"]},
        "two": {
            "features": [f"{CHURN}:total_events", f"{ENGAGEMENT}:total_events"],
            "full_feature_names": True,
        },
    }
    listed = [
        {**job, "entities": str(folder / "entities.parquet"), "answer": str(folder / f"{name}.parquet")}
        for name, job in jobs.items()
    ]
    (folder / "jobs.json").write_text(json.dumps(listed))
    said = run(FEAST, SUPPORT.joinpath("feast_asking.py"), repository, folder / "jobs.json")
    answers = {name: pl.read_parquet(folder / f"{name}.parquet").sort("entity_row") for name in jobs}
    return Asked(lake, entities, answers, json.loads(said.splitlines()[-1]))


def run(*command: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def publish(lake: Lake, table: type[Table], numbers: dict[dt.date, dict[str, int]], moment: dt.datetime) -> None:
    """As an asset does; every fourth number is a null where a feature may be null."""
    nullable = [name for name, one in table.columns.items() if one.nullable]
    frame = feature_frame(table, numbers).with_columns(
        pl.when(pl.col("total_events") % 4 != 0).then(pl.col(name)).alias(name) for name in nullable
    )
    bitemporal.commit(lake, table, lake.stage(table, frame), [str(day) for day in numbers], clock=lambda: moment)


def published_history(lake: Lake, table: type[Table], generator: random.Random) -> list[dt.datetime]:
    """Days published late, again and again, some with players who come late and some with players who vanish."""
    state: dict[dt.date, dict[str, int]] = {}
    moments = sorted(BEGIN + generator.random() * 18 * DAY for _ in range(45))
    moments += [BEGIN + (DAYS + 1) * DAY, BEGIN + (DAYS + 7) * DAY]  # midnights too
    for moment in sorted(moments):
        begun = min(DAYS, (moment - BEGIN) // DAY + 1)
        for number in generator.sample(range(begun), min(begun, 3)):
            players = state.setdefault(FIRST + number * DAY, {})
            for player in generator.sample([*STAYING, *GOING], 4):
                players[player] = generator.randrange(1000)
            for player in GOING:
                if generator.random() < 0.4:
                    players.pop(player, None)
            publish(lake, table, {FIRST + number * DAY: dict(players)}, moment)
    return moments


def entity_rows(publications: list[dt.datetime], generator: random.Random) -> pl.DataFrame:
    """Around publications, ends of days and ends of the time to live, a microsecond to either side; some twice."""
    assert Churn.ttl is not None
    edges = [BEGIN + number * DAY for number in range(DAYS + 2)]
    edges += [edge + Churn.ttl for edge in edges] + publications
    moments = [edge + nudge * TICK for edge in edges for nudge in (-1, 0, 1)]
    moments += [BEGIN + generator.random() * 25 * DAY for _ in range(200)]
    rows = [(player, moment) for moment in moments for player in [*generator.sample(STAYING, 3), *GOING, "nobody"]]
    rows += rows[:20]
    generator.shuffle(rows)
    frame = pl.DataFrame(rows, {"player_id": pl.String, "event_timestamp": pl.Datetime("us", "UTC")}, orient="row")
    return frame.with_row_index("entity_row")


def assert_equal(feast: pl.DataFrame, ours: pl.DataFrame) -> None:
    """Column by column, types too, nulls equal to nulls."""
    assert set(feast.columns) == set(ours.columns)
    assert len(feast) == len(ours) > 2000
    for name in ours.columns:
        differs = feast[name].ne_missing(ours[name])
        assert not differs.any(), (name, feast.filter(differs).head(3), ours.filter(differs).head(3))
    assert feast.drop("entity_row").schema == {
        name: ours.schema[name] for name in feast.columns if name != "entity_row"
    }


def test_feast_gives_the_values_we_give(asked: Asked) -> None:
    ours = asked.ours(CHURN, with_status=True)
    statuses = ours["total_events__status"].value_counts().rows()
    assert {status for status, count in statuses if count > 50} == {"present", "expired", "missing"}
    assert (ours["most_active_hour__status"] == "null").sum() > 50
    assert_equal(asked.feast["now"], asked.ours(CHURN))


def test_feast_gives_what_was_known_at_each_entitys_moment(asked: Asked) -> None:
    """Of players whose rows were only ever corrected or late. What is known now differs, so the question matters."""
    stayed = pl.col("player_id").is_in([*STAYING, "nobody"])
    then = asked.ours(CHURN, known_at="event_timestamp")
    names = [name for name in then.columns if name != "entity_row"]
    feast, ours = asked.feast["then"].filter(stayed), then.filter(stayed)
    now = asked.ours(CHURN).filter(stayed)
    assert len(ours) > 1000
    assert now["total_events"].ne_missing(ours["total_events"]).sum() > 200
    for name in names:
        differs = feast[name].ne_missing(ours[name])
        assert not differs.any(), (name, feast.filter(differs).head(3), ours.filter(differs).head(3))
    newest = asked.feast["newest"].filter(stayed)
    assert newest["total_events"].equals(now["total_events"], null_equal=True), "without the cut-off: as known now"


def test_where_a_row_was_taken_back_feast_gives_null_and_we_an_older_row(asked: Asked) -> None:
    """Feast has no word for it. Null is what it can say; what was taken back it must not say."""
    gone = pl.col("player_id").is_in(GOING)
    ours = asked.ours(CHURN, known_at="event_timestamp").filter(gone)["total_events"]
    feast = asked.feast["then"].filter(gone)["total_events"]
    differs = feast.ne_missing(ours)
    assert 0 < differs.sum() < len(ours) / 2
    assert feast.filter(differs).is_null().all()


def test_two_sets_in_one_question(asked: Asked) -> None:
    both = [f"{CHURN}:total_events", f"{ENGAGEMENT}:total_events"]
    assert_equal(asked.feast["two"], asked.ours(both, full_feature_names=True))


def test_feast_knows_what_the_contracts_say(asked: Asked) -> None:
    assert set(asked.views) == {CHURN, ENGAGEMENT, f"{CHURN}_as_known", f"{ENGAGEMENT}_as_known"}
    for table in (Churn, Engagement):
        view = asked.views[table.table_name()]
        assert table.ttl is not None
        assert view["ttl"] == table.ttl.total_seconds()
        assert (view["owner"], view["description"]) == (table.owner, table.table_description())
        assert view["tags"] == {"table": table.key, "contract_version": table.version()}
        assert view["join_keys"] == ["player_id"]
        feast_types = {pl.Int64: "Int64", pl.Float64: "Float64", pl.String: "String", pl.Decimal: "Decimal"}
        assert view["features"] == {
            name: [feast_types[one.dtype.base_type()], one.description, {"unit": one.unit} if one.unit else {}]
            for name, one in table.columns.items()
            if name not in table.primary_key
        }
