"""What engines and the system say when something fails is one sentence with its remedy: on the screen and in a run.
Each error is a real one. Not here: faults that are known where they arise (test_damage, test_connections, …)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable

from data_platform.core.faults import in_words, known_fault
from data_platform.core.lake.files import LakeFiles
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.automation import only_transient_faults_retried
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform_tests.support.command_line import Run
from data_platform_tests.support.homes import Home, event
from data_platform_tests.support.transforms import computed_otherwise

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


def out_of_range() -> str:
    """Polars panics when it is to show a date that its calendar does not have."""
    return str(pl.select(pl.lit(2**63 - 1).cast(pl.Datetime("us")).dt.date()))


def sql_on(path: Path, statement: str = "CREATE TABLE a (b)") -> None:
    with sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.1}).connect() as connection:
        connection.execute(sa.text(statement))


def locked(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "locked.db")) as other:
        other.execute("CREATE TABLE a (b)")
        other.commit()
        other.execute("BEGIN EXCLUSIVE")
        sql_on(folder / "locked.db", "INSERT INTO a VALUES (1)")


def no_database(folder: Path) -> None:
    (folder / "no.db").write_bytes(b"garbage" * 1000)
    sql_on(folder / "no.db")


def read_only(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ro.db")) as made:
        made.execute("CREATE TABLE a (b)")
    with sa.create_engine(f"sqlite:///file:{folder}/ro.db?mode=ro&uri=true").connect() as connection:
        connection.execute(sa.text("INSERT INTO a VALUES (1)"))


def no_server(_: Path) -> None:
    sa.create_engine("postgresql+psycopg2://me:geheim@127.0.0.1:1/x").connect()


def no_log(folder: Path) -> None:
    (folder / "table/_delta_log").mkdir(parents=True)
    (folder / "table/_delta_log" / f"{0:020}.json").write_text('{"metaData":')
    DeltaTable(folder / "table")


def no_memory(_: Path) -> None:
    with duckdb.connect(config={"memory_limit": "10MB", "temp_directory": ""}) as connection:
        connection.execute("CREATE TABLE t AS SELECT random() || 'xxxxxxxxxxxxxxxxx' FROM range(3000000)")


def full(_: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def full_for_polars(_: Path) -> None:
    pl.DataFrame({"a": range(100_000)}).write_parquet("/dev/full")


@pytest.mark.parametrize(
    ("cause", "parts"),
    [
        (locked, ("locked by another process", "run again")),
        (no_database, ("is damaged: file is not a database", "backup")),
        (read_only, ("cannot be written: it is read-only", "writable")),
        (no_server, ("PostgreSQL cannot be used", "Connection refused", "DATA_PLATFORM_POSTGRES_URL")),
        (no_log, ("Delta table cannot be read", "Json error", "_delta_log")),
        (no_memory, ("Memory ran out", "DATA_PLATFORM_SLICE_ROWS")),
        (lambda _: out_of_range(), ("value it cannot compute with: out-of-range date", "out of range")),
        pytest.param(full, ("The disk is full", "run again"), marks=needs_dev_full),
        pytest.param(full_for_polars, ("The disk is full", "run again"), marks=needs_dev_full),
    ],
)
def test_a_fault_of_an_engine_is_reported_in_a_sentence_without_stack_or_statement(
    tmp_path: Path, cause: Callable[[Path], object], parts: tuple[str, ...]
) -> None:
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - a panic is no Exception
        cause(tmp_path)
    known = known_fault(raised.value)
    assert known is not None
    assert known.problem
    assert known.remedy
    for part in parts:
        assert part in str(known)
    for noise in ("\n", "[SQL", "sqlalche.me", "<unknown>", "geheim"):
        assert noise not in str(known)


def test_what_nobody_foresaw_is_no_known_fault() -> None:
    assert known_fault(ValueError("No space left on device, says a stranger")) is None
    assert in_words(ValueError("a")) == "ValueError: a"


@contextmanager
def as_a_stranger() -> Iterator[None]:
    """Where tests run as root every file may be read: be somebody else for the while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_neither_absent_nor_damaged(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    home.build([PlayerEvents.key])
    (data,) = home.lake.snapshot(PlayerEvents).paths()
    table = Path(home.lake.uri(PlayerEvents))
    for closed, reading in (
        (table / "_delta_log", lambda: home.lake.snapshot(PlayerEvents)),
        (home.path / "lake", lambda: Lake(str(home.path / "lake")).snapshot(PlayerEvents)),
        (home.path / "lake", lambda: Lake(str(home.path / "lake")).exists(PlayerEvents)),
        (table / data, lambda: pl.read_parquet(table / data)),
    ):
        mode = closed.stat().st_mode
        closed.chmod(0)
        try:
            with as_a_stranger(), pytest.raises(Exception, match=r"(?i)denied") as raised:
                reading()
        finally:
            closed.chmod(mode)
        known = known_fault(raised.value)
        assert known is not None
        assert "permission denied" in known.problem
        assert "backup" not in str(known)


@needs_dev_full
def test_a_step_on_a_full_disk_says_so_for_its_table_and_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LakeFiles, "stage", lambda *_: full(Path()))
    with pytest.raises(dg.Failure) as refused, only_transient_faults_retried():
        home.lake.stage_file(PlayerDailyActivity, "2024-01-03", PlayerDailyActivity.empty())
    assert refused.value.allow_retries
    assert str(refused.value.description).startswith(f"{PlayerDailyActivity.key}: The disk is full")


def test_a_step_that_panics_is_a_sentence_in_its_run_and_ends_no_command(home: Home) -> None:
    from data_platform.definitions import defs
    from data_platform.domains.gameplay.transforms import sessions
    from data_platform.operations.build import build

    home.drop("a.ndjson", [event()])
    with computed_otherwise(sessions.session_days, lambda *_, **__: out_of_range()):
        built = build(defs, home.instance, ["player_session_days"])
    (failure,) = built.failures
    assert failure.startswith("gameplay/player_session_days: ")
    assert "value it cannot compute with: out-of-range date" in failure
    assert "\n" not in failure


def command(home: Home, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    started = [sys.executable, "-c", PANICKING, *arguments] if "PANIC" in variables else [
        sys.executable, "-m", "data_platform_tests.support.command", *arguments
    ]  # fmt: skip
    environment = home.environment(COLUMNS="250", RUST_BACKTRACE="1", **variables)
    return subprocess.run(started, env=environment, capture_output=True, text=True, check=False)


PANICKING = """
import polars as pl
from data_platform import cli
def show(*_): str(pl.select(pl.lit(2**63 - 1).cast(pl.Datetime("us")).dt.date()))
cli.looking.contract = show
cli.main()
"""


def test_a_panic_is_a_sentence_on_the_screen_and_no_stack(home: Home) -> None:
    done = command(home, "table", "players", PANIC="1")
    assert done.returncode == 1
    assert "The engine gave up on a value it cannot compute with: out-of-range date." in done.stderr
    assert "Traceback" not in done.stderr
    assert "stack backtrace" not in done.stderr


@pytest.mark.parametrize("database", ["runs.db", "index.db"])
def test_a_damaged_storage_of_dagster_is_named(home: Home, run: Run, database: str) -> None:
    home.drop("a.ndjson", [event()])
    assert run("build", PlayerEvents.key).code == 0
    (file,) = (home.path / "dagster").rglob(database)
    for beside in file.parent.glob(f"{database}-*"):
        beside.unlink()
    file.write_bytes(b"garbage" * 2000)
    done = command(home, "plan")
    assert done.returncode == 1
    assert f"is damaged: {file}" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "[SQL" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
