"""Random histories of prices and calls: changes, retroactive and late lines, contracts, steps, retries, corrections.
Each has providers of its own, so that many can be computed together. Not here: what they cost (cost_oracle)."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.domains.metering.contracts.model_names import RawModelNames
from data_platform.domains.metering.contracts.prices import RawModelPrices
from data_platform.domains.metering.contracts.usage import RawLlmUsage
from data_platform_tests.support.cost_oracle import CLASSES, Call, Line

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DAYS = [START.date() + dt.timedelta(n) for n in range(4)]
PRICED = ("input", "output", "cache_read", "reasoning")
PRICES = ("2.50", "0.15", "10", "1e-1", "0.0000001", "0", "123.456789012", "1.5e2")
BROKEN: tuple[dict[str, Any], ...] = (
    {"unit_price": "-1"}, {"unit_price": "0.1000000000000000055511151231257827"}, {"unit_price": "NaN"},
    {"unit_price": "1001", "per_tokens": 1}, {"unit_price": ""}, {"currency": "XXX"}, {"token_class": "smell"},
    {"per_tokens": 0}, {"from_input_tokens": -1}, {"valid_to": START - dt.timedelta(days=99)},
)  # fmt: skip
BATCHES = 3


@dataclass(frozen=True)
class History:
    """What was received, in batches."""

    prices: list[list[Line]]
    reports: list[list[Call]]
    names: list[list[Line]]


def moment(dice: random.Random) -> dt.datetime:
    return START + dt.timedelta(hours=dice.randrange(-30, 24 * len(DAYS)), minutes=dice.choice((0, 0, 30)))


def price_lines(dice: random.Random, provider: str, number: int, batch: int) -> list[Line]:
    """What a list says of one model at a moment: as a rule of input and output, perhaps of other classes."""
    model, pattern = dice.choice((("m1", None), ("m1", r"m1-\d+"), ("m1-long", r"m1-.*"), ("m2", None)))
    begin = moment(dice)
    shared = {
        "valid_from": begin,
        "valid_to": begin + dt.timedelta(hours=dice.randrange(1, 60)) if dice.random() < 0.2 else None,
        "known_from": moment(dice) if dice.random() < 0.3 else None,
        "provider": provider,
        "model": model,
        "model_pattern": pattern,
        "tenant_id": dice.choice((None, None, "a")),
        "region": dice.choice((None, None, "eu")),
        "service_tier": dice.choice((None, None, None, "batch")),
        "from_input_tokens": dice.choice((None, 0, 0, 100)),
        "per_tokens": dice.choice((1_000_000, 1_000_000, 1000, None)),
        "currency": dice.choice(("USD",) * 9 + ("EUR",)),
        "source": "made up",
        "source_file": f"{provider}-{batch}",
        "received_at": START + dt.timedelta(days=10, hours=batch),
    }
    if dice.random() < 0.3:  # announced, perhaps long before it holds
        shared["received_at"] = min(begin, moment(dice)) + dt.timedelta(seconds=batch)
    classes = dice.choice((PRICED, PRICED[:2], PRICED[:2], dice.sample(PRICED, 1)))
    lines = []
    for at, name in enumerate(classes):
        price = None if dice.random() < 0.05 else dice.choice(PRICES)
        line = shared | {"token_class": name, "unit_price": price, "source_line": 10 * number + at}
        lines.append(line | (dice.choice(BROKEN) if dice.random() < 0.05 else {}))
    return lines


def said_again(dice: random.Random, provider: str, line: Line, batch: int) -> Line:
    """What a line says for that moment after all; it may be filed under another day than what was announced."""
    received = {"received_at": START + dt.timedelta(days=10, hours=batch), "source_file": f"{provider}-{batch}"}
    again = {"unit_price": dice.choice(PRICES), "known_from": None, "source_line": line["source_line"] + 5}
    return line | received | again


def name_line(dice: random.Random, provider: str, number: int, batch: int) -> Line:
    """A name that the company gives a model, or takes back."""
    return {
        "valid_from": moment(dice),
        "provider": provider,
        "name": dice.choice(("m1", "m3", "m3", "m1-2024")),
        "model": dice.choice(("m1", "m2", "m1-long", None)),
        "source_file": f"{provider}-{batch}",
        "source_line": number,
        "received_at": START + dt.timedelta(days=10, hours=batch),
    }


def calls(dice: random.Random, provider: str, number: int) -> list[Call]:
    """A call, perhaps with a retry that says more, or a correction that comes later."""
    tokens = dict.fromkeys((f"{name}_tokens" for name in CLASSES), 0)
    some = dice.choice((PRICED[:2], PRICED[:2], PRICED[:2], PRICED, (*PRICED, "audio_input"), ()))
    for name in some:
        tokens[f"{name}_tokens"] = dice.choice((1, 7, 99, 100, 101, 5000, 10**11))
    call = {
        "usage_id": f"{provider}-{number}",
        "request_id": f"{provider}-r{number}",
        "tenant_id": dice.choice(("a", "b")),
        "provider": provider,
        "model": dice.choice(("m1", "m1", "m1-2024", "m1-mini", "m2", "m3")),
        "region": dice.choice((None, "eu", "us")),
        "service_tier": dice.choice((None, None, None, None, "batch")),
        "started_at": START + dt.timedelta(minutes=30 * dice.randrange(48 * len(DAYS))),
        "status": dice.choice(("ok", "ok", "error")),
        **tokens,
    }
    if dice.random() > 0.3:
        return [call]
    more = dict(call, usage_id=f"{call['usage_id']}-again", output_tokens=call["output_tokens"] + 11)
    return [call, more]


def history(seed: int) -> History:
    dice, provider = random.Random(seed), f"p{seed}"
    made = History(*([[] for _ in range(BATCHES)] for _ in range(3)))
    for number in range(dice.choice((0, 0, 1, 4))):
        batch = dice.randrange(BATCHES)
        made.names[batch].append(name_line(dice, provider, number, batch))
    for number in range(dice.randrange(2, 30)):
        batch = dice.randrange(BATCHES)
        lines = price_lines(dice, provider, number, batch)
        made.prices[batch] += lines
        if dice.random() < 0.3:
            later = dice.randrange(batch, BATCHES)
            made.prices[later] += [said_again(dice, provider, line, later) for line in lines]
    for number in range(dice.randrange(1, 10)):
        for report in calls(dice, provider, number):
            made.reports[dice.randrange(BATCHES)].append(report)
    return made


def raw_prices(lines: list[Line]) -> pl.DataFrame:
    first = START.date()
    rows = [dict.fromkeys(RawModelPrices.columns) | line for line in lines]
    rows = [row | {"valid_date": max(first, min(row["valid_from"], row["received_at"]).date())} for row in rows]
    return pl.DataFrame(rows, schema=RawModelPrices.schema())


def raw_names(lines: list[Line]) -> pl.DataFrame:
    first = START.date()
    rows = [line | {"valid_date": max(first, line["valid_from"].date()), "extra_fields": None} for line in lines]
    return pl.DataFrame(rows, schema=RawModelNames.schema())


def raw_usage(reports: list[Call]) -> pl.DataFrame:
    where = {"source_file": "f", "source_line": 1, "received_at": START + dt.timedelta(days=10)}
    rows = [dict.fromkeys(RawLlmUsage.columns) | where | report for report in reports]
    rows = [row | {"usage_date": row["started_at"].date()} for row in rows]
    return pl.DataFrame(rows, schema=RawLlmUsage.schema())
