"""Every command, its JSON and its exit code; errors are one paragraph with a remedy, a traceback only with --debug.
Not here: what the commands do, beyond that they do it; the demo (test_wheel, test_guides)."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform import cli
from data_platform.core import packages
from data_platform.core.contract.table import contracts
from data_platform.core.settings import PROJECT_ROOT, Settings
from data_platform.domains.gameplay.simulation.truth import Truth
from data_platform_tests.support.command_line import Run, assert_one_paragraph
from data_platform_tests.support.homes import Home, all_tables, line

START = "2024-02-27"
DAYS = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A small dirty simulation, built by the real command in a process of its own."""
    home = Home(tmp_path_factory.mktemp("cli") / "home")
    for arguments in (
        ["simulate", "--players", "40", "--days", str(DAYS), "--seed", "4", "--start", START, "--dirty", "--to",
         str(home.landing)],
        ["build"],
    ):  # fmt: skip
        command = [str(Path(sys.executable).with_name("data-platform")), *arguments]
        done = subprocess.run(command, env=home.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    home.drop("odd.ndjson", [b'{"player_id": "\xff"}'.decode("latin-1"), line(event_id="[bold]x[/bold]\x1b[31m")])
    (home.landing / "player_events" / "bytes.ndjson").write_bytes(b'{"player_id": "\xff"}\n')
    home.ingest()
    return home


@pytest.fixture
def used(built: Home) -> Iterator[Home]:
    with built.used():
        yield built


# ------------------------------------------------------------------------------ simulate
def test_simulate(home: Home, run: Run) -> None:
    arguments = ["--players", "10", "--days", "2", "--seed", "1", "--start", START, "--to", home.landing]
    output = run("simulate", *arguments, "--json")
    assert output.code == 0
    truth = Truth.read(home.landing / "truth.json")
    assert output.json["events"] == truth.totals["received"]
    assert set(output.json) == {"to", "events", "seconds", "truth"}
    again = run("simulate", *arguments)
    assert again.code == 0
    assert f"{truth.totals['received']:,} event lines of 10 players over 2 days from {START}" in again.out
    other = run("simulate", *arguments, "--dirty")
    assert_one_paragraph(other, "already holds another simulation", "choose an empty folder")


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate"],
        ["simulate", "--to", "x", "--players", "0"],
        ["simulate", "--to", "x", "--players", "many"],
        ["simulate", "--to", "x", "--start", "yesterday"],
        ["ingest"],
        ["table"],
        ["table", "clean/players", "--format", "xlsx"],
        ["build", "--from", "01.02.2024"],
        ["nonsense"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_reported_as_such(home: Home, run: Run, arguments: list[str]) -> None:
    output = run(*arguments)
    assert output.code == 2
    assert "Usage: " in output.err
    assert "Traceback" not in output.err


# -------------------------------------------------------------------------------- ingest
MAPPING = "SELECT id AS event_id, who AS player_id, 'buy' AS event_type, moment::TIMESTAMPTZ AS timestamp FROM input"


def test_ingest(home: Home, run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.sql").write_text(MAPPING)
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for number, file in enumerate(files):
        file.write_text("id,who,moment\n" + "".join(f"e{number}{n},ann,2024-01-03T10:00:00Z\n" for n in range(3)))
    output = run("ingest", *files, "--mapping", tmp_path / "m.sql", "--json")
    assert output.code == 0
    assert [(Path(one["file"]).name, one["rows"]) for one in output.json] == [("a.csv", 3), ("b.csv", 3)]
    assert all(Path(one["landed"]).exists() for one in output.json)
    plain = run("ingest", *files, "--mapping", tmp_path / "m.sql")
    assert "6 rows in landing" in plain.out
    assert "data-platform build" in plain.out
    home.ingest()
    assert len(home.raw()) == 6


def test_ingest_with_a_wrong_mapping(home: Home, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,who,moment\n1,ann,2024-01-03\n")
    (tmp_path / "m.sql").write_text(MAPPING.replace("AS player_id", "AS player"))
    output = run("ingest", tmp_path / "a.csv", "--mapping", tmp_path / "m.sql")
    assert_one_paragraph(output, "`player_id`", "A mapping looks like this", "FROM input")
    missing = run("ingest", tmp_path / "none.csv", "--mapping", tmp_path / "m.sql")
    assert_one_paragraph(missing, "There is no file", "none.csv")


# -------------------------------------------------------------------------------- status
def test_status(used: Home, run: Run) -> None:
    output = run("status", "--json")
    assert output.code == 0
    found = {one["key"]: one for one in output.json}
    assert set(found) == set(contracts())
    for table in all_tables():
        assert found[table.key]["rows"] == len(used.rows(table)), table.key
    churn = found["features/player_churn_features"]
    assert (churn["newest"], churn["partitions"]) == ("2024-02-29", DAYS)
    assert churn["freshness"] == "critical", "the newest day is long ago, however lately it was written"
    assert churn["age"] > 26 * 3600
    assert "raw/order_changes" in churn["reason"], "the shop was silent for longer than the game"
    assert churn["failed_checks"] == []
    assert churn["checks"] >= 1
    shown = run("status").out
    for key, one in found.items():
        assert (f"\n{key} " in f"\n{shown}") == (one["built"] and one["connected"]), key
    hidden = sum(not one["built"] for one in found.values())
    assert f"{hidden} tables not built: data-platform status --all" in shown
    assert str(used.path) in shown
    everything = run("status", "--all").out
    assert all(key in everything for key in contracts())


def test_status_before_anything_was_built(home: Home, run: Run) -> None:
    output = run("status", "--json")
    assert output.code == 0
    assert {(one["rows"], one["freshness"]) for one in output.json} == {(0, "not_built")}
    assert f"{len(contracts())} tables not built" in run("status").out


# --------------------------------------------------------------------------------- table
def test_table_shows_rows(used: Home, run: Run) -> None:
    output = run("table", "player_churn_features", "--limit", "3", "--json")
    assert output.code == 0
    assert len(output.json) == 3
    assert output.json[0].keys() == dict(contract_schema("features/player_churn_features")).keys()
    shown = run("table", "features/player_churn_features", "--from", "2024-02-28", "--to", "2024-02-28")
    assert shown.code == 0
    assert "2024-02-28" in shown.out
    assert "2024-02-27" not in shown.out
    nothing = run("table", "features/player_churn_features", "--from", "2025-02-28")
    assert "(no rows)" in nothing.out


def contract_schema(key: str) -> dict[str, pl.DataType]:
    return next(table for table in all_tables() if table.key == key).schema()


def test_table_shows_text_of_strangers_as_text(used: Home, run: Run) -> None:
    output = run("table", "raw/player_events", "--from", "2024-01-03", "--to", "2024-01-03")
    assert "[bold]x[/bold]" in output.out
    assert "\x1b" not in output.out


def read_json(file: Path) -> pl.DataFrame:
    """With the columns as they stand in the file: Polars forgets the order of more than 32."""
    with file.open() as lines:
        return pl.read_ndjson(file).select(list(json.loads(next(lines))))


FORMATS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "parquet": pl.read_parquet,
    "json": read_json,
}


@pytest.mark.parametrize("format", FORMATS)
def test_every_table_exports_to_every_format(used: Home, run: Run, tmp_path: Path, format: str) -> None:
    for number, table in enumerate(all_tables()):
        if not used.lake.exists(table):
            continue
        file = tmp_path / f"{number}.{format}"
        output = run("table", table.key, "--out", file)
        assert output.code == 0, output.err
        rows = used.rows(table)
        assert f"{len(rows):,} row{'' if len(rows) == 1 else 's'} of {table.key}" in " ".join(output.out.split())
        found = FORMATS[format](file) if len(rows) or format == "parquet" else None
        if found is not None:
            assert len(found) == len(rows), table.key
            assert found.columns == rows.columns
        if format == "parquet":
            assert found is not None
            assert found.sort(table.primary_key).equals(rows.sort(table.primary_key)), table.key
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*"))


def test_export_of_some_days_in_a_named_format(used: Home, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "features.txt"
    output = run("table", "player_churn_features", "--from", "2024-02-28", "--out", file, "--format", "csv")
    assert output.code == 0
    found = pl.read_csv(file)
    assert sorted(found["snapshot_date"].unique()) == ["2024-02-28", "2024-02-29"]
    keys = found.select("snapshot_date", "player_id").rows()
    assert keys == sorted(keys), "in key order"


def test_table_errors(used: Home, run: Run, tmp_path: Path) -> None:
    assert_one_paragraph(run("table", "nonsense"), "no table 'nonsense'", "data-platform status")
    assert_one_paragraph(run("table", "players", "--out", tmp_path / "x.xlsx"), "not clear", "--format csv")
    assert_one_paragraph(run("table", "players", "--out", tmp_path / "no" / "x.csv"), "no folder", "Create it")


def test_a_table_that_was_not_built(home: Home, run: Run) -> None:
    assert_one_paragraph(run("table", "clean/players"), "has not been built", "data-platform build clean/players")


# -------------------------------------------------------------------------------- errors
def test_debug_shows_a_traceback(home: Home, run: Run) -> None:
    assert_one_paragraph(run("table", "nonsense"))
    output = run("--debug", "table", "nonsense")
    assert output.code == 1
    assert "Traceback" in output.err
    assert "PlatformError" in output.err


def test_an_error_nobody_foresaw_is_one_paragraph_too(home: Home, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(cli.looking, "contract", broken)
    assert_one_paragraph(run("table", "players"), "RuntimeError: out of luck", "--debug")
    with pytest.raises(RuntimeError, match="out of luck"):
        run("--debug", "table", "players")


def test_a_wrong_setting_is_reported(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "data_platform_tests.support.command", "status"],
        env=home.environment(DATA_PLATFORM_FIRST_DAY="first of May"),
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "DATA_PLATFORM_FIRST_DAY" in done.stderr
    assert "unset it" in " ".join(done.stderr.split())


def test_a_domain_of_another_package_brings_its_commands(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = packages.packages()
    for package, group in (("guilds_of_theirs", "guilds"), ("taken", "lake")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "commands.py").write_text(BROUGHT.format(group=group))
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        for package in ("guilds_of_theirs", "taken"):
            found = found | {package: tmp_path / package}
            monkeypatch.setattr(packages, "packages", lambda found=found: found)
            cli.command_line.cache_clear()
            if package == "guilds_of_theirs":
                assert run("guilds", "count").out == "three guilds\n"
            else:
                assert_one_paragraph(run("guilds", "count"), "Two commands are called lake.", "Rename that of taken.")
    finally:
        cli.command_line.cache_clear()


BROUGHT = '''
import typer
from data_platform.core.terminal import out

app = typer.Typer(name="{group}", help="Guilds.")

@app.callback()
def guilds() -> None:
    """Guilds."""

@app.command()
def count() -> None:
    """How many there are."""
    out.print("three guilds")
'''


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PLATFORM_HOME", "")
    monkeypatch.setenv("DATA_PLATFORM_POSTGRES_URL", "")
    found = Settings()
    assert (found.home, found.postgres_url) == (PROJECT_ROOT / ".data_platform_home", None)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["table", "clean/player_event"], "clean/player_events"),
        (["table", "player_churn_feature"], "player_churn_features"),
        (["build", "gamplay"], "gameplay"),
        (["plan", "daily_metric"], "daily_metrics"),
        (["rejected", "show", "player_event"], "player_events"),
        (["api-token", "churn", "--scope", "feature:read"], "features:read"),
        (["ingest", "a.csv", "--mapping", "a.sql", "--into", "order"], "orders"),
    ],
    ids=" ".join,
)
def test_a_near_miss_is_reported(home: Home, run: Run, arguments: list[str], meant: str) -> None:
    assert_one_paragraph(run(*arguments), "Did you mean", meant)


def test_version(run: Run) -> None:
    output = run("--version")
    assert (output.code, output.out.split()[0]) == (0, "data-platform")


def test_days_the_wrong_way_round_and_days_of_what_has_none_are_reported(used: Home, run: Run) -> None:
    wrong = ("--from", "2024-02-29", "--to", "2024-02-27")
    for command in (("table", "player_churn_features"), ("build", "features"), ("plan",)):
        assert_one_paragraph(run(*command, *wrong), "--from 2024-02-29 is after --to 2024-02-27", "earlier day")
    assert_one_paragraph(run("rejected", "replay", "raw/player_events", *wrong), "is after --to", "earlier day")
    assert_one_paragraph(
        run("table", "clean/players", "--from", "2024-02-27"), "clean/players has no days", "Leave out"
    )


def test_a_second_build_beside_the_first_is_reported_in_a_line(used: Home, run: Run) -> None:
    alone = run("build", "clean/players")
    assert (alone.code, "Another build" in alone.err) == (0, False)
    with (used.path / ".building").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        beside = run("build", "clean/players")
    assert (beside.code, beside.err.count("Another build of")) == (0, 1)
