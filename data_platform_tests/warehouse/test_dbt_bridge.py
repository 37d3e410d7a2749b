"""The bridge between dbt and the lake: what a model may read, whose days are written, what is not loaded.
Not here: tables as SQL sees them (test_relations), what any model computes (test_commerce_models)."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Severity, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.quality.validation import Status
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.commerce.contracts.metrics import SETTLEMENT_DAYS
from data_platform.domains.commerce.contracts.sources import RawOrderChanges
from data_platform.domains.commerce.contracts.star import DimProducts, FctOrders, FctPayments
from data_platform.warehouse import manifest, models, running, starting
from data_platform.warehouse.computing import require_declared
from data_platform.warehouse.nodes import tables_read
from data_platform.warehouse.schema_file import SCHEMA_FILE, schema_text
from data_platform_tests.support.commerce_homes import (
    compute_and_publish,
    drop,
    order,
    product,
    receive,
    user,
    verdicts_of_dbt,
)
from data_platform_tests.support.homes import Home

DAYS = [dt.date(2024, 3, day) for day in (1, 2, 3)]
DBT = Path(sys.executable).with_name("dbt")


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project that this process runs instead, to be changed."""
    shutil.copytree(manifest.PROJECT, tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    for module in (manifest, running, models, starting):
        monkeypatch.setattr(module, "PROJECT", tmp_path / "dbt")
    return tmp_path / "dbt"


FIRST = {
    "users": [user("u-1", "2024-03-01 00:00")],
    "orders": [order(f"o-{day}-{n}", f"{day} 10:00", f"{n}.50") for day in DAYS for n in (1, 2)],
}
"""Three days with two orders each, and their user."""


# ----------------------------------------------------------------------------- project
def test_what_each_model_reads_is_what_its_asset_declares(home: Home) -> None:
    import data_platform.definitions  # noqa: F401

    models = [table for table in contracts().values() if table.kind == "dbt"]
    assert len(models) >= 15
    nodes = manifest.manifest(manifest.PROJECT)["nodes"]
    ids = manifest.lake_models(nodes)
    assert set(ids) == {table.key for table in models}
    for table in models:
        assert tables_read(nodes, [ids[table.key]]) == {needed.table.key for needed in inputs_of(table)}, table.key


def test_the_generated_schema_and_the_settlement_days_are_up_to_date(home: Home) -> None:
    import data_platform.definitions  # noqa: F401

    models = [table for table in contracts().values() if table.kind == "dbt"]
    assert SCHEMA_FILE.read_text() == schema_text(models), "run `make docs`"
    assert (
        yaml.safe_load((manifest.PROJECT / "dbt_project.yml").read_text())["vars"]["settlement_days"] == SETTLEMENT_DAYS
    )


def test_a_table_that_is_not_declared_cannot_be_read() -> None:
    nodes = manifest.manifest(manifest.PROJECT)["nodes"]
    model = nodes[manifest.lake_models(nodes)[FctOrders.key]]
    with pytest.raises(PlatformError, match=r"fct_orders reads raw/user_changes, which its asset does not declare"):
        require_declared(model, nodes, {RawOrderChanges.key})


def test_the_committed_manifest_is_the_project_s(home: Home) -> None:
    committed = json.loads(manifest.COMMITTED.read_text())
    assert committed["metadata"]["digest"] == manifest.digest(manifest.PROJECT), "run `make docs`"
    manifest.parse(manifest.PROJECT, home.path / "parsed")
    full = json.loads((home.path / "parsed" / manifest.MANIFEST).read_text())
    assert manifest.needed_of(full, committed["metadata"]["digest"]) == committed


def test_a_changed_project_is_parsed_once_and_its_manifest_kept(home: Home, copied: Path) -> None:
    (copied / "models/marts/dim_products.sql").write_text("select 1 as more")
    with home.used():
        first = manifest.manifest(copied)
        (kept,) = (home.path / "dbt").glob(f"*/{manifest.MANIFEST}")
        written = kept.stat().st_mtime_ns
        manifest._manifest.cache_clear()
        assert manifest.manifest(copied) == first
    assert kept.stat().st_mtime_ns == written


def test_sql_cannot_see_beyond_the_declared_days(home: Home, copied: Path) -> None:
    (copied / "tests/nothing_of_tomorrow.sql").write_text(
        "{{ config(meta={'judges': 'fct_orders'}) }} select getvariable('last_day') as order_date"
        " from {{ source('raw', 'user_changes') }} where change_date > getvariable('last_day')"
        " union all select getvariable('last_day')"
        " from {{ source('raw', 'order_changes') }} where order_date <> getvariable('last_day')"
    )
    receive(home, "first", FIRST)
    receive(home, "later", {"users": [user("u-1", "2024-03-02 00:00", "update", plan="gold")]})
    for day in DAYS[:2]:
        verdicts = verdicts_of_dbt(home, FctOrders, [day])
        assert [v.status for v in verdicts if v.rule == "nothing_of_tomorrow"] == [Status.PASSED]


def test_a_model_that_fails_says_which_and_why(home: Home, copied: Path) -> None:
    (copied / "models/marts/dim_products.sql").write_text("select nothing from {{ ref('stg_product_versions') }}")
    with pytest.raises(PlatformError, match=r"dim_products \(models/marts/dim_products.sql\) fails: .*nothing"):
        compute_and_publish(home, DimProducts, [])


# ------------------------------------------------------------------------------ verdicts
def test_a_day_that_fails_a_dbt_test_is_not_published_and_reported_by_day(home: Home, copied: Path) -> None:
    (copied / "tests/no_order_of_the_second.sql").write_text(
        "{{ config(meta={'judges': 'fct_orders'}) }} select * from {{ ref('fct_orders') }} where day(order_date) = 2"
    )
    receive(home, "first", FIRST)
    publication = compute_and_publish(home, FctOrders, DAYS)
    assert sorted(publication.rows) == ["2024-03-01", "2024-03-03"]
    assert publication.verdicts.blocked() == {"2024-03-02"}
    (failed,) = [verdict for verdict in publication.verdicts.failures if verdict.rule == "no_order_of_the_second"]
    assert (failed.partition, failed.failed_rows, failed.rows) == ("2024-03-02", 2, 2)
    assert {key["order_id"] for key in failed.sample} == {"o-2024-03-02-1", "o-2024-03-02-2"}
    assert set(home.rows(FctOrders)["order_date"]) == {DAYS[0], DAYS[2]}


def test_a_run_writes_its_days_and_a_verdict_of_every_test_by_hand_for_each(home: Home) -> None:
    drop(home, "first", FIRST)
    home.build([FctOrders.key])
    before = home.files(FctOrders)
    home.build([FctOrders.key], first=DAYS[1], last=DAYS[1])
    after = home.files(FctOrders)
    assert {day for day in before if before[day] != after[day]} == {"2024-03-02"}

    ledger = home.rows(CheckResults).filter(pl.col("asset") == FctOrders.key)
    tests = set(models.tests_by_hand([FctOrders])[FctOrders.key])
    assert tests == {"orders_are_in_the_fact_or_rejected"}
    generated = {"unique_key", "not_null", "accepted_values", "at_least"}
    assert not [name for name in ledger["check_name"].unique() if name.split("_fct_")[0] in generated]
    by_day = ledger.filter(pl.col("check_name").is_in(list(tests))).group_by("asset_partition", "run_id").agg(
        tests=pl.col("check_name").n_unique(), passed=(pl.col("status") == "passed").all(), rows=pl.col("rows").max()
    )  # fmt: skip
    counted = by_day.group_by("asset_partition", "tests", "passed", "rows").len().sort("asset_partition").rows()
    assert counted == [(str(day), len(tests), True, 2, 1 + (day == DAYS[1])) for day in DAYS]
    assert {day for day in home.verdicts(FctOrders, "orders_are_in_the_fact_or_rejected") if day} == {
        str(day) for day in DAYS
    }


# ----------------------------------------------------------------------- neighbours
def test_loading_the_code_location_starts_no_dbt(tmp_path: Path) -> None:
    code = """
        import subprocess, sys, warnings
        warnings.simplefilter("ignore")
        start = subprocess.Popen.__init__
        def start_no_dbt(self, command, *given, **more):
            assert "dbt" not in str(command), command
            start(self, command, *given, **more)
        subprocess.Popen.__init__ = start_no_dbt
        import data_platform.definitions
        print("dbt.cli.main" in sys.modules, "dbt.adapters.duckdb" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True,
        env=Home(tmp_path).environment(),
    )  # fmt: skip
    assert done.stdout.split() == ["False", "False"]
    assert not (tmp_path / "dbt").exists()


def test_the_process_of_dbt_loads_no_dagster() -> None:
    """It takes 0.7 s of every start."""
    code = """
        import sys
        import dbt.cli.main, data_platform.warehouse.lake_plugin
        from data_platform.core.discovery import know_contracts
        know_contracts()
        print([name for name in sys.modules if name.split(".")[0] in ("dagster", "pandera", "pandas")])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_runs_on_different_days_do_not_disturb_each_other_or_a_reader(home: Home) -> None:
    receive(home, "first", FIRST)
    compute_and_publish(home, FctOrders, DAYS)
    code = textwrap.dedent("""
        import sys, datetime as dt, pathlib, warnings
        warnings.simplefilter("ignore")
        import data_platform.domains.commerce.assets
        from data_platform.domains.commerce.contracts.star import FctOrders
        from data_platform_tests.support.commerce_homes import compute_and_publish
        from data_platform_tests.support.homes import Home
        home, day = Home(pathlib.Path(sys.argv[1])), dt.date.fromisoformat(sys.argv[2])
        for _ in range(2):
            assert not compute_and_publish(home, FctOrders, [day]).verdicts.blocked()
    """)
    running = [home.start("-c", code, str(home.path), str(day)) for day in DAYS[:2]]
    seen = 0
    while any(process.poll() is None for process in running):
        rows = home.rows(FctOrders)
        assert sorted(rows["order_date"].unique()) == DAYS
        assert len(rows) == 6
        seen += 1
        time.sleep(0.1)
    assert [process.wait() for process in running] == [0, 0], [process.communicate()[0] for process in running]
    assert seen > 3
    assert home.lake.version(FctOrders) == 4 + 1


def from_a_shell(home: Home, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    folders = ["--target-path", str(home.path / "target"), "--log-path", str(home.path / "logs")]
    return subprocess.run(
        [str(DBT), *arguments, *folders], cwd=manifest.PROJECT, capture_output=True, text=True,
        env=home.environment(**variables),
    )  # fmt: skip


TWO_DAYS = {"DATA_PLATFORM_DBT_FROM": "2024-03-01", "DATA_PLATFORM_DBT_TO": "2024-03-02"}


def test_dbt_build_from_a_shell_publishes_what_the_assets_would(home: Home) -> None:
    receive(home, "first", FIRST)
    drop(home, "products", {"products": [product("gem", "2024-03-01 00:00")]})
    home.ingest()
    done = from_a_shell(home, "build", "--target", "lake", "--select", "+fct_orders", "dim_products", **TWO_DAYS)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "commerce/fct_orders: 4 rows" in done.stdout
    by_dbt = home.rows(FctOrders).sort("order_id")
    assert set(by_dbt["order_date"]) == set(DAYS[:2])
    compute_and_publish(home, FctOrders, DAYS[:2])
    assert home.rows(FctOrders).sort("order_id").equals(by_dbt)
    assert home.rows(DimProducts).height == 1
    assert not home.lake.exists(FctPayments)
    ledger = home.rows(CheckResults)
    assert set(ledger.filter(pl.col("asset") == FctOrders.key)["asset_partition"]) == {"2024-03-01", "2024-03-02"}


def test_the_default_target_computes_one_model_and_writes_nothing_to_the_lake(home: Home) -> None:
    receive(home, "first", FIRST)
    compute_and_publish(home, FctOrders, DAYS)
    receive(home, "more", {"orders": [order("o-more", "2024-03-02 11:00")]})
    files = {path: path.stat().st_mtime_ns for path in home.path.rglob("*") if path.is_file()}
    one = from_a_shell(home, "build", "--select", "fct_orders", **TWO_DAYS)
    assert one.returncode == 0, one.stdout[-2000:]
    assert "commerce/fct_orders: 5 rows of 2024-03-01 to 2024-03-02, not published" in one.stdout
    above = from_a_shell(home, "build", "--select", "stg_orders", "fct_orders", "fct_order_items", **TWO_DAYS)
    assert above.returncode == 0, above.stdout[-2000:]
    written = {path for path in home.path.rglob("*") if path.is_file() and files.get(path) != path.stat().st_mtime_ns}
    assert {path.relative_to(home.path).parts[0] for path in written} <= {"target", "logs"}


def test_the_lake_is_not_written_for_days_that_nobody_named(home: Home) -> None:
    receive(home, "first", FIRST)
    done = from_a_shell(home, "build", "--target", "lake", "--select", "fct_orders")
    assert done.returncode != 0
    assert "DATA_PLATFORM_DBT_FROM is not set" in " ".join(done.stdout.split())
    assert not home.lake.exists(FctOrders)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DATA_PLATFORM_DBT_FROM": "2024-03-01"}, "DATA_PLATFORM_DBT_TO is not set"),
        ({**TWO_DAYS, "DATA_PLATFORM_DBT_TO": "2024-02-30"}, "is no day"),
        ({**TWO_DAYS, "DATA_PLATFORM_DBT_TO": "2024-02-28"}, "2024-03-01 is after DATA_PLATFORM_DBT_TO 2024-02-28"),
    ],
)
@pytest.mark.parametrize("publishes", [True, False])
def test_days_of_the_shell_are_two_days_in_order(
    home: Home, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str, publishes: bool
) -> None:
    from dbt.adapters.duckdb.plugins import BasePlugin

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with home.used(), pytest.raises(PlatformError, match=message):  # as dbt-duckdb does
        BasePlugin.create("data_platform.warehouse.lake_plugin", config={"publishes": publishes})


def test_the_page_of_an_asset_shows_its_sql() -> None:
    from data_platform.definitions import defs

    (spec,) = [one for one in defs.resolve_all_asset_specs() if one.key.path == ["commerce", "fct_orders"]]
    assert (manifest.PROJECT / "models/marts/fct_orders.sql").read_text() in spec.metadata["sql"].value


def test_a_test_says_itself_how_many_rows_are_too_many(home: Home, copied: Path) -> None:
    configs = {
        "warns": "severity='error', warn_if='> 0', error_if='> 2'",
        "blocks": "severity='error', error_if='> 1'",
        "spares": "severity='error', warn_if='> 5', error_if='> 5'",
        "crashes": "severity='warn'",
    }
    for name, config in configs.items():
        rows = "select * from {{ ref('fct_orders') }} where day(order_date) = 2"
        rows = "select 1 / 0 from nowhere" if name == "crashes" else rows
        (copied / f"tests/{name}.sql").write_text(f"{{{{ config({config}, meta={{'judges': 'fct_orders'}}) }}}} {rows}")
    receive(home, "first", FIRST)
    found = {
        (verdict.rule, verdict.partition): (verdict.severity, verdict.status)
        for verdict in verdicts_of_dbt(home, FctOrders, DAYS)
        if verdict.rule in configs and verdict.status != Status.PASSED
    }
    second = str(DAYS[1])
    assert found == {
        ("warns", second): (Severity.WARNING, Status.FAILED),
        ("blocks", second): (Severity.ERROR, Status.FAILED),
        **{("crashes", str(day)): (Severity.WARNING, Status.ERRORED) for day in DAYS},
    }
