"""The tables as Dagster builds them: incremental equals rebuild, a late event touches exactly the days that depend on
it, bad days are not published, a day knows nothing of what came after. Not here: what a transform computes."""

import datetime as dt
import gzip
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract import lineage
from data_platform.core.contract import table as core_contract
from data_platform.core.contract.table import Severity, Table, column, contract
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.io_manager import LakeIOManager, LakeResource
from data_platform.core.quality.check_groups import check_groups
from data_platform.core.quality.validation import judge
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.simulation import simulate
from data_platform_tests.support.homes import (
    FIRST_DAY,
    Home,
    Row,
    all_tables,
    assert_not_empty,
    assert_same_tables,
    event,
    verdicts,
)

DAYS = 6
START = dt.date(2024, 2, 26)
SHOP = ("orders", "stripe_charges", "stripe_refunds", "sendgrid_events")
"""What churn features follow from, of the shop."""
DATED_BY = {"player_events": "timestamp"} | dict.fromkeys(SHOP[1:], "created_at")
FOLDERS = ("campaign_participants", "campaigns", "event_totals", "player_events", "players", *SHOP)


# ---------------------------------------------------------------- incremental equals rebuild
@dataclass(frozen=True)
class Rebuilt:
    """Every line of a dirty simulation by folder, and the tables of one full rebuild."""

    lines: Mapping[str, list[bytes]]
    tables: Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    home = Home(tmp_path_factory.mktemp("rebuilt"))
    simulate(40, DAYS, 9, START, home.landing, dirty=True)
    lines = {
        folder: [
            one
            for path in sorted((home.landing / folder).iterdir())
            for one in gzip.decompress(path.read_bytes()).splitlines()
        ]
        for folder in FOLDERS
    }
    home.build()
    assert_not_empty(home.computed())
    return Rebuilt(lines, home.computed())


def deliver(home: Home, lines: Mapping[str, list[bytes]], name: str) -> None:
    for folder, some in lines.items():
        if some:
            home.drop(f"{name}.ndjson", b"".join(one + b"\n" for one in some), folder=folder)


def build_in_batches(home: Home, lines: Mapping[str, list[bytes]], seed: int) -> None:
    """All lines in random order, in batches of random size; some lines once more; a build after each batch."""
    rng = random.Random(seed)
    batches = rng.randrange(2, 5)
    split: list[dict[str, list[bytes]]] = [{folder: [] for folder in FOLDERS} for _ in range(batches)]
    for folder, some in lines.items():
        again = rng.sample(some, len(some) // 10) if folder != "player_events" else []
        shuffled = rng.sample(some + again, len(some) + len(again))
        cuts = sorted(rng.choices(range(len(shuffled) + 1), k=batches - 1))
        for batch, (start, end) in zip(split, zip([0, *cuts], [*cuts, len(shuffled)], strict=True), strict=True):
            batch[folder] = shuffled[start:end]
    for number, batch in enumerate(split):
        deliver(home, batch, f"batch-{number}")
        home.build()


@pytest.mark.parametrize("seed", [1, 2])
def test_incremental_equals_rebuild(home: Home, rebuilt: Rebuilt, seed: int) -> None:
    build_in_batches(home, rebuilt.lines, seed)
    assert_same_tables(home.computed(), rebuilt.tables)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 40))
def test_incremental_equals_rebuild_in_30_random_orders(home: Home, rebuilt: Rebuilt, seed: int) -> None:
    build_in_batches(home, rebuilt.lines, seed)
    assert_same_tables(home.computed(), rebuilt.tables)


def test_repeated_events_change_counts_of_duplicates_alone(home: Home, rebuilt: Rebuilt) -> None:
    """Everything once, then all events again in another order: raw doubles, no computed value changes."""
    deliver(home, rebuilt.lines, "first")
    home.build()
    assert_same_tables(home.computed(), rebuilt.tables)
    before = len(home.raw())
    shuffled = random.Random(3).sample(rebuilt.lines["player_events"], len(rebuilt.lines["player_events"]))
    deliver(home, {"player_events": shuffled}, "again")
    home.build(["clean"])
    assert len(home.raw()) == 2 * before
    for key in ("clean/player_events", "clean/player_events_rejected"):
        table = contract(key)
        assert home.rows(table).sort(table.primary_key).equals(rebuilt.tables[key]), key


@pytest.mark.parametrize("after", [START + dt.timedelta(2)])
def test_the_end_of_a_day_knows_nothing_of_later_days(home: Home, rebuilt: Rebuilt, after: dt.date) -> None:
    """Delete everything after the day from landing: the features of all days up to it are the same."""

    def until_then(line: bytes, field: str) -> bool:
        try:
            fields = json.loads(line)
            return str(fields[field])[:10] <= after.isoformat()
        except (ValueError, KeyError, TypeError):
            return False

    kept = {
        folder: [one for one in some if until_then(one, DATED_BY.get(folder, "changed_at"))]
        for folder, some in rebuilt.lines.items()
    }
    assert all(len(kept[name]) < len(rebuilt.lines[name]) for name in ("player_events", "campaign_participants", *SHOP))
    deliver(home, kept, "until")
    home.build()
    found = home.computed()
    for key, whole in rebuilt.tables.items():
        if key.startswith("features/"):
            known = whole.filter(pl.col("snapshot_date") <= after)
            assert found[key].filter(pl.col("snapshot_date") <= after).equals(known), key
            assert len(known), key


# ----------------------------------------------------------------------- what a late event does
def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(number)


def history(days: int) -> list[Row]:
    """Two players, an event each a day; one plays across midnight."""
    return [
        event(event_id=f"{player}-{n}", player_id=player, session_id=f"{player}-{n // 2}",
              timestamp=f"{day(n)}T{hour}:00:00Z")
        for n in range(days)
        for player, hour in (("ann", "10"), ("bob", "23"))
    ]  # fmt: skip


def changes(days: int) -> dict[str, list[Row]]:
    at = f"{day(0)}T01:00:00Z"
    campaign = {"campaign_id": "c-1", "operation": "insert", "changed_at": at, "theme": "horror", "difficulty": 3}
    players = [{"player_id": p, "operation": "insert", "changed_at": at, "registered_at": at} for p in ("ann", "bob")]
    joined = {"campaign_id": "c-1", "player_id": "ann", "operation": "insert", "role": "tank"}
    played = [joined | {"changed_at": f"{day(n)}T11:00:00Z", "last_active": f"{day(n)}T10:59:00Z", "experience": n,
                        "character_level": 1} for n in range(0, days, 5)]  # fmt: skip
    return {"campaigns": [campaign], "players": players, "campaign_participants": played}


NEWEST = 47
LATE = 5
LATE_EVENT_TOUCHES: dict[str, tuple[int, int]] = {
    "raw/player_events": (0, 0),
    "clean/player_events": (0, 0),
    "clean/player_event_totals": (0, 0),
    "clean/player_events_rejected": (0, 0),
    "gameplay/player_session_days": (0, 0),
    "gameplay/player_daily_activity": (0, 0),
    "gameplay/player_sessions": (-1, 1),
    "gameplay/player_engagement_metrics": (0, 6),
    "gameplay/campaign_metrics": (0, 0),
    "gameplay/event_windows": (0, 0),
    "gameplay/player_retention": (-30, 0),
    "gameplay/daily_metrics": (-1, 29),  # counts the sessions that started, and one may have started a day before
    "features/player_engagement_features": (0, 29),
    "features/player_churn_features": (0, 29),
}
"""First and last dependent day, relative to the event's. All other tables do not depend on events."""


@pytest.fixture(scope="module")
def long_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("long"))
    for folder, rows in changes(NEWEST + 1).items():
        home.drop("all.ndjson", rows, folder=folder)
    home.drop("all.ndjson", history(NEWEST + 1))
    home.build()
    return home


def snapshot(home: Home) -> dict[str, dict[str, frozenset[str]]]:
    return {table.key: home.files(table) for table in all_tables()}


def rewritten(
    before: Mapping[str, Mapping[str, frozenset[str]]], after: Mapping[str, Mapping[str, frozenset[str]]]
) -> dict[str, set[str]]:
    """Per table the partitions whose files are others than before."""
    found = {
        key: {part for part in before[key].keys() | after[key].keys() if before[key].get(part) != after[key].get(part)}
        for key in before
    }
    return {key: parts for key, parts in found.items() if parts}


def dependent_days(late: int, newest: int) -> dict[str, set[str]]:
    return {
        key: {str(day(n)) for n in range(max(0, late + first), min(newest, late + last) + 1)}
        for key, (first, last) in LATE_EVENT_TOUCHES.items()
    }


def test_a_late_event_recomputes_exactly_the_days_that_depend_on_it(long_home: Home) -> None:
    from data_platform.operations.staleness import stale_days

    before = snapshot(long_home)
    late = event(event_id="late", player_id="cid", session_id="cid-1", timestamp=f"{day(LATE)}T12:00:00Z")
    long_home.drop("late.ndjson", [late])
    long_home.build(["raw"])
    expected = dependent_days(LATE, NEWEST)
    stale = {
        table.key: set(days)
        for table, days in stale_days(ThroughDagster(long_home.instance), all_tables()).items()
        if days
    }
    computed_together = {"raw/player_events", "clean/player_events_rejected"}
    assert stale == {key: days for key, days in expected.items() if key not in computed_together}

    long_home.build()
    touched = rewritten(before, snapshot(long_home))
    assert touched.pop("raw/ingestion_ledger")
    # A day without rows has no file before or after: rejected events, and sign-ups of days on which nobody signed up.
    with_rows = {key: {part for part in days if part in snapshot(long_home)[key]} for key, days in expected.items()}
    assert touched == {key: days for key, days in with_rows.items() if days}
    assert len(touched["features/player_churn_features"]) == 30


def test_a_second_build_does_nothing(long_home: Home) -> None:
    long_home.build()
    before, versions = snapshot(long_home), {t.key: long_home.lake.version(t) for t in all_tables()}
    built = long_home.build()
    assert (built.partitions, built.runs) == (0, 0)
    assert snapshot(long_home) == before
    assert {t.key: long_home.lake.version(t) for t in all_tables()} == versions


def test_a_late_campaign_change_does_not_touch_events(long_home: Home) -> None:
    long_home.build()
    before = snapshot(long_home)
    change = {"campaign_id": "c-1", "operation": "update", "changed_at": f"{day(40)}T00:30:00Z", "theme": "comedy"}
    long_home.drop("late.ndjson", [change], folder="campaigns")
    long_home.build()
    touched = rewritten(before, snapshot(long_home))
    assert not {key for key in touched if "event" in key or "session" in key}
    later = {str(day(n)) for n in range(40, NEWEST + 1)}
    assert touched["features/player_campaign_features"] == later
    assert touched["features/player_churn_features"] == later
    assert touched["raw/campaign_changes"] == touched["clean/campaign_changes"] == {str(day(40))}


def test_the_days_asked_for_are_computed_whether_stale_or_not(home: Home) -> None:
    home.drop("a.ndjson", history(4))
    home.build(["clean/player_events"])
    before = home.files(contract("clean/player_events"))
    home.build(["clean/player_events"], first=day(1), last=day(2))
    after = home.files(contract("clean/player_events"))
    assert {part for part in after if after[part] != before[part]} == {str(day(1)), str(day(2))}


# --------------------------------------------------------- numbers and verdicts of every partition
def materialisations(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str | None, dict[str, Any]]:
    """Newest materialisation's metadata per partition."""
    records = instance.fetch_materializations(key, limit=10_000, ascending=True).records
    found: dict[str | None, dict[str, Any]] = {}
    for record in records:
        assert record.asset_materialization is not None
        found[record.partition_key] = {n: v.value for n, v in record.asset_materialization.metadata.items()}
    return found


def test_rows_bytes_and_version_of_every_partition_of_a_range_run(long_home: Home) -> None:
    for table in all_tables():
        metadata_of = materialisations(long_home.instance, asset_key(table))
        sizes = {r["partition"]: r for r in long_home.lake.partitions(table).iter_rows(named=True)}
        if table.partition is None:
            assert metadata_of[None]["dagster/row_count"] == len(long_home.rows(table)), table.key
            continue
        assert {part for part in sizes if part} <= metadata_of.keys(), table.key
        for part, metadata in metadata_of.items():
            assert metadata["dagster/partition_row_count"] == (sizes[part]["rows"] if part in sizes else 0), part
            assert metadata["size_bytes"] == (sizes[part]["bytes"] if part in sizes else 0)
            assert 0 <= int(metadata["delta/version"]) <= (long_home.lake.version(table) or 0)


def test_every_day_of_every_computed_table_has_a_verdict(long_home: Home) -> None:
    for table in all_tables():
        if table.table_group() == "raw" or table.partition is None:
            continue
        days = set(materialisations(long_home.instance, asset_key(table)))
        for group in check_groups(table):
            found = verdicts(long_home.instance, table, group.name)
            assert days <= found.keys(), (table.key, group.name)
            assert all(found[one].passed for one in days if group.severity == Severity.ERROR)
            for one in days:
                judged = found[one].target_materialization_data
                assert judged is not None, f"{table.key} {one}: the UI would show it as skipped"


# ---------------------------------------------------- a contract of our own, broken on some days
@pytest.fixture
def scores() -> Iterator[type[Table]]:
    """A contract for this test alone: taken out of the registry afterwards."""

    class Scores(Table):
        """One row per player and day."""

        key = "testing/scores"
        partition = "score_date"
        primary_key = ("score_date", "player_id")
        owner = "team:testing"

        score_date: dt.date = column("Day.")
        player_id: str = column("Player.", min_length=1)
        score: int = column("Points.", ge=0)
        mood: float | None = column("Between 0 and 1.", le=1.0, severity=Severity.WARNING)

    yield Scores
    core_contract._CONTRACTS.pop("testing/scores", None)
    lineage.INPUTS.pop("testing/scores", None)


def score_rows(scores: type[Table], rows: list[tuple[int, str | None, int | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame([(day(number), *rest) for number, *rest in rows], schema=scores.schema(), orient="row")


GOOD = [(0, "ann", 1, 0.5), (1, "ann", 2, 0.5), (2, "ann", 3, 0.5), (3, "ann", 4, 0.5)]


def materialise(
    scores: type[Table], frame: pl.DataFrame, home: Home, instance: dg.DagsterInstance, first: int = 0, last: int = 3
) -> dg.ExecuteInProcessResult:
    """One range run of an asset that returns the frame."""

    return run(scores, frame, home, instance, days_tags(first, last), dg.AssetSelection.assets(asset_key(scores)))


def days_tags(first: int, last: int) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": str(day(first)),
        "dagster/asset_partition_range_end": str(day(last)),
    }


def run(
    scores: type[Table],
    frame: pl.DataFrame,
    home: Home,
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    selection: dg.AssetSelection,
) -> dg.ExecuteInProcessResult:
    """A run of the asset, its checks, or both, of a code location that has nothing else."""

    def of_days(days: list[dt.date]) -> pl.DataFrame:
        return frame.filter(pl.col("score_date").is_in(days))

    computed = asset(scores, of_days)
    resources = {"lake": LakeResource(root=home.lake.root), "io_manager": LakeIOManager(root=home.lake.root)}
    defs = dg.Definitions([computed], jobs=[dg.define_asset_job("run", selection)], resources=resources)
    job = defs.resolve_job_def("run")
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


BROKEN: dict[str, tuple[list[tuple[int, str | None, int | None, float | None]], str, str]] = {
    "value out of bounds": ([(1, "bob", -1, 0.5)], "score_at_least_0", "bounds"),
    "null where none may be": ([(1, "bob", None, 0.5)], "score_not_null", "schema"),
    "empty text": ([(1, "", 5, 0.5)], "player_id_not_empty", "schema"),
    "key twice": ([(1, "bob", 5, 0.5), (1, "bob", 6, 0.5)], "primary_key_unique", "schema"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_day_that_breaks_an_error_rule_is_not_published_and_the_others_are(
    home: Home, scores: type[Table], kind: str
) -> None:
    bad, rule, check = BROKEN[kind]
    instance = dg.DagsterInstance.ephemeral()
    first_run = [row for row in GOOD if row[0] == 1]
    assert materialise(scores, score_rows(scores, first_run), home, instance, 1, 1).success
    result = materialise(scores, score_rows(scores, [*GOOD, *bad]), home, instance)
    assert not result.success
    assert home.rows(scores).sort("score_date").equals(score_rows(scores, GOOD)), "day 1 keeps what it had"
    metadata_of = materialisations(instance, asset_key(scores))
    assert {part: metadata["dagster/partition_row_count"] for part, metadata in metadata_of.items()} == {
        str(day(n)): 1 for n in range(4)
    }
    newest = {part: int(metadata["delta/version"]) for part, metadata in metadata_of.items()}
    assert newest[str(day(1))] < newest[str(day(0))] == newest[str(day(2))] == newest[str(day(3))]
    found = verdicts(instance, scores, check)
    assert {part: one.passed for part, one in found.items() if part} == {
        str(day(0)): True, str(day(1)): False, str(day(2)): True, str(day(3)): True,
    }  # fmt: skip
    metadata: Any = found[str(day(1))].metadata
    assert [one.data["rule"] for one in metadata["failed_rules"].records] == [rule]
    keys = [one.data for one in metadata["failing_rows"].records]
    assert {(key["score_date"], key["player_id"]) for key in keys} == {(str(day(1)), bad[0][1])}, "keys as a table"
    others = {group.name for group in check_groups(scores)} - {check}
    assert all(verdicts(instance, scores, name)[str(day(1))].passed for name in others), "no other check is to blame"
    message = " ".join(str(e.step_failure_data.error) for e in result.all_events if e.is_step_failure)
    assert rule in message
    assert str(day(1)) in message

    repaired = materialise(scores, score_rows(scores, GOOD), home, instance)
    assert repaired.success
    assert all(one.passed for one in verdicts(instance, scores, "schema").values())


def test_a_warning_is_published_and_reported_per_day(home: Home, scores: type[Table]) -> None:
    instance = dg.DagsterInstance.ephemeral()
    rows = [*GOOD, (2, "bob", 1, 7.0), (2, "cid", 1, None)]
    assert materialise(scores, score_rows(scores, rows), home, instance).success
    assert len(home.rows(scores)) == len(rows)
    found = {part: one for part, one in verdicts(instance, scores, "bounds_warning").items() if part}
    assert {part: one.passed for part, one in found.items()} == {str(day(n)): n != 2 for n in range(4)}
    assert {one.severity for one in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert found[str(day(2))].metadata["failed_rows"].value == 1
    assert all(one.passed for one in verdicts(instance, scores, "schema").values())


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("days", ["named", "all that are there"])
def test_checks_are_asked_again_of_the_data_as_it_stands(
    home: Home, scores: type[Table], alone: bool, days: str
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert materialise(scores, score_rows(scores, GOOD), home, instance).success
    by_hand = score_rows(scores, [(1, "ann", -7, 0.5)])
    home.lake.replace(scores, by_hand, [day(1)])
    version = home.lake.version(scores)
    bounds = dg.AssetCheckKey(asset_key(scores), "bounds")
    selection = dg.AssetSelection.checks(bounds) if alone else dg.AssetSelection.checks_for_assets(asset_key(scores))
    tags = days_tags(0, 3) if days == "named" else {}
    result = run(scores, score_rows(scores, GOOD), home, instance, tags, selection)
    assert not result.success, "as Dagster has it for a blocking check"
    found = verdicts(instance, scores, "bounds")
    assert {part: one.passed for part, one in found.items() if part} == {str(day(n)): n != 1 for n in range(4)}
    asked = {one.check_name for one in result.get_asset_check_evaluations()}
    assert asked == ({"bounds"} if alone else {group.name for group in check_groups(scores)})
    assert home.lake.version(scores) == version, "nothing is computed or written"
    assert not result.get_asset_materialization_events()
    repaired = [("score_at_least_0", "failed"), ("score_at_least_0", "passed")]
    of_day = home.rows(CheckResults).filter(asset=scores.key, asset_partition=str(day(1)), check_name=repaired[0][0])
    assert set(of_day.select("check_name", "status").rows()) == set(repaired), "kept in the ledger too"


def test_a_run_of_one_day_has_its_verdict_too(home: Home, scores: type[Table]) -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert materialise(scores, score_rows(scores, GOOD), home, instance, 2, 2).success
    assert len(home.rows(scores)) == 1
    assert verdicts(instance, scores, "schema")[str(day(2))].passed


def test_an_empty_day_is_published_as_empty(home: Home, scores: type[Table]) -> None:
    instance = dg.DagsterInstance.ephemeral()
    materialise(scores, score_rows(scores, GOOD), home, instance)
    assert materialise(scores, score_rows(scores, GOOD[:1]), home, instance).success
    assert home.rows(scores)["score_date"].to_list() == [day(0)]
    metadata_of = materialisations(instance, asset_key(scores))
    assert {part: m["dagster/partition_row_count"] for part, m in metadata_of.items()} == {
        str(day(0)): 1, str(day(1)): 0, str(day(2)): 0, str(day(3)): 0,
    }  # fmt: skip


def test_a_frame_of_other_types_fails_the_step_and_writes_nothing(home: Home, scores: type[Table]) -> None:
    """delta-rs would cast 1.7 to 1 in silence."""
    instance = dg.DagsterInstance.ephemeral()
    wrong = score_rows(scores, GOOD).with_columns(score=pl.col("score") + 0.7)
    result = materialise(scores, wrong, home, instance)
    assert not result.success
    assert "score is Float64, declared Int64" in str(
        [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    )
    assert not home.lake.exists(scores) or home.rows(scores).is_empty()


def test_pandera_checks_values_of_eager_frames(scores: type[Table]) -> None:
    frame = score_rows(scores, [*GOOD, (0, "bob", -5, 0.5), (2, "bob", 5, 9.0)])
    found = judge(scores, frame, [str(day(n)) for n in range(4)])
    assert {(v.rule, v.severity, v.partition, v.failed_rows, v.rows) for v in found.failures} == {
        ("score_at_least_0", Severity.ERROR, str(day(0)), 1, 2),
        ("mood_at_most_1.0", Severity.WARNING, str(day(2)), 1, 2),
    }
    assert found.failures[0].sample == ({"score_date": day(0), "player_id": "bob"},)
    assert found.blocked() == {str(day(0))}


def test_the_lake_is_shared_by_no_test(tmp_path: Path) -> None:
    """The fixture's home is the only one this process writes to."""
    from data_platform.core.settings import settings

    assert not (settings().home / "lake").exists()
    assert shutil.disk_usage(tmp_path).free > 0
    assert Lake(str(tmp_path)).local
