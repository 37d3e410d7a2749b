"""The days of those who call language models: what they call, what it truly costs, and what of it arrives.
Habits are a runaway loop, a switch of models, a rollout of cached prompts, a price that falls at noon, a trial of a
model without a price.
Not here: who calls (tenants), what goes wrong on the way (dirt), what it costs (price_list)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from data_platform.core.lake.store import Lake
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.usage import UNATTRIBUTED
from data_platform.domains.metering.simulation import price_list
from data_platform.domains.metering.simulation.dirt import Soiled, soil, without_tenant
from data_platform.domains.metering.simulation.tenants import (
    ANSWER,
    GUILDS,
    REPORTS,
    STORIES,
    SUPPORT,
    TENANTS,
    Tenant,
)
from data_platform.simulation.company import Company, Part
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.text import DAY, HOUR, iso, uuids
from data_platform.simulation.writer import Landing

USAGE, PRICES = "llm_usage", "model_prices"
CALLS_OF_A_PLAYER = 0.5
"""A day, all tenants together."""
SWITCH, ROLLOUT, LOOP, CHEAPER, TRIAL = 0.4, 0.5, 0.55, 0.7, 0.8
"""When habits change, as a share of the days."""
LOOP_HOURS, LOOP_CALLS = (14, 17), 4.0
"""When the loop runs, and its calls for one call of the tenant on that day."""
PREFIX = 1_800
"""Tokens that the prompts of SUPPORT begin with, always the same."""
FAILED, TRIED = 0.02, 0.15
"""Share of calls that fail, and of calls of REPORTS that try the model without a price."""
CLASSES = ("input", "cache_read", "cache_write", "output", "reasoning")
WHO = ("usage_id", "tenant_id", "project_id", "user_id", "feature", "duration_ms", "status")
PREFIXES = ("prefix_hash", "prefix_tokens")
_TRILLIONTHS = -12


class ModelCalls(Part):
    """The calls of all tenants, their prices and true costs."""

    def __init__(self, scenario: Scenario, company: Company) -> None:
        super().__init__(scenario, company)
        self._late = pl.DataFrame()
        self._counted = Counter[str]()
        self._costs: dict[str, Counter[str]] = {}

    def live(self, day: int, landing: Landing) -> None:
        """The day's calls in the order they were made, and price lists on the days they come."""
        self._write_prices(day, landing)
        rng, last = self.scenario.random("metering", day, 1), day + 1 == self.scenario.days
        calls = self._calls(day)
        if self.scenario.dirty:
            calls = without_tenant(calls, rng)
        self._count(calls)
        dirty = soil(calls, rng, last) if self.scenario.dirty else Soiled(calls)
        arriving = pl.concat([self._late, dirty.arriving]) if len(self._late) else dirty.arriving
        self._late = dirty.late
        self._counted.update(dirty.counted)
        text = _as_lines(arriving.sort("started_at", maintain_order=True))
        broken = dirty.broken(text)
        self._counted.update(rejected_lines=len(broken), received=len(text) + len(broken))
        if len(text):
            with landing.lines(self.scenario.date(day), USAGE) as lines:
                lines.write(pl.DataFrame([text.append(broken)]))

    def report(self, day: int, calls: pl.DataFrame, landing: Landing) -> pl.Series:
        """Calls that another part of the company makes, as lines of the platform's own shape in a file of their own,
        counted as the others are; what each costs, in parts of a dollar (price_list.PICO), -1 without a price.

        `calls`: usage_id, tenant_id, project_id, feature, provider, model, started_at, tokens by class (those of
        CLASSES that it has), and whatever else of a line: trace_id, tags.
        """
        unsaid = {name: pl.lit(0, pl.Int64) for name in CLASSES if name not in calls.columns}
        unsaid |= {"service_tier": pl.lit(None, pl.String)} if "service_tier" not in calls.columns else {}
        whole = calls.with_columns(**unsaid)
        costs = self._count(whole)
        self._counted.update(received=len(whole))
        lines = whole.select(
            "usage_id", "tenant_id", "project_id", "feature", "provider", "model",
            iso("started_at").alias("started_at"),
            *(name for name in ("trace_id", "tags") if name in whole.columns),
            *(pl.col(name).alias(f"{name}_tokens") for name in CLASSES),
        )  # fmt: skip
        if len(lines):
            with landing.lines(self.scenario.date(day), USAGE) as file:
                file.write(pl.DataFrame({"line": lines.write_ndjson().splitlines()}))
        return costs

    def finish(self, landing: Landing) -> dict[str, Any]:
        """What a correct platform must count of it: lines, calls, and dollars to the last digit."""
        costs = {day: {tenant: dollars(pico) for tenant, pico in of.items()} for day, of in self._costs.items()}
        by_tenant = Counter[str]()
        for of in self._costs.values():
            by_tenant.update(of)
        totals = {tenant: dollars(pico) for tenant, pico in sorted(by_tenant.items())}
        counted = {name: self._counted[name] for name in sorted(self._counted)}
        return {"metering": {**counted, "costs": totals, "costs_by_day": costs}}

    @classmethod
    def told(cls, lake: Lake, facts: Mapping[str, Any]) -> Iterable[str]:
        """One line of cost for each tenant, beside what is true."""
        true = facts.get("metering", {}).get("costs")
        if true is None or not lake.exists(TenantDailyCosts):
            return
        sums = lake.scan(TenantDailyCosts).group_by("tenant_id", "currency").agg(pl.col("calls", "cost").sum())
        yield "\nCost of language models by tenant (metering/tenant_daily_costs):"
        for tenant, currency, calls, cost in sums.sort("tenant_id", "currency").collect().iter_rows():
            if not currency:
                yield f"  {tenant:<14} {calls:>8,} calls of a model without a price (metering/unpriced_usage)"
                continue
            verdict = "as simulated" if cost == Decimal(true.get(tenant, "0")) else f"simulated: {true.get(tenant)}"
            yield f"  {tenant:<14} {calls:>8,} calls {cost.normalize():>16f} {currency}, {verdict}"

    # ------------------------------------------------------------------------------------------------------ prices
    @property
    def _changed_at(self) -> int:
        """A price falls at noon, not at midnight."""
        return self.scenario.midnight(self._day_of(CHEAPER)) + DAY // 2

    def _day_of(self, share: float) -> int:
        return int(self.scenario.days * share)

    def _write_prices(self, day: int, landing: Landing) -> None:
        lists: list[pl.Series] = []
        if day == 0:
            long_ago = self.scenario.midnight(0) - 30 * DAY
            lists.append(price_list.price_lines(price_list.AT_FIRST, long_ago, "simulated list"))
        if day == self._day_of(CHEAPER):
            lists.append(price_list.price_lines(price_list.CHANGED, self._changed_at, "simulated list, changed"))
        if lists:
            with landing.lines(self.scenario.date(day), PRICES) as lines:
                lines.write(pl.DataFrame([pl.concat(lists)]))

    # ------------------------------------------------------------------------------------------------------- calls
    def _calls(self, day: int) -> pl.DataFrame:
        """The day's calls, in no order, with their tokens by class."""
        return pl.concat([self._of_tenant(tenant, number, day) for number, tenant in enumerate(TENANTS)])

    def _of_tenant(self, tenant: Tenant, number: int, day: int) -> pl.DataFrame:
        rng = self.scenario.random("metering", day, 0, number)
        weekend = self.scenario.date(day).weekday() >= 5
        usual = CALLS_OF_A_PLAYER * self.scenario.players * tenant.share * (tenant.weekend if weekend else 1.0)
        count = 1 + int(rng.poisson(usual))
        looping = int(count * LOOP_CALLS) if tenant is GUILDS and day == self._day_of(LOOP) else 0
        hours = np.concatenate([rng.choice(24, count, p=tenant.hours()), rng.integers(*LOOP_HOURS, looping)])
        count += looping
        feature = rng.integers(0, len(tenant.features), count)
        prompt = np.maximum(20, rng.lognormal(np.log(tenant.prompt), 0.5, count)).astype(np.int64)
        answer = np.maximum(1, rng.lognormal(np.log(tenant.answer), 0.6, count)).astype(np.int64)
        failed = rng.random(count) < FAILED
        answer[failed] = 0
        tokens = self._classes(tenant, day, prompt, answer, rng)
        model = np.full(count, self._model(tenant, day), dtype=object)
        if tenant is REPORTS and day >= self._day_of(TRIAL):
            model[rng.random(count) < TRIED] = price_list.UNPRICED_MODEL
        in_loop = np.arange(count) >= count - looping
        return pl.DataFrame(
            {
                "usage_id": uuids(rng, count),
                "tenant_id": pl.Series([tenant.name], dtype=pl.String).new_from_index(0, count),
                "project_id": pl.Series([f"{tenant.name}-live"], dtype=pl.String).new_from_index(0, count),
                "user_id": pl.Series([f"user-{one}" for one in rng.integers(1, 1 + self.scenario.players, count)]),
                "feature": pl.Series([tenant.features[one] for one in np.where(in_loop, -1, feature)]),
                "provider": pl.Series([tenant.provider], dtype=pl.String).new_from_index(0, count),
                "model": pl.Series(model.tolist(), dtype=pl.String),
                "service_tier": pl.Series([tenant.tier], dtype=pl.String).new_from_index(0, count),
                "started_at": self.scenario.midnight(day) + hours * HOUR + rng.integers(0, HOUR, count),
                "duration_ms": 200 + 12 * answer,
                "status": pl.Series(["timeout" if one else "ok" for one in failed]),
                "request_id": "req-" + uuids(rng, count),
                "prefix_hash": pl.Series([_prefix(tenant, loop) for loop in in_loop], dtype=pl.String),
                "prefix_tokens": pl.Series([PREFIX if tenant is SUPPORT else None] * count, dtype=pl.Int64),
                **tokens,
                "total_tokens": pl.Series([None] * count, dtype=pl.Int64),
                "as_answer": pl.Series([tenant.reports == ANSWER] * count),
            }
        )  # fmt: skip

    def _model(self, tenant: Tenant, day: int) -> str:
        return "gpt-5-mini" if tenant is STORIES and day >= self._day_of(SWITCH) else tenant.model

    def _classes(
        self, tenant: Tenant, day: int, prompt: Any, answer: Any, rng: np.random.Generator
    ) -> Mapping[str, Any]:
        """Tokens by class. OpenAI's and Google's models think; SUPPORT repeats its beginning, and caches it in time."""
        read, written = np.zeros_like(prompt), np.zeros_like(prompt)
        if tenant is SUPPORT:
            prompt = prompt + PREFIX
            if day >= self._day_of(ROLLOUT):
                hit = rng.random(len(prompt)) < 0.9
                read[hit], written[~hit] = PREFIX, PREFIX
        thought = answer // 3 if tenant.provider in ("openai", "google") else np.zeros_like(answer)
        return {
            "input": prompt - read - written,
            "cache_read": read,
            "cache_write": written,
            "output": answer - thought,
            "reasoning": thought,
        }

    # ------------------------------------------------------------------------------------------------------- truth
    def _count(self, calls: pl.DataFrame) -> pl.Series:
        """What each costs, as it is counted."""
        pico = price_list.true_costs(calls, self._changed_at)
        known = calls.select(
            day=pl.from_epoch("started_at", "ms").dt.date().cast(pl.String),
            tenant=pl.col("tenant_id").fill_null(UNATTRIBUTED),
            pico=pl.Series(pico),
        ).filter(pl.col("pico") >= 0)
        for day, tenant, cost in known.group_by("day", "tenant").agg(pl.col("pico").sum()).sort("day", "tenant").rows():
            self._costs.setdefault(day, Counter())[tenant] += cost
        self._counted.update(calls=len(calls), unpriced_calls=int((pico < 0).sum()))
        return pl.Series("pico", pico, dtype=pl.Int64)


def _prefix(tenant: Tenant, loop: bool) -> str | None:
    return f"{tenant.name}-loop" if loop else (f"{tenant.name}-v1" if tenant is SUPPORT else None)


def dollars(pico: int) -> str:
    """Exact, as text."""
    return format(Decimal(pico).scaleb(_TRILLIONTHS).normalize(), "f")


def _as_lines(calls: pl.DataFrame) -> pl.Series:
    """One JSON object a call: with its tokens, or as what OpenAI answered."""
    moments = iso("started_at").alias("started_at")
    asked = pl.col("input") + pl.col("cache_read")
    answered = pl.col("output") + pl.col("reasoning")
    body = pl.struct(
        pl.col("request_id").alias("id"), "model",
        pl.struct(
            asked.alias("prompt_tokens"), answered.alias("completion_tokens"), (asked + answered).alias("total_tokens"),
            pl.struct(pl.col("cache_read").alias("cached_tokens")).alias("prompt_tokens_details"),
            pl.struct(pl.col("reasoning").alias("reasoning_tokens")).alias("completion_tokens_details"),
        ).alias("usage"),
    )  # fmt: skip
    said = ("provider", "model", "service_tier", "request_id", "total_tokens", *CLASSES)
    own = {f"{name}_tokens" if name in CLASSES else name: pl.when(~pl.col("as_answer")).then(name) for name in said}
    rows = calls.select(
        *WHO, *PREFIXES, moments, *(value.alias(name) for name, value in own.items()),
        pl.when("as_answer").then(pl.lit("openai")).alias("format"), pl.when("as_answer").then(body).alias("payload"),
    )  # fmt: skip
    return pl.Series(rows.write_ndjson().splitlines(), dtype=pl.String)
