"""Usage from landing to billed calls, through Dagster on a temporary lake: the sums that must hold for ever.
Not here: prices and costs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_platform.domains.metering.contracts.usage import (
    LlmUsage,
    LlmUsageRejected,
    RawLlmUsage,
    RawLlmUsageRejected,
)
from data_platform_tests.support.homes import Home, verdicts
from data_platform_tests.support.usage_rows import usage

TABLES = [LlmUsage.key, LlmUsageRejected.key]
BALANCE = "raw_equals_billed_plus_duplicates_plus_rejected"


def lines(seed: int, calls: int = 120) -> list[str]:
    """Calls around three midnights, a fifth of them reported again, some of them impossible, in any order."""
    dice = random.Random(seed)
    made = []
    for number in range(calls):
        day, hour = dice.choice([(2, 23), (3, 0), (3, 12), (3, 23), (4, 0)])
        call = usage(
            usage_id=f"u-{number}",
            request_id=f"req-{number}",
            tenant_id=dice.choice(["acme", "globex", None]),
            started_at=f"2024-01-{day:02}T{hour:02}:30:00Z",
            input_tokens=dice.choice([100, 100, 100, -1, 10**13]),
        )
        if number % 10 == 0:
            body = {"model": "gpt-5", "usage": {"prompt_tokens": 9, "total_tokens": 9 + number % 3}}
            call = {name: call[name] for name in ("usage_id", "tenant_id", "started_at")}
            call |= {"format": "openai", "payload": body}
        made.append(call)
        if number % 5 == 0:
            later = call | {"usage_id": f"retry-{number}", "started_at": f"2024-01-{min(day + 1, 4):02}T00:10:00Z"}
            made += [later, call]
    broken = ['{"usage_id": "x"', json.dumps(usage(input_tokens=1.5)), json.dumps(usage(started_at="yesterday"))]
    told = [json.dumps(call) for call in made] + broken
    dice.shuffle(told)
    return told


def tables(home: Home) -> list[pl.DataFrame]:
    return [home.rows(table).sort(pl.all()) for table in (LlmUsage, LlmUsageRejected)]


def built(home: Home, batches: Sequence[Sequence[str]]) -> Home:
    for number, batch in enumerate(batches):
        home.drop(f"{number}.ndjson", batch, folder="llm_usage")
        home.build(TABLES)
    return home


def test_every_line_is_somewhere(home: Home) -> None:
    told = lines(1)
    built(home, [told])
    ledger = home.ledger()
    assert ledger["received_lines"].sum() == len(told)
    assert ledger["stored_lines"].sum() == len(home.rows(RawLlmUsage))
    refused = home.rows(RawLlmUsageRejected)
    assert sorted(refused["reason"]) == ["invalid_json", "wrong_type_input_tokens", "wrong_type_started_at"]
    found = verdicts(home.instance, LlmUsage, BALANCE)
    assert found.keys() >= {"2024-01-02", "2024-01-03", "2024-01-04"}
    assert all(verdict.passed for verdict in found.values())
    assert len(home.rows(RawLlmUsage)) > len(home.rows(LlmUsage)) + len(home.rows(LlmUsageRejected)) + 20
    reasons = set(home.rows(LlmUsageRejected)["reason"])
    assert reasons == {"negative_tokens", "too_many_tokens", "tokens_do_not_add_up"}
    assert "unattributed" in set(home.rows(LlmUsage)["tenant_id"])


def test_incremental_equals_rebuild(home: Home, tmp_path: Path) -> None:
    told = lines(2)
    built(home, [told[0::3], told[1::3], told[2::3]])
    with Home(tmp_path / "again").used() as again:
        built(again, [sorted(told)])
        for one, other in zip(tables(home), tables(again), strict=True):
            assert one.equals(other)
