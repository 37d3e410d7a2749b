"""Shared costs of a month spread over tenants, or their projects, by the rules that hold.
Not here: cutting an amount into whole units (largest_remainder). Written row by row: a month has tens of costs and
thousands of bearers, and exact fractions are what must be right."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl

from data_platform.core.contract.calendar import midnight, next_month
from data_platform.domains.metering.contracts.costs import NO_PROJECT
from data_platform.domains.metering.contracts.shared_costs import KINDS, METHODS, NOBODY, CostAllocation
from data_platform.domains.metering.currencies import DECIMALS
from data_platform.domains.metering.money import amount_of
from data_platform.domains.metering.transforms.largest_remainder import spread, unit_of

Bearer = tuple[str, str]
"""Tenant and project; the project is empty where tenants are divided by."""
Weights = dict[Bearer, Fraction]
Row = Mapping[str, Any]
OF_CALLS, OF_CHAINS = ("even", "cost", "tokens"), ("cost", "allocated")
"""Methods that count calls, and those that count what rules before them gave."""
NEWEST_LAST = ["received_at", "source_file", "source_line"]


class Unspreadable(Exception):
    """A cost that nobody can bear; the reason is the message."""


@dataclass(frozen=True)
class Month:
    """What is known of a month: its rules by id, calls summed up, and what rules gave so far by rule and currency."""

    rules: Mapping[str, Row]
    usage: Sequence[Row]
    given: dict[tuple[str, str], Weights] = field(default_factory=lambda: defaultdict(dict))


def cost_allocation(
    shared_costs: pl.LazyFrame,
    rules: pl.LazyFrame,
    daily_costs: pl.LazyFrame,
    days: list[dt.date],
    first_day: dt.date = dt.date.min,
) -> pl.DataFrame:
    """In: RawSharedCosts until the end of the months that begin on `days`, TenantDailyCosts of these months, and
    RawAllocationRules until they begin; the month of the platform's first day begins with that. Out: CostAllocation of
    these months; other days have no rows."""
    months = [day for day in days if day.day == 1 or day == first_day]
    costs = _by_month(_newest(_with_month(shared_costs, pl.col("starts_at").dt.date(), first_day)), months)
    usage = _by_month(_summed_up(_with_month(daily_costs, pl.col("usage_date"), first_day)), months)
    every_rule = rules.sort(NEWEST_LAST).collect().to_dicts()
    rows = [
        row
        for month in months
        for row in _of_month(month, costs[month], Month(rules_of(every_rule, month), usage[month]))
    ]
    return pl.DataFrame(rows, schema=CostAllocation.schema(), orient="row")


def rules_of(rules: Iterable[Row], month: dt.date) -> dict[str, Row]:
    """The version of each rule that holds when the month begins; `rules` with the newest lines last."""
    begin = midnight(month)
    held: dict[str, Row] = {}
    for rule in rules:
        if rule["valid_from"] > begin or (rule["valid_to"] is not None and rule["valid_to"] <= begin):
            continue
        other = held.get(rule["rule_id"])
        if other is None or (other["valid_from"], other["rule_version"]) <= (rule["valid_from"], rule["rule_version"]):
            held[rule["rule_id"]] = rule
    return held


def _with_month(rows: pl.LazyFrame, day: pl.Expr, first_day: dt.date) -> pl.LazyFrame:
    return rows.with_columns(month=pl.max_horizontal(day.dt.month_start(), pl.lit(first_day)))


def _newest(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The newest line of each cost of a month."""
    return lines.sort(NEWEST_LAST).unique(["month", "cost_id"], keep="last", maintain_order=True)


def _summed_up(daily_costs: pl.LazyFrame) -> pl.LazyFrame:
    key = ["tenant_id", "project_id", "provider", "model", "currency"]
    return daily_costs.group_by("month", *key).agg(pl.col("calls", "total_tokens", "cost").sum()).sort("month", *key)


def _by_month(frame: pl.LazyFrame, months: Sequence[dt.date]) -> dict[dt.date, list[Row]]:
    found: dict[dt.date, list[Row]] = {month: [] for month in months}
    for row in frame.filter(pl.col("month").is_in(months)).collect().iter_rows(named=True):
        found[row["month"]].append(row)
    return found


def _of_month(month: dt.date, costs: Sequence[Row], known: Month) -> Iterator[dict[str, Any]]:
    """Parts of every cost of a month: rules that others come after go first."""
    for cost in sorted(costs, key=lambda cost: (_depth(cost["rule_id"], known.rules), cost["cost_id"])):
        amount, rule = amount_of(cost["amount"]), known.rules.get(cost["rule_id"])
        stated = {name: cost[name] for name in ("cost_id", "cost_kind", "currency", "rule_id", "description")}
        row = stated | {
            "cost_month": month,
            "rule_version": rule["rule_version"] if rule else None,
            "method": rule["method"] if rule else None,
            "whole": amount,
        }
        try:
            parts, weights = _spread(cost, amount, rule, known)
        except Unspreadable as why:
            nobody = {"tenant_id": NOBODY, "project_id": NO_PROJECT, "amount": amount, "reason": str(why)}
            yield row | nobody
            continue
        gains = known.given[cost["rule_id"], cost["currency"]]
        for (tenant, project), part in parts.items():
            gains[tenant, project] = gains.get((tenant, project), Fraction(0)) + Fraction(part)
            yield row | {
                "tenant_id": tenant,
                "project_id": project,
                "weight": str(weights[tenant, project]),
                "amount": part,
            }


def _spread(cost: Row, amount: Decimal | None, rule: Row | None, known: Month) -> tuple[dict[Bearer, Decimal], Weights]:
    """The parts of a cost and the weights they are in proportion to. Raises Unspreadable."""
    if amount is None:
        raise Unspreadable("amount_is_no_decimal")
    decimals = DECIMALS.get(cost["currency"])
    if decimals is None:
        raise Unspreadable("unknown_currency")
    if cost["cost_kind"] not in KINDS:
        raise Unspreadable("unknown_kind")
    if _crosses_months(cost):
        raise Unspreadable("crosses_months")
    if rule is None:
        raise Unspreadable("no_rule")
    weights = _weights(rule, cost["currency"], known)
    if not weights:
        raise Unspreadable("no_bearers")
    if not any(weights.values()):
        raise Unspreadable("weights_are_zero")
    return spread(amount, unit_of(amount, decimals), weights), weights


def _crosses_months(cost: Row) -> bool:
    """Whether the period ends behind the month it begins in."""
    if cost["ends_at"] is None:
        return False
    return bool(cost["ends_at"] > midnight(next_month(cost["starts_at"].date())))


# ------------------------------------------------------------------------------------------------- weights
def _weights(rule: Row, currency: str, known: Month) -> Weights:
    """What each bearer weighs. Raises Unspreadable for a rule that cannot say."""
    _require_heeded(rule)
    method = rule["method"]
    if method in ("fixed", "weights"):
        return _stated_weights(rule)
    chain = _chain(rule, known.rules)
    if method == "allocated":
        return _same_sign(_along(rule, known.given[chain[0], currency]))
    weights: Weights = defaultdict(Fraction)
    for row in known.usage:
        if rule["provider"] in (None, row["provider"]) and rule["model"] in (None, row["model"]):
            bearer = _bearer(rule, (row["tenant_id"], row["project_id"]))
            weights[bearer] = _weight(method, row, currency, weights[bearer])
    for name in chain:
        for bearer, part in _along(rule, known.given[name, currency]).items():
            weights[bearer] += part
    return _same_sign(weights)


def _require_heeded(rule: Row) -> None:
    """Refuse what a rule says and its method does not heed. Raises Unspreadable."""
    method = rule["method"]
    if method not in METHODS:
        raise Unspreadable("unknown_method")
    if rule["dimension"] not in (None, "tenant", "project"):
        raise Unspreadable("unknown_dimension")
    if (rule["provider"] or rule["model"]) and method not in OF_CALLS:
        raise Unspreadable("calls_do_not_count")
    if rule["after"] and method not in OF_CHAINS:
        raise Unspreadable("after_does_not_count")
    if method == "allocated" and not rule["after"]:
        raise Unspreadable("after_is_missing")


def _weight(method: str, row: Row, currency: str, before: Fraction) -> Fraction:
    if method == "even":
        return Fraction(1)
    if method == "tokens":
        return before + Fraction(row["total_tokens"])
    return before + Fraction(row["cost"] if row["currency"] == currency else 0)


def _bearer(rule: Row, bearer: Bearer) -> Bearer:
    return bearer if rule["dimension"] == "project" else (bearer[0], NO_PROJECT)


def _along(rule: Row, given: Weights) -> Weights:
    """What another rule gave, by the bearers of this one."""
    found: Weights = defaultdict(Fraction)
    for bearer, part in given.items():
        found[_bearer(rule, bearer)] += part
    return found


def _same_sign(weights: Weights) -> Weights:
    """Credits are spread in proportion to credits; what is partly above and partly below zero is no proportion."""
    if any(weight > 0 for weight in weights.values()) and any(weight < 0 for weight in weights.values()):
        raise Unspreadable("weights_above_and_below_zero")
    return {bearer: abs(weight) for bearer, weight in weights.items()}


def _stated_weights(rule: Row) -> Weights:
    """Those of the rule's own `shares`."""
    try:
        stated = json.loads(rule["shares"] or "{}")
        weights = _along(rule, dict(_stated(stated)))
    except (ValueError, AttributeError):
        raise Unspreadable("shares_are_no_decimals") from None
    if any(weight < 0 for weight in weights.values()):
        raise Unspreadable("shares_below_zero")
    if rule["method"] == "fixed" and sum(weights.values()) != 1:
        raise Unspreadable("shares_do_not_sum_to_1")
    return weights


def _stated(shares: Mapping[str, Any]) -> Iterator[tuple[Bearer, Fraction]]:
    for tenant, share in shares.items():
        for project, one in share.items() if isinstance(share, dict) else [(NO_PROJECT, share)]:
            number = amount_of(str(one))
            if number is None or isinstance(one, float):
                raise ValueError
            yield (tenant, project), Fraction(number)


# -------------------------------------------------------------------------------------------------- chains
def _chain(rule: Row, rules: Mapping[str, Row]) -> list[str]:
    """The rules before this one, nearest first. Raises Unspreadable for a circle or a rule that does not hold."""
    found: list[str] = []
    before = rule["after"]
    while before is not None:
        if before in found or before == rule["rule_id"]:
            raise Unspreadable("cycle")
        if before not in rules:
            raise Unspreadable("after_no_rule")
        found.append(before)
        before = rules[before]["after"]
    return found


def _depth(rule_id: str, rules: Mapping[str, Row]) -> int:
    """How many rules come before; of circles any number, they are refused."""
    depth, seen = 0, {rule_id}
    before = rules[rule_id]["after"] if rule_id in rules else None
    while before is not None and before not in seen:
        depth, seen = depth + 1, seen | {before}
        before = rules[before]["after"] if before in rules else None
    return depth
