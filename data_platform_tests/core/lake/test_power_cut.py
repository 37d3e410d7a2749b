"""What was said to be done is on the disk, in the order in which one thing rests on another; what a power cut leaves of
a commit that was under way is put aside by whoever opens the table.
Not here: killed processes (test_kill), files damaged later (test_damage)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.errors import PlatformError
from data_platform.core.lake import log as lake_log
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import CHECKPOINT_INTERVAL, Lake
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.domains.gameplay.contracts.registry import PlayerChanges
from data_platform_tests.core.lake.test_lake import day, rows, tags
from data_platform_tests.support.homes import FIRST_DAY, Home, event


@contextmanager
def on_the_disk(root: Path) -> Iterator[list[str]]:
    """What is synced or moved within the block, in order, by paths within the root."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        folder = "/" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else ""
        fsync(descriptor)
        if path.is_relative_to(root):
            done.append(f"{path.relative_to(root)}{folder}")

    def moved(self: Path, target: Path) -> Path:
        done.append(f"moved {Path(target).relative_to(root)}")
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "rename", moved)
        yield done


def place(done: list[str], pattern: str) -> int:
    """Where the last of them is that matches."""
    found = [number for number, one in enumerate(done) if re.fullmatch(pattern, one)]
    assert found, f"{pattern} is not among {done}"
    return found[-1]


def tear(lake: Lake, version: int, content: bytes = b"") -> Path:
    entry = Path(lake.uri(PlayerChanges)) / "_delta_log" / f"{version:020}.json"
    entry.write_bytes(content)
    return entry


def three_commits(lake: Lake) -> None:
    """Versions 1 to 3 of PlayerChanges; 0 creates it."""
    for number in range(3):
        lake.replace(PlayerChanges, rows([number], f"v{number + 1}"), [day(number)])


def test_a_batch_reaches_the_disk_before_its_files_are_put_away(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    with on_the_disk(home.path) as done:
        home.ingest()
    raw, ledger = f"lake/{RawPlayerEvents.key}", f"lake/{IngestionLedger.key}"
    order = [
        ["landing/player_events/a.ndjson"],
        ["moved landing/player_events/_plans/0*1.json"],
        [f"{raw}/event_date=2024-01-03/.*parquet", f"{raw}/event_date=2024-01-03/", f"{raw}/"],
        [f"{raw}/_delta_log/0*1.json", f"{raw}/_delta_log/"],
        [f"{ledger}/received_date=.*/.*parquet", f"{ledger}/received_date=[^/]*/"],
        [f"{ledger}/_delta_log/0*1.json", f"{ledger}/_delta_log/"],
        ["moved landing/player_events/_ingested/.*a.ndjson"],
        ["landing/player_events/_ingested/", "landing/player_events/"],
    ]
    # What is on one line is waited for together, in any order.
    places = [sorted(place(done, pattern) for pattern in together) for together in order]
    flat = [one for together in places for one in together]
    assert flat == sorted(flat), done


def test_dagsters_history_of_a_batch_is_on_the_disk_before_its_plan_goes(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    with on_the_disk(home.path) as done:
        home.build_on_disk()
    recorded = place(done, "dagster/storage/.*index.db-wal")
    assert place(done, f"lake/{IngestionLedger.key}/_delta_log/0*1.json") < recorded < place(done, "moved landing/.*")


def test_a_new_table_is_on_the_disk_with_the_folders_that_hold_it(home: Home) -> None:
    with on_the_disk(home.path.parent) as done:
        home.lake.ensure(PlayerChanges)
    for folder in ("home", "home/lake", "home/lake/clean", f"home/lake/{PlayerChanges.key}"):
        assert f"{folder}/" in done
    assert f"home/lake/{PlayerChanges.key}/_delta_log/{0:020}.json" in done


def test_a_commit_makes_sure_of_the_one_it_is_built_on(home: Home) -> None:
    """Another process may have made that one and not have come to syncing it: only the last may ever be torn."""
    three_commits(home.lake)
    lake_log._synced.clear()  # as in a process that did not
    with on_the_disk(home.path) as done:
        home.lake.replace(PlayerChanges, rows([4]), [day(4)])
    first = done.index(f"lake/{PlayerChanges.key}/_delta_log/{3:020}.json")
    assert first < done.index(f"lake/{PlayerChanges.key}/_delta_log/{4:020}.json")


def test_a_checkpoint_and_a_merge_are_on_the_disk_too(home: Home) -> None:
    with on_the_disk(home.path) as done:
        for number in range(CHECKPOINT_INTERVAL):
            home.lake.append(PlayerChanges, rows([0], str(number)))
        log = f"lake/{PlayerChanges.key}/_delta_log"
        entry, checkpoint = place(done, f"{log}/0*20.json"), place(done, f"{log}/0*20.checkpoint.parquet")
        assert entry < checkpoint
        assert f"{log}/_last_checkpoint" in done
        done.clear()
        assert compact(home.lake, PlayerChanges) == CHECKPOINT_INTERVAL
        assert place(done, f"lake/{PlayerChanges.key}/change_date=.*parquet") < place(done, f"{log}/0*21.json")


def test_a_training_set_or_another_file_of_the_lake_is_on_the_disk(home: Home) -> None:
    with on_the_disk(home.path) as done:
        home.lake.files("training_sets/a").write("b/manifest.json", b"{}")
    assert {"./", "lake/", "lake/training_sets/", "lake/training_sets/a/", "lake/training_sets/a/b/"} <= {*done}
    assert home.lake.files("training_sets/a").read("b/manifest.json") == b"{}"


TORN = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: bytes(len(whole)),
    "cut at the end of a line": lambda whole: whole[: whole.index(b"\n") + 1],
    "its end zeros": lambda whole: whole[:-80] + bytes(80),
}


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_commit_did_not_happen_and_the_next_one_takes_its_place(home: Home, torn: str) -> None:
    lake = home.lake
    three_commits(lake)
    entry = Path(lake.uri(PlayerChanges)) / "_delta_log" / f"{3:020}.json"
    entry.write_bytes(TORN[torn](entry.read_bytes()))
    assert lake.version(PlayerChanges) == 2
    assert tags(lake) == {day(0): {"v1"}, day(1): {"v2"}}
    assert lake.replace(PlayerChanges, rows([2], "again"), [day(2)]).version == 3
    assert tags(lake) == {day(0): {"v1"}, day(1): {"v2"}, day(2): {"again"}}
    assert DeltaTable(lake.uri(PlayerChanges)).version() == 3, "others read it as well"


def test_the_creation_of_a_table_that_was_torn_did_not_happen(home: Home) -> None:
    home.lake.ensure(PlayerChanges)
    tear(home.lake, 0)
    assert not home.lake.exists(PlayerChanges)
    with pytest.raises(TableNotFoundError):
        home.lake.open(PlayerChanges)
    assert home.lake.replace(PlayerChanges, rows([0]), [day(0)]).version == 1


def test_a_torn_checkpoint_is_put_aside(home: Home) -> None:
    lake = home.lake
    for number in range(CHECKPOINT_INTERVAL):
        lake.replace(PlayerChanges, rows([0], str(number)), [day(0)])
    (checkpoint,) = (Path(lake.uri(PlayerChanges)) / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(b"")
    assert tags(lake) == {FIRST_DAY: {str(CHECKPOINT_INTERVAL - 1)}}
    lake.replace(PlayerChanges, rows([0], "next"), [day(0)])
    assert tags(lake) == {FIRST_DAY: {"next"}}


def test_who_may_not_write_reads_what_there_is_without_the_torn_commit(home: Home) -> None:
    lake = home.lake
    three_commits(lake)
    entry = tear(lake, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_platform.core.lake.log.undo_torn", refuse)
        assert lake.version(PlayerChanges) == 2
    assert entry.exists()


def refuse(_folder: Path) -> bool:
    raise PermissionError(30, "Read-only file system")


def test_a_log_damaged_in_its_middle_is_reported_in_a_sentence(home: Home) -> None:
    three_commits(home.lake)
    tear(home.lake, 2, b'{"add": ')
    with pytest.raises(PlatformError, match=f"^The log of {PlayerChanges.key} cannot be read: [^\n]*Restore [^\n]*$"):
        home.lake.open(PlayerChanges)
