"""Price lists of others as prices: genai-prices against its own calculator, published lists to the last digit, a
company's own file, and a clear word on whatever is wrong with one.
Not here: what prices make of calls (test_cost_oracle)."""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from data_platform.cli import command_line
from data_platform.core.errors import PlatformError
from data_platform.domains.metering.price_lists.genai import TIERS
from data_platform.domains.metering.price_lists.lines import PriceLine
from data_platform.domains.metering.price_lists.loading import read_prices
from data_platform.domains.metering.providers import provider_called
from data_platform_tests.support.homes import Home
from data_platform_tests.support.priced_calls import call, priced, sorted_lines
from data_platform_tests.support.shared_data import SHARED_DATA

LISTS = SHARED_DATA / "llm_price_lists"
LANGFUSE, TOKENCOST = LISTS / "langfuse_default_model_prices.json", LISTS / "tokencost_model_prices.json"
SINCE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
CLASSES = ("input", "cache_read", "cache_write", "output", "reasoning")
published = pytest.mark.skipif(not LISTS.exists(), reason="the published lists are not here")


# ------------------------------------------------------------------------------------------ genai-prices
@pytest.fixture(scope="module")
def genai() -> list[PriceLine]:
    return read_prices("genai-prices", SINCE).lines


def asked(model: Any) -> str:
    """A name that the model's clause is for."""
    clause = model.match
    while hasattr(clause, "or_"):
        clause = next((one for one in clause.or_ if hasattr(one, "equals")), clause.or_[0])
    return getattr(clause, "equals", None) or getattr(clause, "starts_with", None) or model.id


def too_fine(price: Any) -> bool:
    """Whether the price of a million tokens is no whole number of 10^-18 for one."""
    prices = [price.base, *(tier.price for tier in price.tiers)] if hasattr(price, "base") else [price]
    return any(isinstance(one, Decimal) and int(one.as_tuple().exponent) < -12 for one in prices)


def test_genai_prices_cost_what_its_own_calculator_says(genai: list[PriceLine]) -> None:
    """Every model, on days before and after dated changes, for prompts around the steps, interactive and batch."""
    from genai_prices import Usage, calc_price
    from genai_prices.data_snapshot import get_snapshot

    dice = random.Random(7)
    have = {(line.provider, line.model, line.service_tier) for line in genai}
    contexts = {tier: dict(when) for when, tier in TIERS.items() if when[0][0] != "speed"}
    calls, expected = [], []
    for provider in get_snapshot().providers:
        for model in provider.models:
            for day in (dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC), dt.datetime(2026, 10, 20, 12, tzinfo=dt.UTC)):
                word, name, tier = provider_called(provider.id), asked(model), dice.choice((None, "batch", "flex"))
                tier = tier if (word, model.id, tier) in have and day.year == 2026 else None
                if (word, model.id, tier) not in have or provider.find_model(name) is not model:
                    continue
                prompt = dice.choice((1_000, 128_000, 200_000, 200_001, 272_001, 600_000))
                read, written, out, thought = (dice.randrange(300) for _ in range(4))
                if (
                    model.get_prices(day).output_mtok is None
                ):  # of embeddings: answers that have no price here cost null
                    out = thought = 0
                tokens = (prompt - read - written, read, written, out, thought)
                named = {f"{name}_tokens": count for name, count in zip(CLASSES, tokens, strict=True)}
                usage = Usage(
                    input_tokens=prompt, cache_read_tokens=read, cache_write_tokens=written,
                    output_tokens=out + thought, output_reasoning_tokens=thought,
                )  # fmt: skip
                context = contexts[tier] if tier else None
                try:
                    said = calc_price(
                        usage, name, provider_id=provider.id, genai_request_timestamp=day, price_context=context
                    )
                except (ValueError, LookupError):
                    continue
                calls.append(call(len(calls), day, word, name, service_tier=tier, **named))
                expected.append(said)
    found = priced(calls, sorted_lines(genai, SINCE.date()))
    costs = {row["usage_id"]: row for row in found.costs.iter_rows(named=True)}
    differ = []
    for one, said in zip(calls, expected, strict=True):
        cost = costs[one["usage_id"]]
        units = {name for name, value in vars(said.model_price).items() if value is not None}
        if units - {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"}:
            continue  # priced by searches, pages, seconds too
        if cost["cost"] is None and any(map(too_fine, vars(said.model_price).values())):
            continue  # the remains of a float in the list: left out, and said so
        if cost["cost"] != said.total_price:
            differ.append((one["provider"], one["model"], one["service_tier"], cost["cost"], said.total_price))
    assert len(calls) > 3000
    assert not differ, differ


def test_a_past_date_is_priced_by_the_prices_of_that_date(genai: list[PriceLine]) -> None:
    """Each time the list knows of a change of a model it is known of from its date on, and no sooner."""
    dated = {(line.provider, line.model) for line in genai if line.valid_from > SINCE and line.service_tier is None}
    assert len(dated) > 50
    provider, model = "openai", "o3"
    assert (provider, model) in dated
    prices = sorted_lines(genai, SINCE.date())
    before, after = (dt.datetime(2025, 6, day, 23, 59, tzinfo=dt.UTC) for day in (9, 10))
    costs = priced([call(n, at, provider, model, input_tokens=10**6) for n, at in enumerate((before, after))], prices)
    assert costs.costs.sort("started_at")["cost"].to_list() == [Decimal(10), Decimal(2)]


def priced_otherwise(source: str) -> tuple[str, int]:
    """What is said of prices that are left out, and how many these are."""
    left_out = read_prices(source, SINCE).left_out
    (found,) = ((what, n) for what, n in left_out.items() if what.startswith("prices of what is no class of tokens"))
    return found


def test_what_is_left_out_is_said() -> None:
    found = read_prices("genai-prices", SINCE)
    assert found.left_out["models whose price depends on the time of day"] == 5
    assert found.left_out["models with a price that could not be kept exactly"] > 10
    what, number = priced_otherwise("genai-prices")
    assert {"cache_audio_read_mtok", "requests_kcount", "web_searches_kcount"} <= set(re.findall(r"\w+", what))
    assert "input_mtok" not in what
    assert number > 150


@published
@pytest.mark.parametrize(
    ("file", "kind"),
    [(LANGFUSE, "webSearchQueries"), (TOKENCOST, "input_cost_per_request")],
    ids=["langfuse", "litellm"],
)
def test_published_lists_say_what_they_price_otherwise(file: Path, kind: str) -> None:
    what, number = priced_otherwise(str(file))
    assert kind in what
    assert "_batches" not in what
    assert number > 100


# --------------------------------------------------------------------------------------- published lists
@published
def test_langfuses_list_to_the_last_digit() -> None:
    """Every price of every tier, read as text: none goes through a float. Names are matched by Langfuse's patterns."""
    lines = read_prices(str(LANGFUSE), SINCE).lines
    stated = json.loads(LANGFUSE.read_text(), parse_float=Decimal)
    for model in stated:
        for tier in model["pricingTiers"]:
            values = {Decimal(value) for value in tier["prices"].values()}
            mine = {line.unit_price for line in lines if line.model == model["modelName"]}
            assert {Decimal(tier["prices"][key]) for key in ("input", "output") if key in tier["prices"]} <= mine, model
            assert values
    at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    names = [("gpt-4o", None), ("openai/gpt-4o", None), ("gpt-4o", "priority"), ("gpt-4o", "batch"), ("gpt-4o-x", None)]
    calls = [call(n, at, "azure", name, service_tier=tier, input_tokens=1000) for n, (name, tier) in enumerate(names)]
    found = priced(calls, sorted_lines(lines, SINCE.date()))
    assert found.costs.sort("usage_id")["cost"].to_list() == [
        Decimal("0.0025"), Decimal("0.0025"), Decimal("0.00425"), None, None,
    ]  # fmt: skip
    reasons = dict(found.unpriced.select("usage_id", "reason").iter_rows())
    assert reasons == {"u-3": "unknown_terms", "u-4": "unknown_model"}


@published
def test_langfuses_steps_are_for_the_whole_prompt() -> None:
    lines = read_prices(str(LANGFUSE), SINCE, provider="anthropic").lines
    stepped = {line.model for line in lines if line.from_input_tokens == 200_001}
    assert stepped
    name = sorted(stepped)[0]
    prices = {(line.from_input_tokens, line.token_class): line.unit_price for line in lines if line.model == name}
    at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    calls = [call(n, at, "anthropic", name, input_tokens=tokens) for n, tokens in enumerate((200_000, 200_001))]
    costs = priced(calls, sorted_lines(lines, SINCE.date())).costs.sort("usage_id")["cost"].to_list()
    assert costs == [200_000 * prices[0, "input"], 200_001 * prices[200_001, "input"]]


@published
def test_litellms_list_to_the_last_digit() -> None:
    """Against the file, read once more: plain, cached, batch, above so many tokens, sound, reasoning."""
    lines = read_prices(str(TOKENCOST), SINCE).lines
    stated = json.loads(TOKENCOST.read_text(), parse_float=Decimal)
    at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    usage, expected = [], []
    for name, facts in stated.items():
        if name == "sample_spec" or "/" in name or not isinstance(facts.get("input_cost_per_token"), int | Decimal):
            continue
        word = provider_called(facts["litellm_provider"])
        word = "google" if word.startswith("vertex_ai-") else word
        one, out = Decimal(facts["input_cost_per_token"]), Decimal(facts.get("output_cost_per_token", 0))
        usage.append(call(len(usage), at, word, name, input_tokens=1000, output_tokens=10 if out else 0))
        expected.append(1000 * one + (10 * out if out else 0))
        if batch := facts.get("input_cost_per_token_batches"):
            usage.append(call(len(usage), at, word, name, service_tier="batch", input_tokens=3))
            expected.append(3 * Decimal(batch))
        if above := facts.get("input_cost_per_token_above_200k_tokens"):
            usage += [call(len(usage), at, word, name, input_tokens=200_001)]
            expected.append(200_001 * Decimal(above))
    found = priced(usage, sorted_lines(lines, SINCE.date()))
    costs = dict(found.costs.select("usage_id", "cost").iter_rows())
    assert [costs[one["usage_id"]] for one in usage] == expected
    assert len(usage) > 400


# ------------------------------------------------------------------------------------- a company's own
HEADER = "provider,model,model_pattern,tenant_id,token_class,unit_price,per_tokens,currency,valid_from,valid_to,source"
CONTRACT = f"""{HEADER}
openai,gpt-4o,,acme,input,2.00,1000000,USD,2024-01-01,,contract 7
openai,gpt-4o,,acme,output,8.00,1000000,USD,2024-01-01,2024-02-01,contract 7
"""


def test_a_contract_in_csv_and_the_same_in_json(tmp_path: Path) -> None:
    (tmp_path / "contract.csv").write_text(CONTRACT)
    rows = [
        dict(zip(CONTRACT.split("\n")[0].split(","), row.split(","), strict=True)) for row in CONTRACT.split("\n")[1:3]
    ]
    for row in rows:
        row["per_tokens"] = int(row["per_tokens"])  # type: ignore[assignment]
    body = json.dumps(rows).replace('"2.00"', "2.00").replace('"8.00"', "8.00")
    (tmp_path / "contract.json").write_text(body)
    (tmp_path / "contract.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    read = [read_prices(str(tmp_path / f"contract.{kind}"), None).lines for kind in ("csv", "json", "jsonl")]
    assert read[0] == read[1] == read[2]
    assert read[0][1].valid_to == dt.datetime(2024, 2, 1, tzinfo=dt.UTC)
    assert read[0][0].as_json()["unit_price"] == "2.00"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("2.00", "2,5"), "Row 2, the end: has more fields than the header."),
        (("2.00", "cheap"), "Row 2, unit_price: 'cheap' is no decimal number."),
        (("8.00", "-8"), "Row 3, unit_price: '-8' is below 0."),
        (("8.00", "0.0000000000000333333"), "Row 3, unit_price: '0.0000000000000333333' has more than 18 decimals"),
        (("input", "inputs"), "Row 2, token_class: 'inputs' is none of input,"),
        (("USD,2024-01-01,,", "usd,2024-01-01,,"), "Row 2, currency: 'usd' is no currency of ISO 4217."),
        (("2024-02-01", "2023-02-01"), "Row 3, valid_to: is not after valid_from."),
        (("2024-01-01,,", "01.01.24,,"), "Row 2, valid_from: '01.01.24' is no date"),
        (("1000000,USD,2024-01-01,,", "many,USD,2024-01-01,,"), "Row 2, per_tokens: 'many' is no whole number."),
        (("gpt-4o,,acme,input", "gpt-4o,gpt(,acme,input"), "Row 2, model_pattern: 'gpt(' is no regular expression"),
        (("openai,gpt-4o,,acme,input", ",gpt-4o,,acme,input"), "Row 2, provider: is missing."),
        (("tenant_id", "tenant"), "Row 2, tenant: is no field of a price"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_row_and_field(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = tmp_path / "contract.csv"
    path.write_text(CONTRACT.replace(*change, 1))
    with pytest.raises(PlatformError) as told:
        read_prices(str(path), None)
    assert said in told.value.problem
    assert told.value.remedy


def test_a_contract_of_next_month_is_taken_today(home: Home, tmp_path: Path) -> None:
    (tmp_path / "contract.csv").write_text(CONTRACT.replace("2024-01-01,,", "2999-01-01,,"))
    with home.used():
        told = CliRunner().invoke(command_line(), ["prices", "load", str(tmp_path / "contract.csv")])
    assert told.exit_code == 0, told.output
    assert "announced: 1 price, from 2999-01-01 on" in told.output


@pytest.mark.parametrize("content", ["", "[", "{}", "[1]", "[[]]", '{"a": 1}', '[{"provider": NaN}]', "\x00", '"text"'])
def test_what_is_no_price_list_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(content)
    with pytest.raises(PlatformError):
        read_prices(str(path), SINCE)


# --------------------------------------------------------------------------------------- the command
def test_the_command_puts_prices_into_landing_and_they_are_taken_in_once(home: Home, tmp_path: Path) -> None:
    from data_platform.domains.metering.contracts.prices import RawModelPrices, RawModelPricesRejected

    (tmp_path / "contract.csv").write_text(CONTRACT)
    with home.used():
        for _ in range(2):
            told = CliRunner().invoke(
                command_line(), ["prices", "load", str(tmp_path / "contract.csv"), "--list", "deal"]
            )
            assert told.exit_code == 0, told.output
            home.ingest()
        listed = CliRunner().invoke(
            command_line(), ["prices", "load", "genai-prices", "--valid-from", "2024-01-01", "--json"]
        )
        assert json.loads(listed.output)["models"] > 2000
        home.ingest()
    rows = home.rows(RawModelPrices)
    assert rows.filter(pl.col("tenant_id") == "acme")["unit_price"].to_list() == ["2.00", "8.00"]
    assert len(rows) == 2 + json.loads(listed.output)["prices"]
    assert home.rows(RawModelPricesRejected).is_empty()
