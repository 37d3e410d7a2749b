"""The tables as Dagster builds them: incremental equals rebuild, a late event touches exactly the days that depend on
it, bad days are not published, a day knows nothing of what came after. Not here: what a transform computes."""

import datetime as dt
import gzip
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.contract.table import Severity, contract
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.quality.check_groups import check_groups
from data_platform.simulation import simulate
from data_platform_tests.support.dependent_days import DEPENDENT
from data_platform_tests.support.homes import (
    FIRST_DAY,
    Home,
    Row,
    all_tables,
    assert_not_empty,
    assert_same_tables,
    event,
    every_verdict,
    materialisations,
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
    """Every line of a dirty simulation by folder, and the tables of one full rebuild, in a home."""

    home: Home
    lines: Mapping[str, list[bytes]]
    tables: Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    home = Home(tmp_path_factory.mktemp("rebuilt")).with_log()
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
    return Rebuilt(home, lines, home.computed())


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


def test_incremental_equals_rebuild(home: Home, rebuilt: Rebuilt) -> None:
    build_in_batches(home.with_log(), rebuilt.lines, seed=8)  # two batches; soak has up to four
    assert_same_tables(home.computed(), rebuilt.tables)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 40))
def test_incremental_equals_rebuild_in_30_random_orders(home: Home, rebuilt: Rebuilt, seed: int) -> None:
    build_in_batches(home.with_log(), rebuilt.lines, seed)
    assert_same_tables(home.computed(), rebuilt.tables)


def test_repeated_events_change_counts_of_duplicates_alone(rebuilt: Rebuilt) -> None:
    """Everything once, then all events again in another order: raw doubles, no computed value changes."""
    home = rebuilt.home
    with home.used():
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
    deliver(home.with_log(), kept, "until")
    home.build([key for key in rebuilt.tables if key.startswith("features/")])
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


NEWEST = 41
LATE = 5
LATE_EVENT_TOUCHES = {"raw/player_events": (0, 0)} | {
    table: window
    for table, window in DEPENDENT["raw/player_events"].items()
    if window and not table.startswith("commerce/")
}
"""First and last dependent day, relative to the event's, in a game without a shop."""


@pytest.fixture(scope="module")
def long_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("long")).with_log()
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
    judgements = every_verdict(long_home.instance)
    for table in all_tables():
        if table.table_group() == "raw" or table.partition is None:
            continue
        days = set(materialisations(long_home.instance, asset_key(table)))
        for group in check_groups(table):
            found = judgements.get((table.key, group.name), {})
            assert days <= found.keys(), (table.key, group.name)
            assert all(found[one].passed for one in days if group.severity == Severity.ERROR)
            for one in days:
                judged = found[one].target_materialization_data
                assert judged is not None, f"{table.key} {one}: the UI would show it as skipped"


def test_the_lake_is_shared_by_no_test(tmp_path: Path) -> None:
    """The fixture's home is the only one this process writes to."""
    from data_platform.core.settings import settings

    assert not (settings().home / "lake").exists()
    assert shutil.disk_usage(tmp_path).free > 0
    assert Lake(str(tmp_path)).local
