"""kill -9 at any moment loses nothing, doubles nothing, tears nothing: the next run completes, and every table equals
that of an undisturbed home, value for value. Not here: concurrent processes (test_concurrency)."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.table import contract
from data_platform.core.instance.dagster_home import open_instance
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.simulation.truth import Truth
from data_platform.simulation import simulate
from data_platform.sources.landing_files import pending_files
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.homes import (
    FIRST_DAY,
    Home,
    all_tables,
    assert_not_empty,
    assert_same_tables,
    event,
    kill,
    leave_game_and_shop,
)

HELPER = str(SUPPORT.joinpath("kill_helper.py"))

# What happens to one batch of one source: its plan, the commits of raw, rejected and ledger, the report to Dagster, and
# the files put away. In this chain each run dies one step further than the one before it came.
CHAIN = (
    "plan:after:1",
    "commit:before:1",  # nothing committed, files staged
    "commit:after:1",  # raw
    "commit:after:1",  # rejected
    "commit:after:1",  # ledger
    "report:before:1",
    "report:after:1",
    "rename:after:1",  # one of two files put away
    "unlink:before:1",
)  # fmt: skip


@dataclass(frozen=True)
class Undisturbed:
    """A finished home, the landing files it was made from, and how long that took once everything was imported."""

    landing: Path
    truth: Truth
    computed: Mapping[str, pl.DataFrame]
    received: Mapping[str, pl.DataFrame]
    ingestion_seconds: float
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Every landing folder holds two files, so that putting files away can stop half-way."""
    landing = tmp_path_factory.mktemp("prepared") / "landing"
    truth = Truth.read(simulate(60, 2, 5, FIRST_DAY + dt.timedelta(58), landing, dirty=True))
    leave_game_and_shop(landing)
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    shutil.copytree(landing, home.landing)
    ingestion_seconds = run_to_the_end(home, "raw")
    seconds = run_to_the_end(home)
    assert_not_empty(home.computed() | home.received())
    return Undisturbed(landing, truth, home.computed(), home.received(), ingestion_seconds, seconds + ingestion_seconds)


def run_to_the_end(home: Home, *selection: str) -> float:
    """Run the helper undisturbed; seconds after its imports."""
    process = home.start(HELPER, *selection)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began = time.perf_counter()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return time.perf_counter() - began


def killed_home(tmp_path: Path, undisturbed: Undisturbed) -> Home:
    home = Home(tmp_path / "home")
    shutil.copytree(undisturbed.landing, home.landing)
    return home


def kill_after(home: Home, seconds: float, *selection: str) -> bool:
    """Start a run and SIGKILL it this long after its imports; whether it was still running."""
    process = home.start(HELPER, *selection)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    alive = process.poll() is None
    kill(process)
    return alive


def kill_at(home: Home, point: str, *selection: str) -> None:
    """Run until the named moment, at which the process kills itself."""
    process = home.start(HELPER, *selection, KILL_AT=point)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, f"{point} was never reached: {output}"


def assert_nothing_torn(home: Home, undisturbed: Undisturbed) -> None:
    """What readers see right after a kill: of each partition all rows or none, of each batch all files or none."""
    for key, whole in undisturbed.computed.items():
        table = contract(key)
        seen = home.rows(table).sort(table.primary_key)
        if table.partition is None:
            assert seen.is_empty() or seen.equals(whole), key
        else:
            days = seen[table.partition].unique()
            assert seen.equals(whole.filter(pl.col(table.partition).is_in(days.implode()))), key
    for key, seen in home.received().items():
        if not seen.is_empty() and key != "raw/ingestion_ledger":
            assert seen.equals(undisturbed.received[key], null_equal=True), f"{key}: a batch in part"


def assert_as_if_undisturbed(home: Home, undisturbed: Undisturbed) -> None:
    assert_same_tables(home.received(), undisturbed.received)
    assert_same_tables(home.computed(), undisturbed.computed)
    ledger = home.ledger()
    assert ledger.select(pl.struct("source", "file_digest").is_unique().all()).item()
    assert (ledger["received_lines"] == ledger["stored_lines"] + ledger["rejected_lines"]).all()
    assert ledger.filter(source="player_events")["received_lines"].sum() == undisturbed.truth.totals["received"]
    for table in all_tables():
        by_log = home.lake.partitions(table)["rows"].sum()
        assert by_log == len(home.rows(table)), f"{table.key}: the log counts other rows than there are"
    waiting = [p for p in home.landing.rglob("*.ndjson*") if "_ingested" not in p.parts]
    assert waiting == []
    kept = sorted(p.read_bytes() for p in home.landing.rglob("_ingested/*"))
    assert kept == sorted(p.read_bytes() for p in undisturbed.landing.rglob("*.ndjson.gz")), "every file is kept once"
    assert not list(home.landing.rglob("_plans/*.json"))


def test_killed_at_every_step_of_a_batch(tmp_path: Path, undisturbed: Undisturbed) -> None:
    """One batch, killed nine times, each time a step further."""
    home = killed_home(tmp_path, undisturbed)
    for folder in ("campaign_participants", "campaigns", "players"):
        shutil.move(home.landing / folder, tmp_path / folder)
    for point in CHAIN:
        kill_at(home, point, "raw")
        assert_nothing_torn(home, undisturbed)
    for folder in ("campaign_participants", "campaigns", "players"):
        shutil.move(tmp_path / folder, home.landing / folder)
    home.build_on_disk()
    assert_as_if_undisturbed(home, undisturbed)


def test_ingestion_killed_at_random_moments(tmp_path: Path, undisturbed: Undisturbed) -> None:
    home = killed_home(tmp_path, undisturbed)
    rng = random.Random(11)
    for part in (0.3, 0.7):
        kill_after(home, undisturbed.ingestion_seconds * (part + rng.uniform(-0.25, 0.25)), "raw")
        assert_nothing_torn(home, undisturbed)
    home.build_on_disk()
    assert_as_if_undisturbed(home, undisturbed)


def test_build_killed_at_random_moments(tmp_path: Path, undisturbed: Undisturbed) -> None:
    home = killed_home(tmp_path, undisturbed)
    rng = random.Random(12)
    for part in (0.5, 0.7):
        kill_after(home, undisturbed.seconds * (part + rng.uniform(-0.2, 0.2)))
        assert_nothing_torn(home, undisturbed)
    home.build_on_disk()
    assert_as_if_undisturbed(home, undisturbed)


def test_build_killed_between_a_commit_and_its_record(tmp_path: Path, undisturbed: Undisturbed) -> None:
    """The lake has the partition, Dagster does not know of it: computing it again must give the same."""
    home = killed_home(tmp_path, undisturbed)
    for point in ("commit:after:14", "event:before:60"):
        kill_at(home, point)
        assert_nothing_torn(home, undisturbed)
    home.build_on_disk()
    assert_as_if_undisturbed(home, undisturbed)


@pytest.mark.parametrize(("kills", "built"), [(3, ["clean"]), pytest.param(20, [], marks=pytest.mark.soak)])
def test_after_kills_while_files_keep_arriving_one_build_has_taken_in_what_was_sent(
    tmp_path: Path, kills: int, built: list[str]
) -> None:
    """Ten killed ingestions blocked the queue for ever: their runs stayed "started"."""
    home = Home(tmp_path / "home")
    rng = random.Random(kills)
    sent: list[str] = []

    def send(number: int) -> None:
        days = [FIRST_DAY + dt.timedelta(rng.randrange(5)) for _ in range(100)]
        made = [event(event_id=f"{number}-{n}", timestamp=f"{day}T10:00:00Z") for n, day in enumerate(days)]
        sent.extend(one["event_id"] for one in made)
        home.drop(f"{number}.ndjson", made)

    send(0)
    seconds = run_to_the_end(home, *built)
    cut_short = 0
    for number in range(1, kills + 1):
        send(number)
        if kill_after(home, seconds * rng.uniform(0.05, 0.8), *(["raw"] if number % 3 == 0 else built)):
            cut_short += 1
        else:  # it had ended: the first run was slower than what comes after it
            seconds *= 0.6
    took = run_to_the_end(home, *built)
    print(f"\n{cut_short} of {kills} killed at work; the last build took {took:.1f} s")
    assert cut_short, "none was at work any more"
    assert sorted(home.raw()["event_id"]) == sorted(sent), "nothing lost, nothing twice"
    assert sorted(home.rows(PlayerEvents)["event_id"]) == sorted(sent)
    assert home.ledger()["received_lines"].sum() == len(sent)
    assert pending_files(home.landing / "player_events") == []
    assert not list(home.landing.rglob("_plans/*.json"))
    with home.used(), open_instance() as instance:
        by_status = Counter(run.status for run in instance.get_runs())
        assert by_status.keys() <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}, "the queue is free"
    print(dict(by_status))


# ----------------------------------------------------------------------------------- soak
@pytest.mark.soak
@pytest.mark.parametrize("number", range(50))
def test_killed_at_50_random_moments(tmp_path: Path, undisturbed: Undisturbed, number: int) -> None:
    """Each in a home of its own; half of them are killed once more while they recover."""
    home = killed_home(tmp_path, undisturbed)
    rng = random.Random(number)
    kill_after(home, undisturbed.seconds * (number + rng.random()) / 50)
    assert_nothing_torn(home, undisturbed)
    if number % 2:
        kill_after(home, undisturbed.seconds * rng.random())
        assert_nothing_torn(home, undisturbed)
    home.build_on_disk()
    assert_as_if_undisturbed(home, undisturbed)


@pytest.mark.soak
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "point",
    [*(f"commit:{n}" for n in range(1, 28, 2)), *(f"stage:{n}" for n in (1, 5, 12, 20)),
     *(f"{name}:{n}" for name in ("plan", "report", "finish", "rename", "unlink") for n in (1, 3)),
     *(f"event:{n}" for n in (1, 10, 40, 90, 150))],
)  # fmt: skip
def test_killed_at_each_step(tmp_path: Path, undisturbed: Undisturbed, point: str, when: str) -> None:
    home = killed_home(tmp_path, undisturbed)
    name, number = point.split(":")
    kill_at(home, f"{name}:{when}:{number}")
    assert_nothing_torn(home, undisturbed)
    home.build_on_disk()
    assert_as_if_undisturbed(home, undisturbed)
