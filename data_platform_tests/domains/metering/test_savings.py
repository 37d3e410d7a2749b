"""What could be saved: against sums by hand and an oracle that prices one call at a time. Not here: pricing itself."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from unittest import mock

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.quality.validation import judge
from data_platform.domains.metering.contracts.prices import RateCards
from data_platform.domains.metering.contracts.savings import ASSUMPTIONS, RawModelClasses, SavingsOpportunities
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.transforms import parts
from data_platform.domains.metering.transforms.costs import price_calls
from data_platform.domains.metering.transforms.savings import savings_opportunities
from data_platform_tests.support.metering_rows import call, frame_of, rate_card

FIFTH = dt.date(2026, 10, 5)
CARDS = [
    rate_card("big", cache_read_price="0.000001", cache_write_price="0.0000125"),
    rate_card("big", service_tier="batch", input_price="0.000005", output_price="0.00002"),
    rate_card("small", input_price="0.000001", output_price="0.000004"),
    rate_card("tiny", provider="mistral", input_price="0.0000001", output_price=None),
    rate_card("dollar", provider="mistral", input_price="0.0000001", output_price="0", currency="USD"),
]


def model_class(model: str, **changes: Any) -> dict[str, Any]:
    received = {"source_file": "f", "source_line": 1, "received_at": dt.datetime(2026, 10, 6, tzinfo=dt.UTC)}
    line = {"provider": "openai", "model": model, "model_class": "chat"} | received
    return line | {"valid_date": FIFTH, "valid_from": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)} | changes


def found(
    calls: list[dict[str, Any]], classes: list[dict[str, Any]] | None = None, cards: list[dict[str, Any]] = CARDS
) -> dict[str, dict[str, Any]]:
    """The opportunities of calls of `big` by kind; the contract holds."""
    usage, rates = frame_of(LlmUsage, calls), frame_of(RateCards, cards)
    costs = price_calls(usage.collect(), rates.collect()).costs.lazy()
    frame = savings_opportunities(usage, costs, rates, frame_of(RawModelClasses, classes or []), [FIFTH])
    assert frame.schema == SavingsOpportunities.schema()
    assert not judge(SavingsOpportunities, frame, [str(FIFTH)]).failures
    assert (frame["cost"] - frame["would_cost"]).equals(frame["saved"])
    return {row["kind_of_saving"]: row for row in frame.filter(pl.col("model") != "small").iter_rows(named=True)}


def amounts(row: dict[str, Any]) -> tuple[str, int, str, str]:
    cost, would = (f"{row[name].normalize():f}" for name in ("cost", "would_cost"))
    return row["instead"], row["calls"], cost, would


def test_a_cheaper_model_of_the_class_that_the_company_declared() -> None:
    classes = [model_class("big"), model_class("small"), model_class("tiny", provider="Mistral")]
    row = found([call("1"), call("2", model="big")], classes)["cheaper_model"]
    assert amounts(row) == ("openai small", 2, "0.028", "0.0028")
    assert row["assumption"] == ASSUMPTIONS["cheaper_model"]
    assert row["evidence"] == "2 calls of big, each priced with its own tokens as openai small"


def test_models_of_other_classes_currencies_or_without_a_price_are_no_opportunity() -> None:
    assert "cheaper_model" not in found([call("1")])
    assert "cheaper_model" not in found([call("1")], [model_class("big"), model_class("small", model_class="code")])
    taken_out = model_class("small", model_class=None, source_line=2)
    assert "cheaper_model" not in found([call("1")], [model_class("big"), model_class("small"), taken_out])
    later = model_class("small", valid_from=dt.datetime(2026, 10, 6, tzinfo=dt.UTC))
    assert "cheaper_model" not in found([call("1")], [model_class("big"), later])
    for other in ("tiny", "dollar"):
        assert "cheaper_model" not in found([call("1")], [model_class("big"), model_class(other, provider="mistral")])


def test_batches() -> None:
    calls = [call("1"), call("2", service_tier="batch"), call("3", model="small")]
    assert amounts(found(calls)["batch"]) == ("batch", 1, "0.014", "0.007")


def test_calls_that_failed() -> None:
    calls = [call("1", status="timeout", output_tokens=0), call("2"), call("3", status="error", input_tokens=0)]
    row = found(calls)["no_failed_calls"]
    assert amounts(row) == ("nothing", 2, "0.014", "0")
    assert row["evidence"] == "2 calls of big failed and were charged"


def prefixed(usage_id: str, minute: float, **changes: Any) -> dict[str, Any]:
    made = {"input_tokens": 3000, "output_tokens": 0, "prefix_hash": "h", "prefix_tokens": 2000}
    return call(usage_id, minute=minute, **made | changes)


def test_repeated_prefixes_are_read_from_the_cache() -> None:
    """The first writes 2,000 tokens for 0.025 instead of 0.02, two read them for 0.002; the last comes too late."""
    row = found([prefixed("1", 0), prefixed("2", 5), prefixed("3", 9.5), prefixed("4", 14.6)])["prompt_caching"]
    assert amounts(row) == ("cache", 3, "0.09", "0.059")
    assert row["evidence"] == "2 of 3 calls repeat the prefix of one at most 5 minutes before, uncached"


def test_what_is_cached_short_or_of_others_is_no_opportunity() -> None:
    cached = {"cache_read_tokens": 2000, "input_tokens": 1000}
    assert "prompt_caching" not in found([prefixed("1", 0, **cached), prefixed("2", 1, **cached)])
    assert "prompt_caching" not in found([prefixed(n, 0, prefix_tokens=1023) for n in "12"])
    assert "prompt_caching" not in found([prefixed(n, 0, tenant_id=n) for n in "12"])
    assert "prompt_caching" not in found([prefixed(n, 0, prefix_hash=n) for n in "12"])
    assert "prompt_caching" not in found([prefixed(n, 0, model="small") for n in "12"]), "no price of reads"
    assert "prompt_caching" not in found([prefixed("1", 0), prefixed("2", 1, prefix_tokens=None)])


def test_calls_without_a_price_are_left_out_and_no_call_is_no_row() -> None:
    assert found([call("1", model="unheard-of", status="error")]) == {}
    assert found([]) == {}


COUNT = st.integers(0, 5000)


@given(
    calls=st.lists(
        st.tuples(COUNT, COUNT, st.sampled_from(["big", "small"]), st.booleans(), st.integers(0, 15)), max_size=8
    ),
    part_calls=st.sampled_from([1, 2, parts.PART_CALLS]),
)
@settings(max_examples=25, deadline=None)
def test_equal_to_pricing_one_call_at_a_time(calls: list[tuple[int, int, str, bool, int]], part_calls: int) -> None:
    """Of `big`, with its cheaper model, its batch price, and prefixes of 1,500 tokens at some minute; in whatever parts
    the day comes."""
    rows = [
        call(
            str(n), model=model, input_tokens=tokens, output_tokens=out, minute=minute,
            status="ok" if ok else "error", prefix_hash="h", prefix_tokens=1500,
        )
        for n, (tokens, out, model, ok, minute) in enumerate(calls)
    ]  # fmt: skip
    big = [one for one in calls if one[2] == "big"]
    cost = sum((tokens * Decimal("0.00001") + out * Decimal("0.00004") for tokens, out, *_ in big), Decimal(0))
    saved: dict[str, Decimal] = {
        "cheaper_model": cost * Decimal("0.9"),
        "batch": cost / 2,
        "no_failed_calls": sum(
            (t * Decimal("0.00001") + o * Decimal("0.00004") for t, o, _, ok, _ in big if not ok), Decimal(0)
        ),
        "prompt_caching": Decimal(0),
    }
    order = sorted(
        (
            (minute, str(n), tokens)
            for n, (tokens, out, m, _, minute) in enumerate(calls)
            if m == "big" and tokens + out
        ),
    )
    for place, (minute, _, tokens) in enumerate(order):
        movable = min(tokens, 1500)
        if place and minute - order[place - 1][0] <= 5:
            saved["prompt_caching"] += movable * (Decimal("0.00001") - Decimal("0.000001"))
        elif place + 1 < len(order) and order[place + 1][0] - minute <= 5:
            saved["prompt_caching"] += movable * (Decimal("0.00001") - Decimal("0.0000125"))
    with mock.patch.object(parts, "PART_CALLS", part_calls):
        by_kind = found(rows, [model_class("big"), model_class("small")])
    opportunities = {kind: row["saved"] for kind, row in by_kind.items()}
    assert opportunities == {kind: amount for kind, amount in saved.items() if amount > 0}, json.dumps(calls)


def test_each_group_has_its_own_best_model() -> None:
    cards = [
        rate_card("big"),
        rate_card("wordy", input_price="0.000001"),
        rate_card("thirsty", output_price="0.000001"),
    ]
    classes = [model_class(card["model"]) for card in cards]
    calls = [call("1", feature="sum", input_tokens=9000), call("2", feature="write", output_tokens=9000)]
    usage, rates = frame_of(LlmUsage, calls), frame_of(RateCards, cards)
    costs = price_calls(usage.collect(), rates.collect()).costs.lazy()
    frame = savings_opportunities(usage, costs, rates, frame_of(RawModelClasses, classes), [FIFTH])
    assert dict(frame.filter(pl.col("kind_of_saving") == "cheaper_model").select("feature", "instead").rows()) == {
        "sum": "openai wordy",
        "write": "openai thirsty",
    }
