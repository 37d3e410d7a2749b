"""One class per table: what follows from it, what it refuses at import, and how rows are judged by it.
Not here: storing (test_lake), Dagster runs (test_pipeline)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from inspect import get_annotations
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.declarations import OPTIONS
from data_platform.core.contract.frames import conform
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.received import RejectedLines, RejectedRows
from data_platform.core.contract.table import (
    Days,
    FreshnessPolicy,
    JsonObject,
    Rule,
    Severity,
    Table,
    column,
    contract,
    contracts,
)
from data_platform.core.errors import PlatformError
from data_platform.core.orchestration.checks import asset_key, check_specs
from data_platform.core.quality import validation
from data_platform.core.quality.validation import Status, judge, pandera_model
from data_platform_tests.support.contracts import make_table, order
from data_platform_tests.support.homes import FIRST_DAY, all_tables

DAY = FIRST_DAY


def test_everything_follows_from_the_class() -> None:
    orders = make_table()
    assert contract("testing/orders") is orders
    assert (orders.table_group(), orders.table_name()) == ("testing", "orders")
    assert orders.table_description() == "Orders of a day."
    assert list(orders.schema()) == [
        "order_date", "order_id", "ordered_at", "paid_at", "amount", "status", "details", "tags",
    ]  # fmt: skip
    assert orders.schema()["amount"] == pl.Decimal(18, 2)
    assert orders.schema()["ordered_at"] == pl.Datetime("us", "UTC")
    assert orders.schema()["details"] == pl.String()
    assert (orders.columns["details"].is_json, orders.columns["status"].nullable) == (True, True)
    assert orders.columns["order_id"].table is orders
    assert str(orders.columns["order_id"]) == "order_id"
    assert [rule.name for rule in orders.rules()] == [
        "order_id_pattern", "order_id_not_empty", "amount_at_least_0", "amount_at_most_1000", "status_known",
        "paid_after_ordered", "round",
    ]  # fmt: skip
    assert orders.days(-29) == Days(orders, -29, 0)
    assert orders.until() == Days(orders, None, 0)
    assert orders.empty().schema == orders.schema()


def test_columns_are_inherited_and_know_their_own_table() -> None:
    orders = make_table()

    class Returns(orders):  # type: ignore[misc, valid-type]
        """Orders sent back."""

        key = "testing/returns"
        reason: str = column("Why.")

    assert next(iter(Returns.columns)) == "order_date"
    assert set(Returns.columns) == {*orders.columns, "reason"}
    assert Returns.columns["order_id"].table is Returns
    assert orders.columns["order_id"].table is orders


def test_the_version_changes_with_what_readers_depend_on() -> None:
    one = make_table()
    first = one.version()
    assert make_table().version() == first

    class Other(one):  # type: ignore[misc, valid-type]
        """Orders with one more column."""

        more: int | None = column("More.")

    assert Other.version() != first


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"__annotations__": {"a": str}, "a": column("A.")}, "docstring"),
        ({"__doc__": "T.", "__annotations__": {"a": str}}, "column"),
        ({"__doc__": "T.", "__annotations__": {"a": complex}, "a": column("A.")}, "column type"),
        ({"__doc__": "T.", "__annotations__": {"a": str}, "a": column("A."), "primary_key": ("b",)}, "no such column"),
        ({"__doc__": "T.", "__annotations__": {"a": str}, "a": column("A."), "partition": "a"}, "must be a date"),
        ({"__doc__": "T.", "__annotations__": {"rules": str}, "rules": column("A.")}, "belongs to the contract"),
    ],
)
def test_a_contract_that_contradicts_itself_fails_at_import(body: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("Broken", (Table,), {"key": "testing/broken", "primary_key": ("a",), "owner": "team:t"} | body)


DAILY: dict[str, Any] = {
    "__doc__": "T.",
    "__annotations__": {"day": dt.date, "a": str, "n": int, "j": JsonObject},
    "day": column("Day."),
    "a": column("A."),
    "n": column("N."),
    "j": column("J."),
    "partition": "day",
    "primary_key": ("day", "a"),
}
WHOLE: dict[str, Any] = {name: value for name, value in DAILY.items() if name != "partition"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"bitemporel": True}, "bitemporel is no option .* write bitemporal"),
        ({"b": column("B.")}, "b is no option .* annotate it as a column"),
        ({"bitemporal": 1}, "bitemporal is 1; write True or False"),
        ({"online": "yes"}, "online is 'yes'; write True or False"),
        ({"fresh": dt.timedelta(hours=1)}, "fresh is datetime.timedelta.*; write within"),
        ({**WHOLE, "partition": None, "bitemporal": True}, "set partition"),
        ({"primary_key": ("day",), "bitemporal": True}, "name it and another column in primary_key"),
        ({"primary_key": ("a", "n"), "bitemporal": True}, "set partition, and name it"),
        ({"__annotations__": DAILY["__annotations__"] | {"a": str | None}, "bitemporal": True}, "a may be null"),
        ({"bitemporal": True, "journal": True}, "take out bitemporal or journal"),
        (
            {"__annotations__": DAILY["__annotations__"] | {"existed": bool}, "existed": column("E."),
             "bitemporal": True},
            "columns of its own called existed",
        ),
        ({"__annotations__": DAILY["__annotations__"] | {"day": dt.date | None}}, "must be a date, never null"),
        ({"primary_key": "a"}, "primary_key is 'a'; write a tuple"),
        ({"primary_key": ()}, "primary_key is empty"),
        ({"primary_key": ("a", "a")}, "names a column twice"),
        ({"key": "broken"}, "write group/table"),
        ({"identity": "b"}, "identity b must be a column"),
        ({"partition": None, "identity": "a"}, "of a table with days"),
        ({"partition": None, "ttl": dt.timedelta(days=1)}, "set partition or take ttl out"),
        ({"ttl": dt.timedelta(0)}, "ttl is 0:00:00; write a length of time above 0"),
        ({"ttl": 30}, "ttl is 30; write a timedelta"),
        ({"retention": dt.timedelta(hours=30)}, "retention is told in days"),
        ({"fresh": FreshnessPolicy(dt.timedelta(hours=1), dt.timedelta(hours=2))}, "write 0 < warn < fail"),
        ({"profiled_by": {"j": "b"}}, "profiled_by j: b"),
        ({"profiled_by": {"a": "n"}}, "of type JsonObject"),
        ({"row_rules": (Rule("n_at_least_0", "N.", pl.col("n") >= 0),), "n": column("N.", ge=0)}, "two rules"),
        ({"n": column("N.", ge="0")}, "ge is '0', which is no bound of a column of type Int64"),
        ({"n": column("N.", le=0.5)}, "le is 0.5"),
        ({"n": column("N.", ge=2, le=1)}, "no value would do"),
        ({"n": column("N.", isin=("1",))}, "name values of type Int64"),
        ({"a": column("A.", isin=())}, "isin has no values"),
        ({"n": column("N.", pattern="x")}, "are for text"),
        ({"n": column("N.", min_length=1)}, "are for text"),
        ({"a": column("A.", min_length=0)}, "write 1 or more"),
        ({"a": column("A.", pattern="(?=x)")}, "regular expressions"),
        ({"a": column("A.", references=column("B."))}, "written Table.column"),
        ({"a": column("A.", derived_from=["b"])}, "columns of other contracts"),
    ],
)  # fmt: skip
def test_an_option_that_nothing_would_heed_is_refused_with_what_to_write(body: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("Broken", (Table,), {"key": "testing/broken", "owner": "team:t", **DAILY, **body})


def test_every_option_of_a_contract_is_looked_at() -> None:
    """One that is missing in OPTIONS may be given any value, and a near miss of its name is not told of."""
    assert set(get_annotations(Table)) - {"columns"} == set(OPTIONS)


def test_a_reference_has_the_type_of_what_it_refers_to() -> None:
    referring = {"n": column("N.", references=make_table().order_id)}  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"references testing/orders\.order_id of type String, not Int64"):
        type("Broken", (Table,), {"key": "testing/broken", "owner": "team:t", **DAILY, **referring})


def test_every_rule_of_the_platform_can_be_asked_of_its_table() -> None:
    for table in all_tables():
        asked = table.empty().select(rule.holds.alias(rule.name) for rule in table.rules())
        assert set(asked.dtypes) <= {pl.Boolean()}, table.key


@pytest.mark.parametrize(
    ("change", "rule", "severity"),
    [
        ({"order_id": "x-1"}, "order_id_pattern", Severity.ERROR),
        ({"order_id": "o"}, "order_id_not_empty", Severity.ERROR),
        ({"order_id": None}, "order_id_not_null", Severity.ERROR),
        ({"amount": Decimal(-1)}, "amount_at_least_0", Severity.ERROR),
        ({"amount": Decimal(1001)}, "amount_at_most_1000", Severity.ERROR),
        ({"amount": None}, "amount_not_null", Severity.ERROR),
        ({"paid_at": dt.datetime(2023, 1, 1, tzinfo=dt.UTC)}, "paid_after_ordered", Severity.ERROR),
        ({"status": "gone"}, "status_known", Severity.WARNING),
        ({"amount": Decimal("1.50")}, "round", Severity.WARNING),
    ],
)
def test_each_rule_finds_its_row(change: dict[str, Any], rule: str, severity: Severity) -> None:
    orders = make_table()
    frame = pl.DataFrame([order(), order(order_id="o-2") | change], schema=orders.schema())
    verdicts = judge(orders, frame, [str(DAY)])
    assert [(v.rule, v.severity, v.failed_rows, v.rows) for v in verdicts.failures] == [(rule, severity, 1, 2)]
    assert verdicts.blocked() == ({str(DAY)} if severity == Severity.ERROR else set())


def test_a_good_frame_passes_and_nulls_are_judged_by_nullability_alone() -> None:
    orders = make_table()
    frame = pl.DataFrame([order(status=None, details=None, paid_at=None)], schema=orders.schema())
    assert judge(orders, frame, [str(DAY)]).failures == []


def test_a_key_that_occurs_twice_is_found_per_partition() -> None:
    orders = make_table()
    later = DAY + dt.timedelta(1)
    frame = pl.DataFrame([order(), order(order_date=later), order(order_date=later)], schema=orders.schema())
    found = judge(orders, frame, [str(DAY), str(later)])
    assert [(v.rule, v.partition, v.failed_rows) for v in found.failures] == [("primary_key_unique", str(later), 2)]


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "order_id": st.sampled_from(["o-1", "o-2", "o-3", "x-4", "o", None]),
                "amount": st.sampled_from([Decimal("-1"), Decimal("0.50"), Decimal("1000.01"), None]),
                "status": st.sampled_from(["paid", "lost", None]),
                "ordered_at": st.sampled_from([dt.datetime(2024, 1, 2, tzinfo=dt.UTC), None]),
                "paid_at": st.just(dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)),
            },
        ),
        max_size=4,
    )
)
def test_rules_asked_together_miss_nothing_that_pandera_finds(rows: list[dict[str, Any]]) -> None:
    orders = make_table()
    frame = pl.DataFrame([order(**row) for row in rows], schema=orders.schema())
    together = judge(orders, frame, [str(DAY)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(validation, "_may_fail", lambda *_: list(Severity))
        one_by_one = judge(orders, frame, [str(DAY)])
    assert together.failures == one_by_one.failures


def test_an_empty_frame_is_judged_for_every_partition() -> None:
    found = judge(make_table(), make_table().empty(), [str(DAY)])
    assert (found.rows, found.failures) == ({str(DAY): 0}, [])


def test_a_rule_that_crashes_is_no_bad_data() -> None:
    class Crashing(Table):
        """Has a rule over a column that is not there."""

        key = "testing/crashing"
        primary_key = ("a",)
        owner = "team:testing"
        row_rules = (Rule("crash", "crashes", pl.col("not_there") > 0),)

        a: int = column("A.")

    found = judge(Crashing, pl.DataFrame({"a": [1]}), [])
    (verdict,) = found.failures
    assert (verdict.rule, verdict.status, verdict.failed_rows) == ("crash", Status.ERRORED, 0)
    assert "not_there" in (verdict.message or "")
    assert found.blocked() == {""}, "what could not be judged is not published"


def test_pandera_lets_bad_values_of_lazy_frames_pass() -> None:
    """The reason why frames are collected before they are judged. If this fails, Pandera has changed."""
    orders = make_table()
    bad = pl.DataFrame([order(amount=Decimal(-1))], schema=orders.schema())
    pandera_model(orders, Severity.ERROR).validate(bad.lazy()).collect()
    assert judge(orders, bad, [str(DAY)]).blocked()


def test_conform_is_strict() -> None:
    orders = make_table()
    frame = pl.DataFrame([order()], schema=orders.schema())
    extra = frame.select(pl.lit(1).alias("more"), pl.col(reversed(frame.columns)))
    assert conform(orders, extra.lazy()).collect().equals(frame)
    with pytest.raises(pl.exceptions.InvalidOperationError):
        conform(orders, frame.with_columns(order_date=pl.lit("no date")).lazy()).collect()


def test_missing_columns_are_reported_with_a_remedy() -> None:
    orders = make_table()
    with pytest.raises(PlatformError) as raised:
        judge(orders, orders.empty().drop("status"), [])
    assert "status is missing" in raised.value.problem
    assert "Orders" in raised.value.remedy


# ------------------------------------------------------------------------- the platform's own
def test_every_table_of_the_platform_is_described() -> None:
    tables = all_tables()
    assert {table.key for table in tables} >= {
        "raw/player_events", "raw/player_events_rejected", "raw/ingestion_ledger", "clean/player_events",
        "clean/player_events_rejected", "clean/players", "clean/campaigns", "clean/campaign_participants",
        "gameplay/player_session_days", "gameplay/player_sessions", "gameplay/player_daily_activity",
        "gameplay/player_engagement_metrics", "gameplay/campaign_metrics", "gameplay/player_retention",
        "gameplay/daily_metrics", "features/player_engagement_features", "features/player_campaign_features",
        "features/player_churn_features",
    }  # fmt: skip
    for table in tables:
        assert len(table.table_description()) > 20, table.key
        assert table.owner.startswith("team:"), table.key
        for one in table.columns.values():
            assert one.description.strip(), f"{table.key}.{one.name}"


def test_every_table_is_an_asset_with_its_contract() -> None:
    from data_platform.definitions import defs

    graph = defs.resolve_asset_graph()
    assert {"/".join(key.path) for key in graph.get_all_asset_keys()} == set(contracts())
    for table in all_tables():
        node = graph.get(asset_key(table))
        assert node.owners == [table.owner]
        assert node.group_name == table.table_group()
        assert node.description == table.table_description()
        assert (node.partitions_def is not None) == (table.partition is not None), table.key
        schema = node.metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchemaMetadataValue | dg.TableSchema)
        columns = schema.columns if isinstance(schema, dg.TableSchema) else schema.schema.columns
        assert [c.name for c in columns] == list(table.columns)
        assert {asset_key(needed.table) for needed in inputs_of(table)} <= node.parent_keys
        if table.table_group() != "raw":
            wanted = {spec.key for spec in check_specs(table)}
            assert wanted <= graph.asset_check_keys, table.key


def test_lineage_of_columns_leads_to_columns_that_exist() -> None:
    from data_platform.definitions import defs

    graph = defs.resolve_asset_graph()
    for table in all_tables():
        lineage = graph.get(asset_key(table)).metadata["dagster/column_lineage"]
        found = lineage if isinstance(lineage, dg.TableColumnLineage) else lineage.value
        for name, origins in found.deps_by_column.items():
            assert name in table.columns
            for origin in origins:
                assert origin.column_name in contract("/".join(origin.asset_key.path)).columns


def test_every_rejected_table_can_be_replayed() -> None:
    """It holds the row verbatim, a reason, and where it came from."""
    for table in all_tables():
        if "rejected" in table.key:
            assert issubclass(table, RejectedLines | RejectedRows)
            assert {"reason"} | ({"line", "source_file"} if issubclass(table, RejectedLines) else {"row"}) <= set(
                table.columns
            )
