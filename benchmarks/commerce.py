"""One more day of a shop late in a year: every dbt model with its tests, through Dagster, against the same SQL run by
DuckDB alone. Not here: made-up data (commerce_lake), our side (day_of_models), the reference (commerce_sql)."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench import START, Bench
from benchmarks.process import PROJECT, Follow, Measured, measure
from benchmarks.table import Row

DAYS, ORDERS, EVENTS = 365, 20_000, 500_000
DAY = str(START + dt.timedelta(DAYS - 1))
"""The last one: all before it are there."""
MOST_TIMES_DUCKDB = 2
MOST_START_SECONDS = 3
GROUP, ONE_MODEL = "commerce", "fct_orders"
TURNS = 2
"""The better of so many on either side."""
MAY_BE_EMPTY = {
    "commerce/payment_exceptions",
    "commerce/rejected_rows",
    "commerce/revenue_reconciliation_differences",
}


def commerce(bench: Bench) -> Iterator[Row]:
    home, results = made(bench), bench.fresh_folder()
    ours = built(bench, home, GROUP)
    given = given_to_duckdb(bench, home, results, GROUP)
    with_tests, models_alone = (by_hand(bench, home, given, tests) for tests in (True, False))
    rows = require_equal(home, results, GROUP, MAY_BE_EMPTY)
    size = f"{DAYS} days, {bench.scaled(ORDERS):,} orders and {bench.scaled(EVENTS):,} events a day"
    what = f"one more day of every dbt model with its tests, {size}; {rows:,} rows, all equal"
    yield from rows_of_a_day(what, ours, with_tests, models_alone, MOST_TIMES_DUCKDB)
    yield _start(bench, home)


def rows_of_a_day(
    what: str, ours: Measured, with_tests: Measured, models_alone: Measured, most: float
) -> Iterator[Row]:
    """A day of models through Dagster, against their SQL by hand with tests and without; `most` is the goal."""
    ratio = ours.seconds / with_tests.seconds
    yield Row(what, f"{ours.seconds:.1f} s", f"{with_tests.seconds:.1f} s", f"{ratio:.2f}", f"≤ {most}", ratio <= most)
    yield Row("… processor time", f"{ours.processor_seconds:.1f} s", f"{with_tests.processor_seconds:.1f} s",
              f"{ours.processor_seconds / with_tests.processor_seconds:.2f}")  # fmt: skip
    yield Row("… the models by hand without dbt's tests", f"{ours.seconds:.1f} s", f"{models_alone.seconds:.1f} s",
              f"{ours.seconds / models_alone.seconds:.2f}")  # fmt: skip
    for step, seconds in ours.result["steps"].items():
        yield Row(f"… ours: {step}", f"{seconds:.2f} s")


def _start(bench: Bench, home: Path) -> Row:
    """One step in a fresh process, beside dbt's own command: the model and the views it reads, without tests."""
    ours = built(bench, home, ONE_MODEL)
    options = ["--indirect-selection", "empty", "--select", ONE_MODEL, f"+{ONE_MODEL},config.materialized:view"]
    theirs = _best([_dbt(bench, home, "build", *options) for _ in range(TURNS)])
    more = ours.seconds - theirs.seconds
    return Row(
        f"one dbt step ({ONE_MODEL}) in a fresh process with Dagster, against `dbt build` of it",
        f"{ours.seconds:.1f} s",
        f"{theirs.seconds:.1f} s",
        f"{more:+.1f} s",
        f"≤ +{MOST_START_SECONDS} s",
        more <= MOST_START_SECONDS,
    )


def built(bench: Bench, home: Path, what: str, day: str = DAY) -> Measured:
    """A day of it, through Dagster."""
    return _best([bench.run(f"a day of {what}", "commerce_day", home, day=day, what=what) for _ in range(TURNS)])


def by_hand(bench: Bench, home: Path, given: dict[str, Any], tests: bool) -> Measured:
    title = "by hand, with tests" if tests else "by hand"
    return _best([bench.run(title, "commerce_by_hand", home, **given, tests=tests) for _ in range(TURNS)])


def given_to_duckdb(bench: Bench, home: Path, results: Path, group: str, day: str = DAY) -> dict[str, Any]:
    """What the reference of a group of tables is given: dbt's SQL, the files it may read, the day, where to write."""
    bench.run("list files", "commerce_files", home, day=day, to=f"{results}/files.json", group=group)
    _dbt(bench, home, "compile", "--target-path", str(results))
    today = str(dt.datetime.now(dt.UTC).date())
    given = {"manifest": f"{results}/manifest.json", "files": f"{results}/files.json", "to": str(results)}
    return given | {"day": day, "today": today, "group": group}


def _dbt(bench: Bench, home: Path, command: str, *options: str) -> Measured:
    """dbt's own command over the day."""
    folder = str(bench.fresh_folder())
    places = ["--project-dir", f"{PROJECT}/dbt", "--profiles-dir", f"{PROJECT}/dbt", "--log-path", folder]
    places += [] if "--target-path" in options else ["--target-path", folder]
    environment = {
        "DATA_PLATFORM_HOME": str(home),
        "DATA_PLATFORM_FIRST_DAY": str(START),
        "DATA_PLATFORM_DBT_FROM": DAY,
        "DATA_PLATFORM_DBT_TO": DAY,
    }
    with bench.following(f"dbt {command}"):
        return measure([str(Path(sys.executable).with_name("dbt")), command, *options, *places], environment)


def _best(runs: list[Measured]) -> Measured:
    return min(runs, key=lambda run: run.seconds)


def require_equal(home: Path, results: Path, group: str, may_be_empty: Collection[str], asked_day: str = DAY) -> int:
    """Rows of the day in all tables of a group. AssertionError when the reference's differ, or a table has none."""
    import polars as pl

    import data_platform.definitions  # noqa: F401  declares the contracts
    from data_platform.core.contract.table import contracts
    from data_platform.core.lake.store import Lake

    lake, day, rows = Lake(str(home / "lake")), dt.date.fromisoformat(asked_day), 0
    for table in (one for one in contracts().values() if one.kind == "dbt" and one.table_group() == group):
        bounds = (day, day) if table.partition else ()
        ours = lake.scan(table, *bounds).collect().sort(table.primary_key)
        theirs = pl.read_parquet(results / f"{table.table_name()}.parquet").select(list(table.columns))
        theirs = theirs.cast(table.schema()).sort(table.primary_key)  # type: ignore[arg-type]
        assert ours.equals(theirs, null_equal=True), f"{table.key} differs"
        assert len(ours) or table.key in may_be_empty, f"{table.key} has no rows"
        rows += len(ours)
    return rows


# ----------------------------------------------------------------------------- the data
def made(bench: Bench) -> Path:
    """A home whose lake holds the year, and the orders of all days before the last one computed; kept between runs."""
    orders, events = bench.scaled(ORDERS), bench.scaled(EVENTS)
    home = bench.folder / f"commerce-{orders}-orders-{events}-events-{DAYS}-days"
    if not (home / "made.json").exists():
        shutil.rmtree(home, ignore_errors=True)
        bench.run("make a shop", "commerce_lake", home, days=DAYS, orders=orders, events=events)
        (home / "made.json").write_text(json.dumps({"orders": orders, "events": events}))
    return home


def make(days: int, orders: int, events: int, tell: Follow) -> None:
    """The year as received, and through Dagster the facts of earlier days that the last one's models read."""
    from benchmarks.commerce_lake import fill
    from benchmarks.tasks import build
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.commerce.contracts.metrics import SETTLEMENT_DAYS

    dates = [START + dt.timedelta(day) for day in range(days)]
    fill(configured_lake(), dates, orders, events, tell)
    build(["commerce/fct_orders"], str(dates[0]), str(dates[-2]))
    build(["commerce/fct_payments"], str(dates[-1 - SETTLEMENT_DAYS]), str(dates[-2]))
