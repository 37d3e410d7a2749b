"""What lies in landing and is not taken in: strange things, files that are gone, bombs, blank lines without end. It
stops nothing, is told with its reason, and a check fails. Not here: files that can be taken in (test_landing_files)."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import zstandard

from data_platform.cli import command_line
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.orchestration.checks import asset_key
from data_platform.domains.gameplay.sources import PLAYER_EVENTS, SOURCES
from data_platform.sources import compressed_lines, reading
from data_platform.sources import landing as landing_module
from data_platform.sources.ingestion import waiting_sources
from data_platform.sources.ingestion_checks import EVERY_FILE_READ
from data_platform.sources.landing import Landing
from data_platform.sources.landing_files import pending_files
from data_platform.sources.planned_files import PlannedFiles
from data_platform.sources.unread import refused_files, unread_files
from data_platform_tests.sources.test_landing_files import FOLDER, balanced, event_ids, numbered
from data_platform_tests.support.homes import Home

NOBODY = 65534


# --------------------------------------------------------------------------------- what is no file, or is gone
def strange(folder: Path, secret: Path) -> Iterator[Path]:
    yield folder / "link.ndjson"
    (folder / "link.ndjson").symlink_to(secret)
    yield folder / "dangling.ndjson"
    (folder / "dangling.ndjson").symlink_to(folder / "nowhere")
    yield folder / "pipe.ndjson"
    os.mkfifo(folder / "pipe.ndjson")
    yield folder / "socket.ndjson"
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder)
        try:
            made.bind("socket.ndjson")
        finally:
            os.chdir(here)


def test_what_is_no_regular_file_is_reported_and_never_read(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password\n")
    home.drop("a.ndjson", numbered(1))
    (home.landing / FOLDER / "folder.ndjson").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.ndjson").write_text("password\n")
    (home.landing / FOLDER / "linked").symlink_to(tmp_path / "elsewhere")
    made = list(strange(home.landing / FOLDER, secret))
    home.ingest()
    assert event_ids(home) == ["e-1"]
    assert home.rejected().is_empty()
    reasons = {one.path: one.reason for one in unread_files(home.landing, SOURCES)}
    assert reasons.keys() == {*made, home.landing / FOLDER / "linked", home.landing / FOLDER / "folder.ndjson"}
    assert reasons[home.landing / FOLDER / "folder.ndjson"] == "it is a folder, and empty"
    assert reasons[made[0]] == "it is a symbolic link"
    assert waiting_sources(SOURCES, home.landing) == []


def test_a_file_swapped_for_a_link_after_it_was_planned_is_not_read(
    home: Home, landing: Landing, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("password\n")
    path = home.drop("a.ndjson", numbered(1))
    home.drop("b.ndjson", numbered(2))
    with landing.locked():
        for plan in landing.batches():
            path.unlink()
            path.symlink_to(tmp_path / "secret")
            landing.commit(plan)
            landing.finish(plan)
    assert event_ids(home) == ["e-2"]
    assert home.rejected().is_empty()


@pytest.mark.parametrize("become", ["gone", "a folder", "a pipe", "shorter"])
def test_a_planned_file_that_is_gone_is_left_out_and_stops_nothing(home: Home, landing: Landing, become: str) -> None:
    path = home.drop("a.ndjson", numbered(1, 2))
    home.drop("b.ndjson", numbered(3))
    with landing.locked():
        next(landing.batches())  # the process dies here
    if become == "shorter":
        path.write_bytes(numbered(1))
    else:
        path.unlink()
    if become == "a folder":
        path.mkdir()
    if become == "a pipe":
        os.mkfifo(path)
    home.ingest()
    home.ingest()
    assert event_ids(home) == (["e-1", "e-3"] if become == "shorter" else ["e-3"])
    assert balanced(home)
    assert landing.unfinished() is None


def test_when_every_planned_file_is_gone_nothing_is_left_to_do(home: Home, landing: Landing) -> None:
    path = home.drop("a.ndjson", numbered(1))
    with landing.locked():
        next(landing.batches())
    path.unlink()
    (result,) = home.ingest()
    assert (result.received, len(result.left_out)) == (0, 1)
    assert landing.unfinished() is None
    assert home.ingest() == []


@pytest.mark.parametrize("moment", ["it was found unchanged", "it is opened"])
def test_a_file_that_vanishes_just_before_it_is_read_is_left_out_once(
    home: Home, landing: Landing, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = home.drop("a.ndjson", numbered(1))
    home.drop("b.ndjson", numbered(2))
    owner, name = {
        "it was found unchanged": (PlannedFiles, "_is_unchanged"),
        "it is opened": (landing_module, "read_lines"),
    }[moment]
    original = getattr(owner, name)

    def removing(*arguments: object) -> object:
        result = original(*arguments)
        path.unlink(missing_ok=True)
        return result

    monkeypatch.setattr(owner, name, removing)
    (result,) = home.ingest()
    assert [reason.split(":")[0] for reason in result.left_out] == ["player_events/a.ndjson"]
    assert event_ids(home) == ["e-2"]
    assert balanced(home)
    assert home.ingest() == []


def test_a_file_that_vanishes_while_somebody_looks_is_no_fault(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime as dt

    from data_platform.observability.alerts import problems
    from data_platform.sources import landing_files, unread

    quarantine = home.landing / FOLDER / "_quarantine"
    quarantine.mkdir(parents=True)
    (quarantine / "x.ndjson.reason").symlink_to(quarantine / "removed")
    monkeypatch.setattr(landing_files, "pending_files", lambda _folder: [home.landing / FOLDER / "removed.ndjson"])
    assert problems.backlogs([PLAYER_EVENTS], dt.datetime.now(dt.UTC)) == []
    assert unread.refused_files(home.landing, SOURCES) == []


# --------------------------------------------------------------------------------- who is told
def judged(home: Home) -> dg.AssetCheckEvaluation:
    return home.verdicts(IngestionLedger, EVERY_FILE_READ)[None]


def test_what_lies_unread_fails_a_check_though_nothing_else_waits(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:

    strange_file = home.drop("a.csv", b"1,2\n")
    assert home.build(["raw/player_events"]).runs == 1
    assert not judged(home).passed
    assert judged(home).metadata["files"].value == ["player_events/a.csv: it is of another kind"]
    assert home.build(["raw/player_events"]).runs == 0, "once for the same files"
    command_line()(["status", "--all"], standalone_mode=False)
    (ledger,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("raw/ingestion_ledger")]
    assert EVERY_FILE_READ in ledger
    link = home.landing / FOLDER / "link.ndjson"
    link.symlink_to("nowhere")
    os.utime(link, (0, 0), follow_symlinks=False)
    assert home.build(["raw/player_events"]).runs == 1
    assert judged(home).metadata["unread_files"].value == 2
    link.unlink()
    strange_file.unlink()
    assert home.build(["raw/player_events"]).runs == 1
    assert judged(home).passed
    assert home.build(["raw/player_events"]).runs == 0


def test_the_sensor_has_what_lies_unread_judged_once(home: Home) -> None:
    from data_platform.definitions import defs

    def tick() -> dg.SensorResult | dg.SkipReason:
        with dg.build_sensor_context(instance=home.instance, definitions=defs) as context:
            result = defs.get_sensor_def("landing_files")(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        return result

    assert isinstance(tick(), dg.SkipReason)
    being_copied = home.drop("a.ndjson.part", b"")
    os.utime(being_copied)
    assert isinstance(tick(), dg.SkipReason)
    os.utime(being_copied, (0, 0))
    result = tick()
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or ()
    assert request.asset_selection == [asset_key(IngestionLedger)]
    job = defs.resolve_job_def("ingest_landing_files")
    assert job.execute_in_process(instance=home.instance, asset_selection=request.asset_selection).success
    assert not judged(home).passed
    assert isinstance(tick(), dg.SkipReason)


@contextlib.contextmanager
def as_somebody_without_rights() -> Iterator[None]:
    """Root reads everything."""
    before = os.getresuid()
    if before[0] == 0:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(*before)


def test_what_may_not_be_read_is_reported_and_stops_nothing() -> None:
    root = Path(tempfile.mkdtemp(prefix="data-platform-test-"))  # whose parents anybody may pass
    try:
        root.chmod(0o755)
        folder = root / FOLDER
        (folder / "closed").mkdir(parents=True)
        for name in ("a.ndjson", "secret.ndjson", "closed/c.ndjson"):
            (folder / name).write_bytes(numbered(1))
            (folder / name).chmod(0o644)
        (folder / "secret.ndjson").chmod(0)
        (folder / "closed").chmod(0)
        folder.chmod(0o755)
        with as_somebody_without_rights():
            reasons = {one.path.name: one.reason for one in unread_files(root, SOURCES)}
            assert [path.name for path in pending_files(folder)] == ["a.ndjson"]
        assert reasons == dict.fromkeys(("secret.ndjson", "closed"), "it may not be read: Permission denied")
    finally:
        (folder / "closed").chmod(0o755)
        shutil.rmtree(root)


def test_a_source_whose_folder_lies_on_another_disk_is_read(home: Home, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    home.landing.mkdir(parents=True)
    (home.landing / FOLDER).symlink_to(tmp_path / "disk")
    home.drop("a.ndjson", numbered(1))
    strange_file = home.drop("b.csv", b"")
    home.ingest()
    assert event_ids(home) == ["e-1"]
    assert [one.path for one in unread_files(home.landing, SOURCES)] == [strange_file]


# --------------------------------------------------------------------------------- too much of it
@pytest.mark.parametrize("unit", [b"\0", b"\n", b"{}\n"])
@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_bomb_goes_to_quarantine_and_the_others_in(
    home: Home, monkeypatch: pytest.MonkeyPatch, suffix: str, unit: bytes
) -> None:
    monkeypatch.setattr(compressed_lines, "FREELY_UNPACKED", 1 << 20)
    zeros = unit * ((4 << 20) // len(unit))
    bomb = home.drop(f"bomb.ndjson.{suffix}", gzip.compress(zeros) if suffix == "gz" else zstandard.compress(zeros))
    home.drop("a.ndjson", numbered(1))
    home.drop("z.ndjson.gz", gzip.compress(numbered(2)))
    (result,) = home.ingest()
    assert event_ids(home) == ["e-1", "e-2"]
    assert home.rejected().is_empty()
    assert not bomb.exists()
    home.drop("later.ndjson", numbered(3))
    home.build(["raw/player_events"])
    warned = home.verdicts(IngestionLedger, EVERY_FILE_READ)[None]
    assert not warned.passed
    assert "unpacks to more than" in warned.metadata["files"].value[0]  # type: ignore[index]
    assert len(result.left_out) == 1
    (refused,) = refused_files(home.landing, SOURCES)
    assert refused.path.exists()
    assert "unpacks to more than" in refused.reason
    assert refused in unread_files(home.landing, SOURCES)
    assert home.ingest() == []


@pytest.mark.parametrize("blank", [b"\n", b" \t\r\n"])
def test_a_file_of_blank_lines_goes_to_quarantine_and_the_others_in(
    home: Home, monkeypatch: pytest.MonkeyPatch, blank: bytes
) -> None:
    """300 MB of line breaks: 23 minutes and 300 million rejected lines it was; 1 s and a reason it is."""
    monkeypatch.setattr(reading, "FREELY_BLANK", 1000)
    monkeypatch.setattr(compressed_lines, "CHUNK_LINES", 500)
    monkeypatch.setattr(compressed_lines, "READ_BYTES", 1000)
    home.drop("a.ndjson", numbered(1))
    home.drop("blank.ndjson", numbered(2) + blank * 5000)
    home.drop("c.ndjson", numbered(3))
    (result,) = home.ingest()
    assert event_ids(home) == ["e-1", "e-3"]
    assert home.rejected().is_empty()
    (refused,) = refused_files(home.landing, SOURCES)
    assert "that are blank" in refused.reason
    assert refused.path.read_bytes() == numbered(2) + blank * 5000
    assert len(result.left_out) == 1
    assert balanced(home)


def test_blank_lines_among_real_ones_are_rejected_each(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FREELY_BLANK", 10)
    home.drop("spaced.ndjson", b"".join(numbered(n) + b"\n" * 9 for n in range(50)))
    home.drop("few.ndjson", b"\n" * 10)
    home.ingest()
    assert len(home.raw()) == 50
    assert home.rejected()["reason"].to_list() == ["blank_line"] * 460
    assert balanced(home)
