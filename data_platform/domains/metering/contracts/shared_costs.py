"""Contracts of costs that no single call causes, of the rules they are spread by, and of what each tenant bears.
Not here: how an amount is cut into whole cents (transforms/largest_remainder), what calls cost (costs)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import JsonObject, Rule, Severity, Table, TableRule, column
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS, VALID_DATE
from data_platform.domains.metering.contracts.usage import OWNER

NOBODY = ""
"""Tenant of what no tenant can bear; the row says why."""
KINDS = ("subscription", "provisioned_throughput", "tax", "credit", "idle", "adjustment")
METHODS = ("even", "cost", "tokens", "fixed", "weights", "allocated")
LINE_KEY = ("source_file", "source_line", "received_at")


class SharedCost(Table):
    """What a line says of a cost of many."""

    cost_id: str = column("The cost; a later line of the same id and month corrects it, an amount of 0 ends it.")
    cost_kind: str = column(f"One of {', '.join(KINDS)}.", min_length=1)
    currency: str = column("ISO 4217 code.", min_length=1)
    rule_id: str = column("The rule it is spread by.", min_length=1)
    description: str | None = column("What it is, for people.")


class RawSharedCosts(SharedCost, ReceivedLines):
    """Costs that no single call causes, as received: one line per cost and month, also of months to come. A cost of a
    year is twelve lines, because how it divides by months is a decision of accounting."""

    key = "raw/shared_costs"
    partition = "cost_date"
    primary_key = ("cost_date", *LINE_KEY)
    owner = OWNER

    cost_date: dt.date = column("UTC day of `starts_at`; of a cost to come that on which the line was received.")
    starts_at: dt.datetime = column("When what is paid for begins (UTC); the cost counts in this month.")
    ends_at: dt.datetime | None = column("When it ends, exclusive; null: with the month.")
    amount: str = column("A decimal as text; credits are negative.", min_length=1)


class RawSharedCostsRejected(RejectedLines):
    """Lines of shared costs that cannot be costs."""

    key = "raw/shared_costs_rejected"
    owner = OWNER


class RawAllocationRules(ReceivedLines):
    """Rules that shared costs are spread by, as received. A rule holds for months that begin while it is valid."""

    key = "raw/allocation_rules"
    partition = "valid_date"
    primary_key = ("valid_date", *LINE_KEY)
    owner = OWNER

    valid_date: dt.date = column(VALID_DATE)
    valid_from: dt.datetime = column("From when on it holds (UTC).")
    valid_to: dt.datetime | None = column("Until when, exclusive; null: until the next version.")
    rule_id: str = column("The rule.", min_length=1)
    rule_version: int = column("Its version: of versions valid from the same moment the highest counts.")
    method: str = column(
        "`even`, `cost`, `tokens` (in proportion to that of calls), `fixed` (shares that sum to 1), `weights`, or "
        "`allocated` (in proportion to what the rule `after` gave).",
        min_length=1,
    )
    dimension: str | None = column("`tenant`, or `project` for projects of tenants; null is `tenant`.")
    provider: str | None = column("Only calls of this provider count, and only who made some bears.")
    model: str | None = column("Only calls of this model count.")
    shares: JsonObject | None = column(
        "Of `fixed` and `weights`: tenant → a decimal as text, or → an object of project → decimal."
    )
    after: str | None = column(
        "The rule before this one in a chain. `cost` then counts what that chain gave as cost too, `allocated` counts "
        "what that rule gave alone."
    )


class RawAllocationRulesRejected(RejectedLines):
    """Lines of allocation rules that cannot be rules."""

    key = "raw/allocation_rules_rejected"
    owner = OWNER


def _parts_that_miss_the_whole(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Costs of a month whose parts do not sum to what is to be spread."""
    key = ["cost_month", "cost_id"]
    sums = rows.drop_nulls("whole").group_by(key).agg(pl.col("amount").sum(), pl.col("whole").first())
    return sums.filter(pl.col("amount").ne_missing(pl.col("whole"))).select(key)


class CostAllocation(SharedCost):
    """What each tenant bears of each shared cost of a month, in whole minor units of the currency; the parts of a cost
    sum to it exactly. What nobody can bear is a row without tenant, with the reason."""

    key = "metering/cost_allocation"
    partition = "cost_month"
    primary_key = ("cost_month", "cost_id", "tenant_id", "project_id")
    owner = OWNER
    tenant = "tenant_id"
    profiled = False
    row_rules = (
        Rule(
            "a_tenant_or_a_reason",
            "a part has a tenant, or a reason why not",
            (pl.col("tenant_id") == NOBODY) == pl.col("reason").is_not_null(),
        ),
    )
    table_rules = (
        TableRule(
            "parts_sum_to_the_whole",
            "the parts of each cost sum to it, to the last digit",
            _parts_that_miss_the_whole,
            severity=Severity.ERROR,
        ),
    )

    cost_month: dt.date = column("First day of the month (UTC), or the platform's first day in it.")
    cost_id: str = column("The cost.", min_length=1)
    tenant_id: str = column("Who bears this part; empty where nobody can.")
    project_id: str = column("Its project; empty where the rule divides by tenants.")
    rule_version: int | None = column("The version of the rule that held.")
    method: str | None = column("How the rule divides.")
    weight: str | None = column("What the part is in proportion to, exact, as text.")
    amount: Decimal | None = column("The part; null where the line's amount is none.", decimals=PRICE_DECIMALS)
    whole: Decimal | None = column("The whole cost.", decimals=PRICE_DECIMALS)
    reason: str | None = column("Why nobody bears it, for example `no_rule`, `no_bearers`, `cycle`.")
