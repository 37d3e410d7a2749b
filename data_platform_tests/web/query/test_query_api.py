"""What the query API answers: sums against a naive oracle, formats, wrong names, versions.
Not here: who sees whose rows (test_tenancy)."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest

from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.costs import TenantDailyCosts, UsageCosts
from data_platform.domains.metering.contracts.rollups import TenantDays, TenantModelMonths
from data_platform.domains.metering.queries import QUERIES
from data_platform.web.query.access import Access
from data_platform.web.query.application import QueryApi
from data_platform_tests.support.tenants import (
    DAYS,
    OPERATOR,
    TENANTS,
    Asking,
    asking,
    bearer,
    daily_rows,
    fill,
    rows_of,
    token_of,
    tokens_file,
)  # fmt: skip

PERIOD = {"from": str(DAYS[0]), "to": str(DAYS[-1])}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(str(tmp_path_factory.mktemp("lake")))
    fill(made)
    return made


@pytest.fixture(scope="module")
def api(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    access = Access(tokens_file(tmp_path_factory.mktemp("tokens")), open_here=True)
    with asking(QueryApi(QUERIES, lake, access)) as one:
        yield one


def rows(api: Asking, path: str, **asked: Any) -> list[dict[str, Any]]:
    answer = api.get(path, urlencode(PERIOD | asked, doseq=True), bearer(OPERATOR))
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = json.loads(answer.body)["rows"]
    return found


def naive(group_by: list[str], measures: list[str], chosen: Any) -> list[dict[str, Any]]:
    """One row at a time, Decimal, no query engine."""

    def key(row: dict[str, Any]) -> tuple[str, ...]:
        times = {"day": str(row["usage_date"]), "month": str(row["usage_date"].replace(day=1))}
        return tuple(times.get(name, row.get(name)) for name in group_by)

    every = sorted((row for day in DAYS for row in daily_rows(day) if chosen(row)), key=key)
    found = []
    for values, of_group in groupby(every, key=key):
        listed = list(of_group)
        sums = {name: sum(row[name] for row in listed) for name in measures}
        if "cost" in sums:
            sums["cost"] = _text(sums["cost"]) if listed[0]["currency"] else None
        found.append(dict(zip(group_by, values, strict=True)) | sums)
    return found


def _text(amount: Decimal) -> str:
    return f"{amount:f}".rstrip("0").rstrip(".") if "." in f"{amount:f}" else f"{amount:f}"


def test_sums_equal_a_naive_oracle_whatever_is_asked(api: Asking) -> None:
    chance = random.Random(7)
    names = ["tenant_id", "project_id", "feature", "model", "user_id", "provider", "day", "month", "currency"]
    for _ in range(60):
        group_by = chance.sample(names, chance.randint(1, 4))
        measures = chance.sample(["cost", "calls", "total_tokens", "unpriced_calls"], chance.randint(1, 3))
        tenants = chance.sample(TENANTS, chance.randint(1, 3)) if chance.random() < 0.5 else list(TENANTS)
        first, last = sorted(chance.choices(DAYS, k=2))
        asked = {"group_by": ",".join(group_by), "measures": ",".join(measures), "tenant_id": tenants,
                 "from": first, "to": last}  # fmt: skip
        found = rows(api, "/v1/costs", **asked, limit=10_000)
        keys = [*group_by, *(["currency"] if "cost" in measures and "currency" not in group_by else [])]
        days = [day for day in DAYS if first <= day <= last]
        wanted = naive(
            keys, measures, lambda row, of=tenants, days=days: row["tenant_id"] in of and row["usage_date"] in days
        )
        assert sorted(found, key=json.dumps) == sorted(wanted, key=json.dumps)


def test_money_is_exact_and_null_where_nobody_knows_it(api: Asking) -> None:
    found = rows(api, "/v1/costs", tenant_id="acme", measures="cost,unpriced_calls")
    by_currency = {row["currency"]: row for row in found}
    assert by_currency["USD"]["cost"] == _text(
        sum(
            (
                row["cost"]
                for d in DAYS
                for row in daily_rows(d)
                if (row["tenant_id"], row["currency"]) == ("acme", "USD")
            ),
            Decimal(0),
        )
    )
    assert by_currency[""] == {"currency": "", "cost": None, "unpriced_calls": 4}


def test_rows_come_in_the_order_asked_for_and_no_more_than_asked_for(api: Asking) -> None:
    asked = urlencode({**PERIOD, "group_by": "tenant_id", "measures": "calls", "limit": 3})
    answer = json.loads(api.get("/v1/usage", asked, bearer(OPERATOR)).body)
    assert [row["tenant_id"] for row in answer["rows"]] == list(TENANTS[:-4:-1]), "the greatest first"
    assert answer["truncated"] is True
    days = rows(api, "/v1/usage", group_by="day", measures="calls")
    assert [row["day"] for row in days] == [str(day) for day in DAYS]
    of_all = rows(api, "/v1/usage", group_by="tenant_id", measures="calls")
    pages = [
        rows(api, "/v1/usage", group_by="tenant_id", measures="calls", limit=2, offset=at) for at in range(0, 99, 2)
    ]
    assert [row for page in pages for row in page] == of_all
    assert [len(page) for page in pages[:2]] == [2, 2]
    upwards = rows(api, "/v1/usage", group_by="tenant_id", measures="calls", order="calls", limit=2)
    assert [row["tenant_id"] for row in upwards] == list(TENANTS[:2])


def test_every_format_says_the_same(api: Asking) -> None:
    asked = urlencode({**PERIOD, "group_by": "tenant_id,model", "measures": "cost,calls"})
    said = {}
    for name, accept in [("json", "application/json"), ("csv", "text/csv"),
                         ("parquet", "application/vnd.apache.parquet"),
                         ("arrow", "application/vnd.apache.arrow.stream")]:  # fmt: skip
        by_name = api.get("/v1/costs", f"{asked}&format={name}", bearer(OPERATOR))
        by_header = api.get("/v1/costs", asked, bearer(OPERATOR) | {"accept": f"{accept};q=0.9, */*"})
        assert by_header.body == by_name.body
        assert by_name.headers["content-type"] == accept
        said[name] = by_name.body
    exact = pl.read_parquet(io.BytesIO(said["parquet"]))
    assert exact.schema["cost"] == pl.Decimal(38, 18)
    assert exact.equals(pl.read_ipc_stream(io.BytesIO(said["arrow"])))
    text = [_text(cost) if cost is not None else None for cost in exact["cost"]]
    assert [row["cost"] for row in json.loads(said["json"])["rows"]] == text
    in_csv = pl.read_csv(io.BytesIO(said["csv"]), infer_schema=False)
    assert in_csv["cost"].to_list() == text
    assert api.get("/v1/costs", asked, bearer(OPERATOR) | {"accept": "image/png"}).status == 406


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ({"group_by": "modle"}, ["model"]),
        ({"measures": "cots"}, ["cost"]),
        ({"tenent_id": "acme"}, ["tenant_id", "project_id", "user_id"]),
        ({"order": "-cosst"}, ["cost"]),
        ({"format": "parket"}, ["parquet"]),
    ],
)
def test_a_wrong_name_is_told_what_it_looks_like(api: Asking, asked: dict[str, str], near: list[str]) -> None:
    answer = api.get("/v1/costs", urlencode(asked), bearer(OPERATOR))
    document = json.loads(answer.body)
    assert (answer.status, document["near_misses"]) == (422, near)


@pytest.mark.parametrize(
    "asked",
    ["from=2024-13-01", "month=2024", "from=2024-02-01&to=2024-01-01", "month=2024-01&from=2024-01-01", "limit=0",
     "limit=99999999999", "limit=１", "from=٢٠٢٤-01-01", "from=0001-01-01", "to=9999-12-31", "group_by=hour,user_id",
     "offset=-1", "offset=1e3", "limit=5&limit=6", "tenant_id=%FF", f"tenant_id={'x' * 600}"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_reason(api: Asking, asked: str) -> None:
    answer = api.get("/v1/costs", asked, bearer(OPERATOR))
    assert answer.status in (400, 422), answer.body
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_answer_names_its_commits_and_is_not_sent_twice(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    fill(lake)
    with asking(QueryApi(QUERIES, lake, Access(None, open_here=True))) as api:
        first = api.get("/v1/costs", urlencode(PERIOD))
        assert json.loads(first.body)["as_of"] == {TenantDays.key: lake.version(TenantDays)}
        again = api.get("/v1/costs", urlencode(PERIOD), {"if-none-match": first.headers["etag"]})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        other = api.get("/v1/costs", urlencode(PERIOD | {"format": "csv"}))
        assert other.headers["etag"] != first.headers["etag"]
    fill(lake, DAYS[:1])
    with asking(QueryApi(QUERIES, lake, Access(None, open_here=True))) as api:
        assert api.get("/v1/costs", urlencode(PERIOD), {"if-none-match": first.headers["etag"]}).status == 200


def test_the_cheapest_table_that_can_answer_is_asked(api: Asking) -> None:
    def table(**asked: str) -> list[str]:
        answer = api.get("/v1/costs", urlencode(PERIOD | asked), bearer(OPERATOR))
        return list(json.loads(answer.body)["as_of"])

    assert table(group_by="model") == ["metering/tenant_model_days"]
    assert table(group_by="model", to="2024-02-02") == ["metering/tenant_model_days"], "not a whole month"
    assert table(group_by="day", to="2024-02-02") == [TenantDays.key]
    assert table(group_by="feature,project_id") == ["metering/tenant_feature_days"]
    assert table(group_by="user_id") == [TenantDailyCosts.key]
    assert table(group_by="hour") == ["metering/tenant_hourly_costs"]


def test_whole_months_are_read_from_tables_by_month(api: Asking) -> None:
    january = urlencode({"month": "2024-01", "group_by": "month,tenant_id"})
    by_month = json.loads(api.get("/v1/costs", january, bearer(OPERATOR)).body)
    assert list(by_month["as_of"]) == [TenantModelMonths.key]
    by_days = urlencode({"from": "2023-12-31", "to": "2024-01-31", "group_by": "month,tenant_id"})
    assert json.loads(api.get("/v1/costs", by_days, bearer(OPERATOR)).body)["rows"] == by_month["rows"] != []


def test_days_within_months_are_read_from_a_table_by_month(lake: Lake, tmp_path: Path) -> None:
    alone = Lake(str(tmp_path))
    months = [DAYS[0].replace(day=1), DAYS[-1].replace(day=1)]
    alone.replace(TenantDays, lake.scan(TenantDays).collect(), months)
    asked = urlencode(
        {"from": DAYS[1], "to": DAYS[2], "group_by": "day,month", "measures": "calls", "tenant_id": "acme"}
    )
    with asking(QueryApi(QUERIES, alone, Access(None, open_here=True))) as api:
        found = json.loads(api.get("/v1/costs", asked).body)["rows"]
    calls = {day: sum(row["calls"] for row in daily_rows(day) if row["tenant_id"] == "acme") for day in DAYS[1:3]}
    assert found == [{"day": str(d), "month": str(d.replace(day=1)), "calls": n} for d, n in calls.items()]


def test_users_and_percentiles_stand_beside_sums(api: Asking) -> None:
    asked = {"group_by": "tenant_id", "measures": "calls,users,p50_tokens,p95_tokens", "tenant_id": "acme"}
    for period in (PERIOD, {"from": "2024-01-01", "to": "2024-02-29"}):
        answer = json.loads(api.get("/v1/usage", urlencode(asked | period), bearer(OPERATOR)).body)
        (row,) = answer["rows"]
        # 60 calls, 16 of them (m3) with four times the tokens.
        assert row == {"tenant_id": "acme", "calls": 60, "users": 2, "p50_tokens": 981, "p95_tokens": 3922}
        assert ("metering/tenant_user_months" in answer["as_of"]) == ("2024-01-01" in period.values())
    everybody = api.get("/v1/usage", urlencode(PERIOD | {"measures": "users"}), bearer(OPERATOR))
    assert json.loads(everybody.body)["rows"] == [{"users": 2 * len(TENANTS)}], "of two tenants they are two"
    refused = api.get("/v1/usage", urlencode(PERIOD | {"measures": "users", "group_by": "hour"}), bearer(OPERATOR))
    assert json.loads(refused.body)["detail"] == "No table has users by hour."


def test_an_export_has_all_rows_in_every_format(api: Asking, lake: Lake) -> None:
    wanted = lake.scan(UsageCosts).filter(pl.col("tenant_id") == "acme").collect().sort("usage_date", "usage_id")
    for name in ("csv", "ndjson", "parquet", "arrow"):
        answer = api.get(
            "/v1/costs/export", urlencode(PERIOD | {"format": name, "tenant_id": "acme"}), bearer(OPERATOR)
        )
        assert answer.status == 200
        assert f"costs-{DAYS[0]}-{DAYS[-1]}.{name}" in answer.headers["content-disposition"]
        body = io.BytesIO(answer.body)
        if name in ("csv", "ndjson"):
            lines = answer.body.decode().splitlines()
            assert len(lines) - (name == "csv") == len(wanted)
        else:
            found = pl.read_parquet(body) if name == "parquet" else pl.read_ipc_stream(body)
            assert found.sort("usage_date", "usage_id").equals(wanted)
    empty = api.get("/v1/costs/export", "month=1999-01&format=parquet", bearer(OPERATOR))
    assert pl.read_parquet(io.BytesIO(empty.body)).schema == wanted.schema


def test_a_month_is_stated_as_focus_for_who_asks(api: Asking) -> None:
    """January, which is closed, is its bill; February is what the tables say."""

    def billed(month: str, headers: dict[str, str], query: str = "") -> tuple[set[str], Decimal]:
        answer = api.get("/v1/costs/focus", f"month={month}&format=parquet{query}", headers)
        found = pl.read_parquet(io.BytesIO(answer.body))
        assert f"focus-{month}.parquet" in answer.headers["content-disposition"]
        return set(found["SubAccountId"]), found["BilledCost"].sum()

    for month, days in (("2024-01", DAYS[:2]), ("2024-02", DAYS[2:])):
        rows = [row for day in days for row in daily_rows(day)]
        own = sum((row["cost"] for row in rows if row["tenant_id"] == "acme"), Decimal(0))
        assert billed(month, bearer(token_of("acme"))) == ({"acme"}, own)
        assert billed(month, bearer(OPERATOR), "&tenant_id=acme") == ({"acme"}, own)
        assert billed(month, bearer(OPERATOR)) == ({*TENANTS}, sum((row["cost"] for row in rows), Decimal(0)))
    csv = api.get("/v1/costs/focus", "month=2024-01&format=csv", bearer(token_of("acme"))).body.decode()
    assert csv.startswith("BilledCost,EffectiveCost,")
    assert api.get("/v1/costs/focus", "", bearer(OPERATOR)).status == 422
    assert api.get("/v1/costs/focus", "month=2024-01&tenant_id=ACME", bearer(token_of("acme"))).status == 403


def test_what_a_spreadsheet_would_compute_is_written_as_text(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    row = daily_rows(DAYS[0])[0] | {"project_id": "=HYPERLINK(1)"}
    lake.replace(TenantDailyCosts, rows_of(TenantDailyCosts, [row]), [DAYS[0]])
    with asking(QueryApi(QUERIES, lake, Access(None, open_here=True))) as api:
        text = api.get("/v1/costs", urlencode(PERIOD | {"group_by": "project_id", "format": "csv"})).body.decode()
        assert "\n'=HYPERLINK(1)," in text


def test_months_that_nobody_computed_are_empty_answers(tmp_path: Path) -> None:
    with asking(QueryApi(QUERIES, Lake(str(tmp_path)), Access(None, open_here=True))) as api:
        answer = json.loads(api.get("/v1/costs", "group_by=model").body)
        assert answer["rows"] == []
        today = dt.datetime.now(dt.UTC).date()
        assert (answer["from"], answer["to"]) == (str(today.replace(day=1)), str(today))
