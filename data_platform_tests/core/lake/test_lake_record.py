"""A lake that went away, back, or was exchanged is refused before anything is written, and taken when a person says so;
silent damage inside files is found by their checksums. Not here: files that cannot be read (test_damage)."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_platform.core.discovery import landing_sources
from data_platform.core.errors import PlatformError
from data_platform.core.lake.record import LakeChanged
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.settings import settings
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents, RawPlayerEvents
from data_platform.domains.gameplay.contracts.registry import PlayerChanges
from data_platform.operations.restoring import accept
from data_platform.operations.scrubbing import scrub
from data_platform_tests.core.lake.test_lake import day, rows, tags
from data_platform_tests.support.homes import Home, event, line

TABLE = PlayerDailyActivity.key


def two_builds(home: Home) -> Path:
    """A home built twice, and a copy of its lake as it was after the first."""
    home.drop("a.ndjson", [event(event_id="1")])
    home.build([TABLE])
    copy = home.path / "backup"
    shutil.copytree(home.lake.root, copy)
    home.drop("b.ndjson", [event(event_id="2", timestamp="2024-01-04T10:00:00Z"), event(event_id="3")])
    home.build([TABLE])
    return copy


def moved_away(home: Home, _copy: Path) -> None:
    Path(home.lake.root).rename(home.path / "elsewhere")


def restored(home: Home, copy: Path) -> None:
    moved_away(home, copy)
    copy.rename(home.lake.root)


def last_commit_lost(home: Home, _copy: Path) -> None:
    last = max(Path(home.lake.uri(PlayerEvents)).glob("_delta_log/*.json"))
    last.write_bytes(b"")


def another_lake(home: Home, copy: Path) -> None:
    moved_away(home, copy)
    for number in range(9):
        home.lake.replace(PlayerEvents, PlayerEvents.empty(), [day(number)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (moved_away, "has no marker: it is not the lake this home has written"),
        (another_lake, "has no marker"),
        (restored, f"{PlayerEvents.key} in the lake .* has gone back to version 1 from 2"),
        (last_commit_lost, f"{PlayerEvents.key} in the lake .* has gone back to version 1 from 2"),
    ],
)
def test_a_lake_that_is_not_what_it_was_is_refused_before_anything_is_written(
    home: Home, change: Callable[[Home, Path], None], message: str
) -> None:
    change(home, two_builds(home))
    home.drop("c.ndjson", [event(event_id="4")])
    with pytest.raises(LakeChanged, match=message):
        home.build([TABLE])
    assert (home.landing / "player_events" / "c.ndjson").exists()
    if change is moved_away:
        assert not Path(home.lake.root).exists(), "nothing was made in its place"


def test_steps_and_readers_refuse_it_too(home: Home) -> None:
    """A daemon, a server or the online store would otherwise take an empty lake for the truth."""
    moved_away(home, two_builds(home))
    for use in (configured_lake().snapshot, configured_lake().exists, configured_lake().ensure):
        with pytest.raises(LakeChanged, match=f"{PlayerEvents.key} is not in the lake"):
            use(PlayerEvents)
    with pytest.raises(LakeChanged, match="has no marker"):
        configured_lake().ensure(PlayerChanges)


def test_a_restored_lake_is_accepted_and_everything_follows_from_it(home: Home) -> None:
    copy = two_builds(home)
    before = home.rows(PlayerDailyActivity).sort(PlayerDailyActivity.primary_key)
    restored(home, copy)
    done = accept(configured_lake(), home.instance, landing_sources(), settings().landing)
    assert done.put_back == 1
    assert f"{PlayerEvents.key} in the lake" in " ".join(done.changed)
    home.build([TABLE])
    assert len(home.raw()) == 3
    assert home.rows(PlayerDailyActivity).sort(PlayerDailyActivity.primary_key).equals(before)


def test_what_was_appended_since_the_backup_goes_back_to_landing(home: Home) -> None:
    """The file itself is in the restored lake, and so are parts that came before it was copied."""
    home.drop("a.ndjson", [event(event_id="0")])
    home.build(["raw"])
    (kept,) = (home.landing / "player_events" / "_ingested").glob("*a.ndjson")
    for number in (1, 2, 3):
        with kept.open("ab") as file:
            file.write(f"{line(event_id=str(number))}\n".encode())
        os.utime(kept, (time.time() - 60, time.time() - 60 + number))
        home.ingest()
        if number == 1:
            copy = home.path / "backup"
            shutil.copytree(home.lake.root, copy)
    assert len(home.raw()) == 4
    restored(home, copy)
    assert accept(configured_lake(), home.instance, landing_sources(), settings().landing).put_back == 1
    for _ in range(2):
        home.ingest()
    assert sorted(home.raw()["event_id"]) == ["0", "1", "2", "3"], "each once"


def test_computed_tables_alone_that_went_back_are_computed_again(home: Home) -> None:
    two_builds(home)
    before = home.rows(PlayerDailyActivity).sort(PlayerDailyActivity.primary_key)
    last_commit_lost(home, home.path)
    assert accept(configured_lake(), home.instance, landing_sources(), settings().landing).put_back == 0
    home.build([TABLE])
    assert home.rows(PlayerDailyActivity).sort(PlayerDailyActivity.primary_key).equals(before)


def test_a_copy_of_half_a_batch_is_not_accepted(home: Home) -> None:
    copy = two_builds(home)
    shutil.rmtree(home.lake.uri(RawPlayerEvents))
    shutil.copytree(copy / RawPlayerEvents.key, home.lake.uri(RawPlayerEvents))
    with pytest.raises(PlatformError, match="holds half a batch of player_events: raw/player_events at batch 1"):
        accept(configured_lake(), home.instance, landing_sources(), settings().landing)
    with pytest.raises(LakeChanged):
        home.build([TABLE])


def test_a_lake_of_before_there_were_records_is_taken_as_it_is(home: Home) -> None:
    home.lake.replace(PlayerChanges, rows([0], "old"), [day(0)])
    lake = configured_lake()
    lake.replace(PlayerChanges, rows([1], "new"), [day(1)])
    assert tags(lake) == {day(0): {"old"}, day(1): {"new"}}


def test_a_record_torn_by_a_power_cut_says_nothing(home: Home) -> None:
    lake = configured_lake()
    lake.replace(PlayerChanges, rows([0], "a"), [day(0)])
    for file in settings().lake_record.iterdir():
        file.write_bytes(b"")
    lake.replace(PlayerChanges, rows([1], "b"), [day(1)])
    assert len(tags(lake)) == 2


def test_a_flipped_bit_is_found_by_its_checksum(home: Home) -> None:
    lake = home.lake
    lake.replace(PlayerChanges, rows([0, 1], "a"), [day(0), day(1)])
    assert [(one.files, one.damaged) for one in scrub(lake, [PlayerChanges])] == [(2, ())]
    path = lake.snapshot(PlayerChanges).paths(day(1), day(1))[0]
    file = Path(lake.uri(PlayerChanges)) / path
    content = bytearray(file.read_bytes())
    for place in range(4, len(content), 40):  # some of them would be read as other values, without a word
        content[place] ^= 4
        file.write_bytes(content)
        (found,) = scrub(lake, [PlayerChanges])
        assert found.damaged == (path,)
        content[place] ^= 4
    file.unlink()
    assert scrub(lake, [PlayerChanges])[0].damaged == (path,)


def test_files_without_a_checksum_are_decoded(home: Home) -> None:
    lake: Lake = home.lake
    (staged,) = lake.stage(PlayerChanges, rows([0], "a"))
    old = re.sub(r"\.[0-9a-f]{8}\.zstd", ".zstd", staged.path)
    folder = Path(lake.uri(PlayerChanges))
    (folder / staged.path).rename(folder / old)
    lake.commit(PlayerChanges, [type(staged)(old, staged.partition, staged.rows, staged.bytes)])
    assert [(one.unsummed, one.damaged) for one in scrub(lake, [PlayerChanges])] == [(1, ())]
    (folder / old).write_bytes((folder / old).read_bytes()[:50])
    assert scrub(lake, [PlayerChanges])[0].damaged == (old,)


@pytest.mark.parametrize("name", ["a[1]", "50%", "what?", "no#1", "g*"])
def test_a_home_whose_path_would_be_read_as_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    with Home(tmp_path / name).used(), pytest.raises(PlatformError, match=r"DATA_PLATFORM_HOME is wrong: .* holds"):
        settings()


def test_a_home_may_have_spaces(tmp_path: Path) -> None:
    with Home(tmp_path / "my home").used() as home:
        home.drop("a.ndjson", [event()])
        home.build_on_disk()
        assert len(home.raw()) == 1
