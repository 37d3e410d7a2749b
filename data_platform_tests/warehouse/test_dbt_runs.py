"""One dbt process computes all models of a run, as dbt would from a shell; the step publishes table by table.
Not here: what SQL sees (test_relations), what any model computes (test_commerce_models)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.contract.table import contracts
from data_platform.core.errors import PlatformError
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.publication import Publication
from data_platform.domains.commerce.contracts.metrics import (
    FctDailyActiveUsers,
    MvDailyMetrics,
    RevenueReconciliation,
    RevenueRetentionCohorts,
)
from data_platform.domains.commerce.contracts.star import DimProducts, DimUsers, FctOrderItems, FctOrders, FctPayments
from data_platform.domains.research.contracts.star import FactPersonaInteractions
from data_platform.warehouse import starting
from data_platform.warehouse.exchange import Handover, hand_over
from data_platform.warehouse.running import publishing_first
from data_platform_tests.support.commerce_homes import charge, compute_and_publish, drop, item, order, product, receive
from data_platform_tests.support.homes import Home, event, kill
from data_platform_tests.warehouse.test_dbt_bridge import DAYS, FIRST, copied  # noqa: F401  a fixture


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command of each dbt process that steps start."""
    commands: list[list[str]] = []
    cli = starting.Dbt.cli

    def counted(self: starting.Dbt, args: list[str], **more: object) -> object:
        commands.append(args)
        return cli(self, args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(starting.Dbt, "cli", counted)
    return commands


def test_every_model_is_an_asset_under_the_key_of_its_contract() -> None:
    from data_platform.definitions import defs

    models = {asset_key(table) for table in contracts().values() if table.kind == "dbt"}
    steps = [defs.get_assets_def(asset_key(table)).keys for table in (FctOrders, FactPersonaInteractions)]
    assert {key for keys in steps for key in keys} == models
    assert sum(map(len, steps)) == len(models), "a step for each domain"


def test_a_run_over_a_range_of_days_starts_one_dbt(home: Home, started: list[list[str]]) -> None:
    drop(home, "first", FIRST | {"stripe_charges": [charge("ch-1", "o-2024-03-01-1", "2024-03-01 10:05", 150)]})
    home.ingest()
    home.build([FctOrders.key, FctPayments.key, MvDailyMetrics.key], first=DAYS[0], last=DAYS[2])
    assert [command[0] for command in started] == ["build"]
    assert set(home.rows(FctOrders)["order_date"]) == set(DAYS)
    assert home.rows(MvDailyMetrics)["orders"].to_list() == [2, 2, 2]


def test_what_is_handed_over_is_published_before_anything_is_told(tmp_path: Path) -> None:
    """Also what comes while others are published or told: models wait for it."""
    done: list[str] = []

    def publish(handover: Handover) -> Publication | None:
        if handover.key == DimUsers.key:
            raise OSError("the disk is full")
        done.append(f"published {handover.key}")
        if handover.key == FctOrderItems.key:
            hand_over(tmp_path, Handover(FctPayments.key, ""))
        return None if handover.error else Publication(contracts()[handover.key])

    def tell() -> None:
        for publication in publishing_first(tmp_path, publish):
            done.append(f"told {publication.table.key}")
            if publication.table is FctOrders and len(done) > 2:
                hand_over(tmp_path, Handover(MvDailyMetrics.key, ""))

    for table, error in ((FctOrders, None), (DimProducts, PlatformError("wrong", "")), (FctOrderItems, None)):
        hand_over(tmp_path, Handover(table.key, "", error=error))
    tell()
    first, wrong, second = FctOrders.key, DimProducts.key, FctOrderItems.key
    then, last = FctPayments.key, MvDailyMetrics.key
    assert done[:4] == [f"published {key}" for key in (first, wrong, second, then)]
    assert done[4:] == [f"told {first}", f"published {last}", f"told {second}", f"told {then}", f"told {last}"]
    done.clear()
    hand_over(tmp_path, Handover(FctOrders.key, ""))
    hand_over(tmp_path, Handover(DimUsers.key, ""))
    with pytest.raises(OSError, match="the disk is full"):
        tell()
    assert done == [f"published {first}", f"told {first}"], "what was published is told, whatever comes of the others"


def test_tables_with_days_and_without_are_built_by_one_dbt_and_then_up_to_date(
    home: Home, started: list[list[str]]
) -> None:
    drop(home, "first", FIRST)
    tables = [FctOrders.key, MvDailyMetrics.key, DimUsers.key, RevenueRetentionCohorts.key]
    home.build(tables)  # days from the first one on
    assert [command[0] for command in started] == ["build"]
    assert home.rows(DimUsers).height == 1
    assert home.rows(RevenueRetentionCohorts)["orders"].sum() > 0, "read from the orders of the same run"
    assert home.build(tables).runs == 0, "all of it was told to Dagster"

    drop(home, "apart", {"orders": [order("late-1", "2024-01-05 10:00"), order("late-3", "2024-03-03 11:00")]})
    built = home.build(tables)  # days apart, for which the steps tell Dagster themselves
    assert (built.runs, len(started)) == (2, 2), "landing, and one of all tables"
    assert home.rows(FctOrders).height == 8
    assert home.build(tables).runs == 0
    home.build([DimUsers.key, RevenueRetentionCohorts.key], first=DAYS[0], last=DAYS[0])  # without any that has days


def test_a_game_without_a_shop_starts_no_dbt(home: Home, started: list[list[str]]) -> None:
    home.drop("a.ndjson", [event(timestamp="2024-03-01T10:00:00Z")])
    home.build(["commerce"])
    home.build(["commerce"], first=DAYS[0], last=DAYS[2])
    assert started == []
    drop(home, "first", FIRST)
    home.build(["commerce"])
    assert [command[0] for command in started] == ["build"], "with days and without"
    assert not home.rows(FctDailyActiveUsers).is_empty(), "also of players before the shop came"


def test_a_refused_day_is_left_out_also_of_what_reads_it_and_the_others_are_published(home: Home, copied: Path) -> None:  # noqa: F811
    (copied / "tests/no_order_of_the_second.sql").write_text(
        "{{ config(meta={'judges': 'fct_orders'}) }} select * from {{ ref('fct_orders') }} where day(order_date) = 2"
    )
    from data_platform.definitions import defs
    from data_platform.operations.build import build

    drop(home, "first", FIRST)
    home.ingest()
    with home.used():
        built = build(defs, home.instance, [FctOrders.key, RevenueReconciliation.key], first=DAYS[0], last=DAYS[2])
    assert len(built.failures) == 1
    assert "no_order_of_the_second" in built.failures[0]
    assert set(home.rows(FctOrders)["order_date"]) == {DAYS[0], DAYS[2]}
    # A day of the differences needs the orders of three days before it: the first alone is whole.
    assert set(home.rows(RevenueReconciliation)["reconciliation_date"]) == {DAYS[0]}


def test_a_day_that_cannot_be_computed_holds_back_no_other(home: Home, copied: Path) -> None:  # noqa: F811
    model = copied / "models/marts/fct_orders.sql"
    bad = "error('no such day') end as is_paid"
    model.write_text(
        model.read_text().replace(
            "orders.is_paid", f"case when day(orders.order_date) <> 2 then orders.is_paid else {bad}", 1
        )
    )
    receive(home, "first", FIRST)
    publication = compute_and_publish(home, FctOrders, DAYS)
    assert set(publication.failed) == {"2024-03-02"}
    assert set(home.rows(FctOrders)["order_date"]) == {DAYS[0], DAYS[2]}


def test_hooks_seeds_and_jinja_that_asks_the_database_work(home: Home, copied: Path) -> None:  # noqa: F811
    (copied / "seeds").mkdir()
    (copied / "seeds/labels.csv").write_text("product_id,label\ngem,Shiny\n")
    model = copied / "models/marts/dim_products.sql"
    config = (
        "{{ config(pre_hook='create table main.hooked as select 7 as lucky', post_hook='drop table main.hooked') }}"
    )
    renamed = "labels.label || '-' || hooked.lucky || '-{{ asked }}'"
    rest = "as products, main.hooked join {{ ref('labels') }} as labels on true"
    parts = [config, "{% set asked = asking() %} select products.* replace (", renamed, "as name) from ("]
    model.write_text("\n".join([*parts, model.read_text(), ")", rest]))
    (copied / "macros/asking.sql").write_text(
        "{% macro asking() %}{% if execute %}{{ return(run_query('select 40 + 2').rows[0][0]) }}{% endif %}"
        "{% endmacro %}"
    )
    receive(home, "first", {"products": [product("gem", "2024-03-01 00:00")]})
    compute_and_publish(home, DimProducts, [])
    assert home.rows(DimProducts)["name"].to_list() == ["Shiny-7-42"]


def test_late_data_asks_for_the_days_of_the_tables_behind_the_views() -> None:
    import dagster as dg

    from data_platform.core.orchestration.partitions import daily
    from data_platform.definitions import defs

    graph = defs.resolve_asset_graph()
    node = graph.get(asset_key(contracts()["commerce/revenue_reconciliation_differences"]))
    mapping = node.partition_mappings[asset_key(FctPayments)]
    one = daily().subset_with_partition_keys(["2024-03-10"])
    with dg.DagsterInstance.ephemeral():
        found = mapping.get_downstream_partitions_for_partitions(one, daily(), daily())
    assert sorted(found.get_partition_keys()) == [f"2024-03-{day:02}" for day in range(6, 14)]
    items = graph.get(asset_key(FctOrderItems))
    assert {key.path[0] for key in items.parent_keys} == {"raw"}


def test_killing_a_step_and_its_dbt_leaves_what_a_rebuild_repairs(home: Home) -> None:
    drop(home, "first", FIRST | {"order_items": [item("i-1", "o-2024-03-01-1", "2024-03-01 10:00")]})
    home.ingest()
    code = textwrap.dedent("""
        import sys, pathlib, warnings, datetime as dt
        warnings.simplefilter("ignore")
        from data_platform_tests.support.homes import Home
        Home(pathlib.Path(sys.argv[1])).build(
            ["commerce/fct_orders", "commerce/fct_order_items"], first=dt.date(2024, 3, 1), last=dt.date(2024, 3, 3)
        )
    """)
    for wait in (4.0, 5.5, 7.0):
        running_build = home.start("-c", code, str(home.path))
        time.sleep(wait)
        kill(running_build)
        held = home.rows(FctOrders) if home.lake.exists(FctOrders) else pl.DataFrame()
        assert len(held) in (0, 6)
    home.build([FctOrders.key, FctOrderItems.key], first=DAYS[0], last=DAYS[2])
    assert len(home.rows(FctOrders)) == 6
    assert len(home.rows(FctOrderItems)) == 1


# ------------------------------------------------------------------------ started ahead
WAITING = textwrap.dedent("""
    import sys, time
    from data_platform.warehouse import starting
    with starting.dbt_ahead():
        print(starting._ahead[0].invocation.process.pid, starting._ahead[0].folder, flush=True)
        time.sleep(float(sys.argv[1]))
""")


def is_running(pid: int) -> bool:
    """A process that ended and that nobody waited for is none."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_dbt_starts_with_the_run_and_not_when_the_turn_of_its_step_comes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    cli = starting.Dbt.cli
    monkeypatch.setattr(starting.Dbt, "cli", lambda *given, **more: begun.append(time.time()) or cli(*given, **more))
    home.drop("a.ndjson", [event(timestamp="2024-03-01T10:00:00Z")])
    drop(home, "first", FIRST)
    home.build([MvDailyMetrics.key], first=DAYS[0], last=DAYS[2])
    newest = home.instance.get_runs(limit=1)[0]
    steps = {one.step_key: one for one in home.instance.get_run_step_stats(newest.run_id)}
    assert len(steps) > 1, "clean events and what else comes first"
    assert len(begun) == 1
    assert begun[0] < min(one.start_time or 0 for one in steps.values())
    assert home.rows(MvDailyMetrics)["orders"].to_list() == [2, 2, 2]


def test_a_command_uses_the_dbt_that_it_started_before_it_opened_dagster(
    home: Home, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.cli.building import _build

    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)  # which opening it sets
    drop(home, "first", FIRST)
    assert not _build([FctOrders.key], None, None)[0].failures
    assert [command[0] for command in started] == ["build"]
    assert set(home.rows(FctOrders)["order_date"]) == set(DAYS)
    assert starting._ahead == []


def test_what_waits_is_not_used_once_the_project_or_the_environment_changed(
    home: Home,
    copied: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with starting.dbt_ahead(), starting.dbt_ahead():
        (first,) = starting._ahead
        assert not first.fits("test")
        assert first.fits("build")
        monkeypatch.setenv("DATA_PLATFORM_SLICE_ROWS", "7")
        assert not first.fits("build")
        monkeypatch.delenv("DATA_PLATFORM_SLICE_ROWS")
        assert first.fits("build")
        (copied / "models/marts/dim_users.sql").write_text("select 1 as user_id")
        assert not first.fits("build")
        with contextlib.closing(starting.dbt_process("test")) as another:
            assert another is not first
    assert first.invocation.process.poll() is not None
    assert not first.folder.exists()
    assert starting._ahead == []


@pytest.mark.parametrize("seconds", [0.0, 5.0], ids=["while it imports", "while it waits"])
def test_a_dbt_that_waits_ends_with_who_started_it(home: Home, seconds: float) -> None:
    parent = home.start("-c", WAITING, "60")
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    time.sleep(seconds)
    assert is_running(int(pid))
    parent.kill()
    parent.wait()
    waited = time.monotonic()
    while is_running(int(pid)):
        assert time.monotonic() - waited < 30, "it would wait for ever"
        time.sleep(0.05)
    with starting.dbt_ahead():  # whoever starts one next clears up
        assert not Path(folder).exists()


def test_nobody_takes_it_and_it_ends(home: Home) -> None:
    parent = home.start("-c", WAITING, "1")
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    assert parent.wait(60) == 0
    assert not is_running(int(pid))
    assert not Path(folder).exists()


def test_a_project_of_others_is_plugged_in_by_a_setting(tmp_path: Path) -> None:
    shop = tmp_path / "jaffle"
    files = {
        "dbt_project.yml": "name: jaffle\nversion: '1.0.0'\nprofile: jaffle\nseed-paths: [seeds]\n",
        "profiles.yml": "jaffle:\n  target: dev\n  outputs:\n"
        f"    dev: {{type: duckdb, path: '{tmp_path}/jaffle.duckdb'}}\n",
        "seeds/raw_orders.csv": "id,customer,amount\n1,ann,5\n2,ben,7\n3,ann,1\n",
        "models/stg_orders.sql": "{{ config(materialized='view') }} select * from {{ ref('raw_orders') }}",
        "models/customers.sql": "{{ config(materialized='table', post_hook='create table hooked as select 1') }}"
        " select customer, sum(amount) as amount from {{ ref('stg_orders') }} group by 1",
        "models/tests.yml": "models: [{name: customers, columns: [{name: customer, data_tests: [unique, not_null]}]}]",
    }
    for name, text in files.items():
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_text(text)
    code = textwrap.dedent("""
        import json, warnings
        warnings.simplefilter("ignore")
        import dagster as dg
        from data_platform.definitions import defs
        keys = [key for key in defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] == "jaffle"]
        job = defs.resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            ran = job.execute_in_process(instance=instance, asset_selection=keys)
            written = sorted("/".join(e.asset_key.path) for e in ran.get_asset_materialization_events())
            checks = [e.passed for e in ran.get_asset_check_evaluations()]
        print(json.dumps([ran.success, written, checks]))
    """)
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env=Home(tmp_path / "home").environment(DATA_PLATFORM_DBT_PROJECTS=str(shop)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    success, written, checks = json.loads(done.stdout.strip().splitlines()[-1])
    assert success
    assert written == ["jaffle/customers", "jaffle/raw_orders", "jaffle/stg_orders"]
    assert checks == [True, True]
