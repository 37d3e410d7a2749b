"""Contracts of what could be saved, and of which models a company holds to be of one class.
Not here: how it is worked out (transforms/savings)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import Table, column
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS, VALID_DATE
from data_platform.domains.metering.contracts.usage import OWNER

CACHE_MINUTES = 5
LEAST_CACHED = 1024
"""Tokens of the shortest prompt that providers cache."""
ASSUMPTIONS = {
    "cheaper_model": "The other model, which the company put into the same class, does as well, with as many tokens.",
    "prompt_caching": f"A prefix of {LEAST_CACHED} tokens or more stays in the provider's cache for {CACHE_MINUTES} "
    "minutes after each use; its first use is charged as a cache write, where that has a price.",
    "batch": "Answers may come within a day, so that the calls can be sent as batches.",
    "no_failed_calls": "Calls that failed and were charged are prevented.",
}
"""Kind of opportunity → what must hold for it."""


class RawModelClasses(ReceivedLines):
    """Which models a company holds to be interchangeable, as received: only it can say. The newest line of a model
    counts."""

    key = "raw/model_classes"
    partition = "valid_date"
    primary_key = ("valid_date", "source_file", "source_line", "received_at")
    owner = OWNER

    valid_date: dt.date = column(VALID_DATE)
    valid_from: dt.datetime = column("From when on it holds (UTC).")
    provider: str = column("Who runs the model.", min_length=1)
    model: str = column("The model, named as in usage.", min_length=1)
    model_class: str | None = column("For example `small chat`; null takes the model out of its class.")


class RawModelClassesRejected(RejectedLines):
    """Lines of model class files that cannot be read."""

    key = "raw/model_classes_rejected"
    owner = OWNER


class SavingsOpportunities(Table):
    """What the calls of a day would have cost less under one assumption each: exact, at the prices of the day. Kinds
    overlap: they do not sum up."""

    key = "metering/savings_opportunities"
    partition = "usage_date"
    primary_key = (
        "usage_date",
        "tenant_id",
        "project_id",
        "feature",
        "provider",
        "model",
        "currency",
        "kind_of_saving",
    )
    owner = OWNER
    tenant = "tenant_id"
    profiled = False

    usage_date: dt.date = column("UTC day of the calls.")
    tenant_id: str = column("Whose calls.", min_length=1)
    project_id: str = column("Its project; empty where calls name none.")
    feature: str = column("What of the product called; empty where calls name none.")
    provider: str = column("Who ran the model.", min_length=1)
    model: str = column("The model that was called.", min_length=1)
    currency: str = column("ISO 4217 code.", min_length=1)
    kind_of_saving: str = column("What would be done.", isin=tuple(ASSUMPTIONS))
    instead: str = column("The other provider and model, `cache`, `batch` or `nothing`.", min_length=1)
    calls: int = column("The calls it is about.", unit="calls", ge=1)
    cost: Decimal = column("What they cost.", decimals=PRICE_DECIMALS)
    would_cost: Decimal = column("What they would have cost.", decimals=PRICE_DECIMALS)
    saved: Decimal = column("The difference.", decimals=PRICE_DECIMALS, ge=0)
    assumption: str = column("What must hold for it.", min_length=1)
    evidence: str = column("What it rests on, in a sentence.", min_length=1)
