"""Shared costs are spread so that the parts sum to the whole, by the rule and version that held, or say why not.
Held against an oracle that hands out one unit at a time. Not here: the step in Dagster (test_month_end)."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.quality.validation import judge
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.shared_costs import (
    CostAllocation,
    RawAllocationRules,
    RawSharedCosts,
    _parts_that_miss_the_whole,
)
from data_platform.domains.metering.transforms.largest_remainder import spread, unit_of
from data_platform.domains.metering.transforms.shared_costs import cost_allocation
from data_platform_tests.support.metering_rows import OCTOBER, allocation_rule, daily_cost, frame_of, shared_cost


def allocated(
    costs: list[dict[str, Any]], rules: list[dict[str, Any]], daily: list[dict[str, Any]], *days: dt.date
) -> pl.DataFrame:
    frames = frame_of(RawSharedCosts, costs), frame_of(RawAllocationRules, rules), frame_of(TenantDailyCosts, daily)
    return cost_allocation(*frames, list(days or (OCTOBER,)))


def parts(found: pl.DataFrame) -> dict[str, str]:
    return {row["tenant_id"]: f"{row['amount'].normalize():f}" for row in found.iter_rows(named=True)}


THREE = [daily_cost("a", "1"), daily_cost("b", "1"), daily_cost("c", "2")]


@pytest.mark.parametrize(
    ("rule", "amount", "expected"),
    [
        ({"method": "even"}, "100.00", {"a": "33.34", "b": "33.33", "c": "33.33"}),
        ({"method": "even"}, "-100.00", {"a": "-33.34", "b": "-33.33", "c": "-33.33"}),
        ({"method": "cost"}, "0.03", {"a": "0.01", "b": "0.01", "c": "0.01"}),
        ({"method": "cost"}, "100", {"a": "25", "b": "25", "c": "50"}),
        ({"method": "tokens"}, "90", {"a": "30", "b": "30", "c": "30"}),
        ({"method": "fixed", "shares": {"a": "0.75", "x": "0.25"}}, "10.01", {"a": "7.51", "x": "2.5"}),
        ({"method": "weights", "shares": {"a": 1, "x": "2"}}, "0.001", {"a": "0", "x": "0.001"}),
    ],
)
def test_methods(rule: dict[str, Any], amount: str, expected: dict[str, str]) -> None:
    found = allocated([shared_cost(amount=amount)], [allocation_rule(**rule)], THREE)
    assert parts(found) == expected
    assert set(found["rule_version"]) == {1}


def test_an_amount_is_spread_in_the_smallest_unit_of_its_currency() -> None:
    rule = [allocation_rule(method="even")]
    assert parts(allocated([shared_cost(amount="100", currency="JPY")], rule, THREE)) == {
        "a": "34",
        "b": "33",
        "c": "33",
    }
    kuwait = allocated([shared_cost(amount="1", currency="KWD")], rule, THREE)
    assert parts(kuwait) == {"a": "0.334", "b": "0.333", "c": "0.333"}


def test_projects_and_the_calls_of_one_provider() -> None:
    daily = [
        daily_cost("a", "3", project_id="p"),
        daily_cost("a", "1", project_id="q"),
        daily_cost("b", "9", provider="anthropic"),
    ]
    rule = allocation_rule(method="cost", dimension="project", provider="openai")
    found = allocated([shared_cost(amount="4")], [rule], daily)
    assert found.select("tenant_id", "project_id", pl.col("amount").cast(pl.Int64)).rows() == [
        ("a", "p", 3),
        ("a", "q", 1),
    ]


def test_a_chain_counts_what_came_before() -> None:
    """A tax on calls and subscription together: a has 10 + 30, b has 10 + 50."""
    rules = [
        allocation_rule(rule_id="seats", method="weights", shares={"a": "3", "b": "5"}),
        allocation_rule(rule_id="tax", method="cost", after="seats"),
        allocation_rule(rule_id="like_seats", method="allocated", after="seats"),
    ]
    costs = [
        shared_cost(cost_id="1 tax", cost_kind="tax", amount="20", rule_id="tax"),
        shared_cost(cost_id="2 seats", amount="80", rule_id="seats"),
        shared_cost(cost_id="3 credit", cost_kind="credit", amount="-8", rule_id="like_seats"),
    ]
    found = allocated(costs, rules, [daily_cost("a", "10"), daily_cost("b", "10")])
    by_cost = {cost: parts(found.filter(cost_id=cost)) for cost in found["cost_id"].unique()}
    assert by_cost == {
        "1 tax": {"a": "8", "b": "12"},
        "2 seats": {"a": "30", "b": "50"},
        "3 credit": {"a": "-3", "b": "-5"},
    }


@pytest.mark.parametrize(
    ("reason", "cost", "rules"),
    [
        ("no_rule", {}, []),
        ("no_rule", {}, [{"method": "even", "valid_from": dt.datetime(2026, 10, 1, 1, tzinfo=dt.UTC)}]),
        ("no_rule", {}, [{"method": "even", "valid_to": dt.datetime(2026, 10, 1, tzinfo=dt.UTC)}]),
        ("unknown_method", {}, [{"method": "guess"}]),
        ("unknown_dimension", {}, [{"method": "even", "dimension": "user"}]),
        ("unknown_currency", {"currency": "EURO"}, [{"method": "even"}]),
        ("unknown_kind", {"cost_kind": "lunch"}, [{"method": "even"}]),
        ("amount_is_no_decimal", {"amount": "1,5"}, [{"method": "even"}]),
        ("amount_is_no_decimal", {"amount": "NaN"}, [{"method": "even"}]),
        ("crosses_months", {"ends_at": dt.datetime(2026, 11, 1, 0, 0, 1, tzinfo=dt.UTC)}, [{"method": "even"}]),
        ("no_bearers", {}, [{"method": "even", "provider": "nobody"}]),
        ("no_bearers", {}, [{"method": "weights", "shares": {}}]),
        ("weights_are_zero", {}, [{"method": "weights", "shares": {"a": "0"}}]),
        ("weights_are_zero", {"currency": "USD"}, [{"method": "cost"}]),
        ("shares_do_not_sum_to_1", {}, [{"method": "fixed", "shares": {"a": "0.99"}}]),
        ("shares_are_no_decimals", {}, [{"method": "weights", "shares": {"a": 0.1}}]),
        ("shares_below_zero", {}, [{"method": "weights", "shares": {"a": "-1"}}]),
        ("calls_do_not_count", {}, [{"method": "weights", "shares": {"a": "1"}, "model": "m"}]),
        ("after_does_not_count", {}, [{"method": "even", "after": "r"}]),
        ("after_is_missing", {}, [{"method": "allocated"}]),
        ("after_no_rule", {}, [{"method": "cost", "after": "gone"}]),
        ("cycle", {}, [{"method": "cost", "after": "r"}]),
        ("cycle", {}, [{"method": "cost", "after": "s"}, {"rule_id": "s", "method": "allocated", "after": "r"}]),
        (
            "cycle",
            {},
            [
                {"method": "cost", "after": "s"},
                {"rule_id": "s", "method": "cost", "after": "t"},
                {"rule_id": "t", "method": "cost", "after": "s"},
            ],
        ),
    ],
)
def test_what_nobody_can_bear_says_why(reason: str, cost: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    found = allocated([shared_cost(**cost)], [allocation_rule(**rule) for rule in rules], THREE)
    assert found.select("tenant_id", "reason").rows() == [("", reason)]
    readable = reason != "amount_is_no_decimal"
    assert found["amount"].to_list() == [Decimal("100.00") if readable else None]
    assert not judge(CostAllocation, found, ["2026-10-01"]).failures


def test_the_newest_line_and_the_version_that_holds_count() -> None:
    costs = [shared_cost(amount="5", source_line=1), shared_cost(amount="7", source_line=2)]
    later = {"valid_from": dt.datetime(2026, 9, 1, tzinfo=dt.UTC)}
    rules = [
        allocation_rule(method="even", rule_version=2),
        allocation_rule(method="fixed", shares={"z": "1"}, rule_version=1, **later),
        allocation_rule(method="fixed", shares={"y": "1"}, rule_version=3, **later),
        allocation_rule(method="even", rule_version=9, valid_from=dt.datetime(2026, 11, 1, tzinfo=dt.UTC)),
    ]
    found = allocated(costs, rules, THREE)
    assert found.select("tenant_id", "rule_version").rows() == [("y", 3)]
    assert parts(found) == {"y": "7"}


def test_months_are_apart_and_days_within_have_no_rows() -> None:
    november = dt.date(2026, 11, 1)
    costs = [shared_cost(), shared_cost(starts_at=dt.datetime(2026, 11, 3, tzinfo=dt.UTC), amount="1")]
    daily = [*THREE, daily_cost("z", "1", usage_date=dt.date(2026, 11, 30))]
    found = allocated(costs, [allocation_rule(method="even")], daily, OCTOBER, dt.date(2026, 10, 2), november)
    assert set(found.filter(cost_month=november)["tenant_id"]) == {"z"}
    assert set(found.filter(cost_month=OCTOBER)["tenant_id"]) == {"a", "b", "c"}
    assert allocated(costs, [], daily, dt.date(2026, 10, 2)).is_empty()


def test_the_month_of_the_first_day_begins_with_it() -> None:
    first, costs = dt.date(2026, 10, 5), [shared_cost(starts_at=dt.datetime(2026, 10, 20, tzinfo=dt.UTC))]
    frames = [frame_of(RawSharedCosts, costs), frame_of(RawAllocationRules, [allocation_rule()])]
    found = cost_allocation(*frames, frame_of(TenantDailyCosts, THREE), [first, dt.date(2026, 10, 6)], first)
    assert found["cost_month"].unique().to_list() == [first]
    assert sum(found["amount"]) == 100


def test_a_part_that_is_missing_is_found() -> None:
    found = allocated([shared_cost()], [allocation_rule(method="even")], THREE)
    assert _parts_that_miss_the_whole(found.lazy()).collect().is_empty()
    assert len(_parts_that_miss_the_whole(found.lazy().slice(1)).collect()) == 1


# ------------------------------------------------------------------------------------------------ the oracle
AMOUNTS = st.decimals(min_value=-(10**14), max_value=10**14, places=4, allow_nan=False, allow_infinity=False)
WEIGHTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=4),
    st.fractions(min_value=0, max_value=10**9, max_denominator=10**6),
    min_size=1,
    max_size=8,
).filter(lambda weights: any(weights.values()))


@given(amount=st.integers(-3000, 3000), weights=WEIGHTS)
@settings(max_examples=80, deadline=None)
def test_spread_equals_handing_out_one_unit_at_a_time(amount: int, weights: dict[str, Fraction]) -> None:
    """Whoever is furthest below its exact share gets the next cent, but only once above the floor of it."""
    whole = sum(weights.values())
    owed = {key: abs(amount) * weight / whole for key, weight in weights.items()}
    expected = {key: share.numerator // share.denominator for key, share in owed.items()}
    while sum(expected.values()) < abs(amount):
        neediest = min(owed, key=lambda key: (expected[key] - owed[key], key))
        expected[neediest] += 1
    found = spread(Decimal(amount).scaleb(-2), Decimal("0.01"), weights)
    assert {key: int(part * 100) for key, part in found.items()} == {
        key: count if amount > 0 else -count for key, count in expected.items()
    }


@given(amount=AMOUNTS, weights=WEIGHTS, decimals=st.sampled_from([0, 2, 3]))
@settings(max_examples=80, deadline=None)
def test_parts_are_whole_units_within_one_of_the_exact_share(
    amount: Decimal, weights: dict[str, Fraction], decimals: int
) -> None:
    unit = unit_of(amount, decimals)
    found = spread(amount, unit, weights)
    assert sum(map(Fraction, found.values())) == Fraction(amount)
    for key, part in found.items():
        assert (Fraction(part) / Fraction(unit)).denominator == 1
        assert abs(Fraction(part) - Fraction(amount) * weights[key] / sum(weights.values())) < Fraction(unit)


METHOD = st.sampled_from(["even", "cost", "tokens", "weights"])


@given(
    methods=st.lists(METHOD, min_size=1, max_size=4),
    chained=st.lists(st.booleans(), min_size=4, max_size=4),
    amounts=st.lists(st.integers(-(10**6), 10**6), min_size=4, max_size=4),
    usage=st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(1, 10**9 - 1), st.integers(0, 99)), min_size=1, max_size=9
    ),
)
@settings(max_examples=60, deadline=None)
def test_chains_equal_a_naive_walk(
    methods: list[str], chained: list[bool], amounts: list[int], usage: list[tuple[str, int, int]]
) -> None:
    """Rule r0, r1, …, each perhaps after the one before; spread here one tenant and cost at a time."""
    rules: list[dict[str, Any]] = []
    for number, method in enumerate(methods):
        after = f"r{number - 1}" if number and chained[number] else None
        if after:
            method = "cost" if amounts[number] % 2 else "allocated"
        shares = {"shares": {"a": "1", "e": "2"}} if method == "weights" else {}
        rules.append({"rule_id": f"r{number}", "method": method, "after": after, **shares})
    costs = [shared_cost(cost_id=f"c{n}", rule_id=f"r{n}", amount=str(amounts[n])) for n in range(len(rules))]
    daily = [
        daily_cost(tenant, f"0.{cost:09d}", total_tokens=tokens, usage_date=dt.date(2026, 10, 1 + n))
        for n, (tenant, cost, tokens) in enumerate(usage)
    ]
    found = allocated(costs, [allocation_rule(**rule) for rule in rules], daily)

    given_by: dict[str, dict[str, Fraction]] = {}
    for number, rule in enumerate(rules):
        weights: dict[str, Fraction] = {}
        if rule["method"] == "weights":
            weights = {"a": Fraction(1), "e": Fraction(2)}
        elif rule["method"] == "allocated":
            weights = dict(given_by[rule["after"]])
        else:
            for tenant, cost, tokens in usage:
                more = {"even": 0, "tokens": tokens, "cost": Fraction(cost, 10**9)}[rule["method"]]
                weights[tenant] = Fraction(1) if rule["method"] == "even" else weights.get(tenant, Fraction(0)) + more
            before = rule["after"]
            while before:
                for tenant, part in given_by[before].items():
                    weights[tenant] = weights.get(tenant, Fraction(0)) + part
                before = next(other["after"] for other in rules if other["rule_id"] == before)
        mine = found.filter(cost_id=f"c{number}")
        assert sum(map(Fraction, mine["amount"])) == amounts[number]
        signs = {weight > 0 for weight in weights.values() if weight}
        if len(signs) != 1:
            assert mine["tenant_id"].to_list() == [""], json.dumps(rule)
            given_by[rule["rule_id"]] = {}
            continue
        total = sum(map(abs, weights.values()))
        for row in mine.iter_rows(named=True):
            exact = amounts[number] * abs(weights[row["tenant_id"]]) / total
            assert abs(Fraction(row["amount"]) - exact) < Fraction(1, 100)
        given_by[rule["rule_id"]] = {row["tenant_id"]: Fraction(row["amount"]) for row in mine.iter_rows(named=True)}
