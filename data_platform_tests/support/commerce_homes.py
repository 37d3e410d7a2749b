"""Lines as change capture, Stripe and SendGrid deliver them, and dbt tables computed without Dagster.
Not here: any assertion about the platform."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import io
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

import data_platform.domains.commerce.assets  # noqa: F401  declares what each table is computed from
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.orchestration.publication import Publication
from data_platform.core.quality.validation import Verdict
from data_platform.core.scratch import scratch_folder
from data_platform.operations.staleness import days_downstream, in_build_order
from data_platform.warehouse import manifest, running
from data_platform.warehouse.exchange import Handover, handed_over
from data_platform.warehouse.models import tests_by_hand
from data_platform_tests.support.homes import Home, Row

TODAY = dt.date(2024, 6, 1)
"""Long after the days of these tests: all of them are closed."""


def moment(text: str) -> str:
    """`2024-03-01 10:00` as the timestamps of lines."""
    return f"{text.replace(' ', 'T')}:00Z" if len(text) == 16 else f"{text.replace(' ', 'T')}Z"


def epoch(text: str) -> int:
    return int(dt.datetime.fromisoformat(moment(text)).timestamp())


def user(user_id: str, at: str, operation: str = "insert", **changes: object) -> Row:
    made: Row = {"user_id": user_id, "email": f"{user_id}@example.org", "country": "DE", "plan": "free"}
    return {
        **made,
        "registered_at": "2024-01-01T00:00:00Z",
        "operation": operation,
        "changed_at": moment(at),
        **changes,
    }


def product(product_id: str, at: str, price: str = "5.00", operation: str = "insert", **changes: object) -> Row:
    made: Row = {"product_id": product_id, "name": product_id.title(), "category": "gems", "list_price": price}
    return {**made, "currency": "USD", "operation": operation, "changed_at": moment(at), **changes}


def order(order_id: str, at: str, amount: str = "10.00", status: str = "paid", **changes: object) -> Row:
    made: Row = {"order_id": order_id, "user_id": "u-1", "order_type": "sale", "status": status, "currency": "USD"}
    made |= {"total_amount": amount, "ordered_at": moment(at), "operation": "insert", "changed_at": moment(at)}
    return {**made, **changes}


def item(item_id: str, order_id: str, at: str, price: str = "10.00", quantity: int = 1, **changes: object) -> Row:
    made: Row = {"order_item_id": item_id, "order_id": order_id, "product_id": "gem", "quantity": quantity}
    made |= {"unit_price": price, "currency": "USD", "ordered_at": moment(at), "operation": "insert"}
    return {**made, "changed_at": moment(at), **changes}


def envelope(object_id: str, at: str, payload: Row, observed: str | None = None) -> Row:
    return {
        "object_id": object_id,
        "created_at": moment(at),
        "observed_at": moment(observed or at),
        "payload": {"id": object_id, "created": epoch(at), **payload},
    }


def charge(charge_id: str, order_id: str, at: str, amount: int, currency: str = "usd", status: str = "succeeded",
           observed: str | None = None) -> Row:  # fmt: skip
    fields: Row = {"object": "charge", "amount": amount, "currency": currency, "status": status}
    return envelope(charge_id, at, {**fields, "metadata": {"order_id": order_id}}, observed)


def refund(refund_id: str, order_id: str, at: str, amount: int, currency: str = "usd", charge_id: str = "ch-1",
           status: str = "succeeded", observed: str | None = None) -> Row:  # fmt: skip
    fields: Row = {"object": "refund", "amount": amount, "currency": currency, "status": status, "charge": charge_id}
    return envelope(refund_id, at, {**fields, "metadata": {"order_id": order_id}}, observed)


def payout(payout_id: str, at: str, *moved: tuple[str, str, int], currency: str = "usd") -> Row:
    """`moved`: (type, id of the charge or refund, amount in minor units as it changes the balance)."""
    data = [
        {"id": f"txn-{payout_id}-{n}", "type": kind, "source": source, "amount": amount, "fee": 0, "net": amount,
         "currency": currency}
        for n, (kind, source, amount) in enumerate(moved)
    ]  # fmt: skip
    total = sum(amount for _, _, amount in moved)
    fields: Row = {"object": "payout", "amount": total, "currency": currency, "status": "paid"}
    return envelope(payout_id, at, {**fields, "balance_transactions": {"object": "list", "data": data}})


def email(event_id: str, user_id: str | None, at: str, event: str) -> Row:
    fields: Row = {"email": "x@example.org", "timestamp": epoch(at), "event": event, "sg_event_id": event_id}
    return envelope(event_id, at, fields | ({"user_id": user_id} if user_id else {}))


def drop(home: Home, name: str, folders: Mapping[str, Iterable[Row]]) -> None:
    for folder, lines in folders.items():
        home.drop(f"{name}.ndjson", list(lines), folder)


def receive(home: Home, name: str, folders: Mapping[str, Iterable[Row]]) -> dict[type[Table], set[str]]:
    """Land and ingest lines; per raw table the days that were written."""
    drop(home, name, folders)
    written: dict[type[Table], set[str]] = {}
    for result in home.ingest():
        written.setdefault(result.source.table, set()).update(map(str, result.days))
    return written


def compute_and_publish(home: Home, table: type[Table], days: Sequence[dt.date], today: dt.date = TODAY) -> Publication:
    """What the step of a table does, without Dagster."""
    publication = Publication(table)
    with handed_over_by_dbt(home, table, days, today) as (folder, handover):
        publication.failed = {day: PlatformError(why, "") for day, why in handover.failed.items()}
        for one in handover.slices:
            names = {str(day) for day in one.days} or {""}
            found = [verdict for verdict in handover.verdicts if verdict.partition in names]
            publication.publish(home.lake, [one.rows(folder)], one.days, "test", found)
    return publication


def verdicts_of_dbt(home: Home, table: type[Table], days: Sequence[dt.date], today: dt.date = TODAY) -> list[Verdict]:
    """What the tests written by hand say of the days, which are computed and not published."""
    with handed_over_by_dbt(home, table, days, today) as (_, handover):
        return list(handover.verdicts)


@contextlib.contextmanager
def handed_over_by_dbt(
    home: Home, table: type[Table], days: Sequence[dt.date], today: dt.date
) -> Iterator[tuple[Path, Handover]]:
    """dbt as a step starts it, but in this process: 0.5 s instead of 3."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    nodes = manifest.manifest(manifest.PROJECT)["nodes"]
    model = manifest.lake_models(nodes)[table.key]
    tests = tests_by_hand([table])
    ids = [model, *tests[table.key].values()]
    chosen = [*ids, *running.tables_of_the_run(nodes, ids)]
    with scratch_folder("data-platform-dbt-test-") as folder:
        dataclasses.replace(running.plan_for(home.lake, {table: days}, tests), today=str(today)).write(folder)
        places = ["--project-dir", str(manifest.PROJECT), "--profiles-dir", str(manifest.PROJECT)]
        places += ["--target-path", str(folder), "--log-path", str(folder), "--quiet", "--log-level-file", "none"]
        names = [running.selector(nodes[unique_id]) for unique_id in chosen]
        before = os.environ.get("DBT_TARGET_PATH")
        os.environ["DBT_TARGET_PATH"] = str(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                dbt = dbtRunner(manifest=_parsed(manifest.PROJECT, manifest.digest(manifest.PROJECT)))
                ended = dbt.invoke(["build", *places, "--indirect-selection", "empty", "--select", " ".join(names)])
        finally:
            DuckDBConnectionManager.close_all_connections()
            del os.environ["DBT_TARGET_PATH"]
            if before is not None:
                os.environ["DBT_TARGET_PATH"] = before
        found = handed_over(folder)
        if not found:
            raise AssertionError(f"dbt: {ended.exception or said.getvalue()[-2000:]}")
        (handover,) = found
        if handover.error is not None:
            raise handover.error
        yield folder, handover


@functools.lru_cache(maxsize=4)
def _parsed(project: Path, digest: str) -> Any:
    from dbt.cli.main import dbtRunner

    with scratch_folder("data-platform-dbt-test-") as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        places = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(folder)]
        ended = dbtRunner().invoke(["parse", *places, "--log-path", str(folder), "--log-level-file", "none"])
        assert ended.success, ended.exception or said.getvalue()[-2000:]
        return ended.result


def bring_up_to_date(
    home: Home, written: Mapping[type[Table], Collection[str]], tables: Sequence[type[Table]], days: Iterable[dt.date]
) -> dict[str, list[str]]:
    """Compute exactly the days of the tables that depend on what was written; per table the days."""
    existing = {str(day) for day in days}
    reached = days_downstream(written, tables, existing)
    done: dict[str, list[str]] = {}
    for table in in_build_order(tables):
        dirty = sorted(reached.get(table, set()) & existing) if table.partition else []
        if table.partition:
            for _, run in groupby(enumerate(dirty), lambda one: dt.date.fromisoformat(one[1]).toordinal() - one[0]):
                compute_and_publish(home, table, [dt.date.fromisoformat(day) for _, day in run])
        elif table in reached:
            compute_and_publish(home, table, [])
        done[table.key] = dirty
    return done


def contents(home: Home, tables: Iterable[type[Table]]) -> dict[str, pl.DataFrame]:
    return {table.key: home.rows(table).sort(table.primary_key) for table in tables}
