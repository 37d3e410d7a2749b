"""Files of other tools come in as lines of usage: what lands, what is left out, what is wrong with a file.
Not here: what a payload says (test_adapters), files that need a mapping in general (sources/test_mapping)."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_platform.core.errors import PlatformError
from data_platform.core.settings import PROJECT_ROOT
from data_platform.domains.metering.contracts.usage import LlmUsage, LlmUsageRejected, RawLlmUsageRejected
from data_platform.domains.metering.sources import LLM_USAGE
from data_platform.domains.metering.transforms.clean_usage import clean_usage
from data_platform.sources.files.mapping import map_file
from data_platform.sources.files.shapes import ShapedFile, land_file, shape_called
from data_platform_tests.support.homes import Home
from data_platform_tests.support.shared_data import SHARED_DATA
from data_platform_tests.support.usage_rows import raw_frame, raw_row

AZURE = SHARED_DATA / "azure_llm"
SPAN = {
    "name": "chat",
    "traceId": "t",
    "spanId": "s-1",
    "startTimeUnixNano": "1704276000000000000",
    "attributes": {"gen_ai.response.model": "gpt-5", "gen_ai.usage.input_tokens": 9, "gen_ai.system": "openai"},
}
TOOL = {"name": "tool", "attributes": {"gen_ai.operation.name": "execute_tool"}}
SILENT = SPAN | {"spanId": "s-2", "attributes": {"gen_ai.operation.name": "chat"}}


def landed(home: Home, name: str, content: str, form: str = "otel", **stated: str) -> ShapedFile:
    file = home.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content.encode(), mtime=0) if name.endswith(".gz") else content.encode())
    return land_file(file, shape_called(form), home.landing, stated)


def lines_of(shaped: ShapedFile) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(shaped.landed.landed.read_bytes()).splitlines()]


@pytest.mark.parametrize("name", ["spans.json", "spans.jsonl", "spans.ndjson.gz"])
def test_a_file_of_spans_lands(home: Home, name: str) -> None:
    spans = [SPAN, TOOL, SILENT]
    text = json.dumps(spans) if name == "spans.json" else "\n".join(map(json.dumps, spans))
    shaped = landed(home, name, text, tenant_id="acme")
    assert (shaped.landed.rows, shaped.left_out) == (2, {"no_model_call": 1})
    assert landed(home, name, text, tenant_id="acme").landed.landed == shaped.landed.landed


def test_what_landed_becomes_billed_calls(home: Home) -> None:
    landed(home, "spans.json", json.dumps([SPAN, SILENT]), tenant_id="acme")
    home.build([LlmUsage.key, LlmUsageRejected.key])
    assert home.rows(LlmUsage).select("usage_id", "tenant_id", "provider", "model", "total_tokens").rows() == [
        ("s-1", "acme", "openai", "gpt-5", 9)
    ]
    assert home.rows(LlmUsageRejected)["reason"].to_list() == ["no_usage"]


def test_a_payload_that_names_its_tenant_is_that_tenant_s(home: Home) -> None:
    span = SPAN | {"attributes": SPAN["attributes"] | {"tenant.id": "globex"}}
    [line] = lines_of(landed(home, "spans.json", json.dumps(span), tenant_id="acme"))
    assert line["tenant_id"] == "globex"


def test_an_entry_without_a_time_is_rejected_by_name(home: Home) -> None:
    body = {"model": "gpt-5", "usage": {"prompt_tokens": 5}}
    landed(home, "bodies.jsonl", json.dumps(body), "openai")
    home.ingest()
    assert home.rows(RawLlmUsageRejected)["reason"].to_list() == ["missing_started_at"]
    [line] = lines_of(landed(home, "bodies.jsonl", json.dumps(body), "openai", started_at="2024-01-03T10:00:00Z"))
    assert line["started_at"] == "2024-01-03T10:00:00Z"


@pytest.mark.parametrize(
    ("name", "content", "stated", "told"),
    [
        ("spans.jsonl", f"{json.dumps(SPAN)}\n{{", {}, "spans.jsonl, line 2 is no JSON"),
        ("spans.json", "", {}, "holds nothing of the shape otel"),
        ("spans.csv", "a,b", {}, "spans.csv is no JSON"),
        ("spans.json", "[]", {"tenant": "acme"}, "llm_usage has no field 'tenant'"),
    ],
)
def test_a_wrong_file_is_told_by_name(home: Home, name: str, content: str, stated: dict[str, str], told: str) -> None:
    with pytest.raises(PlatformError, match=told):
        landed(home, name, content, **stated)
    assert not list(home.landing.rglob("*.gz"))


def test_a_shape_of_nobody_is_told() -> None:
    with pytest.raises(PlatformError, match="no shape 'opentelemetry'"):
        shape_called("opentelemetry")


@pytest.mark.skipif(not AZURE.is_dir(), reason="needs the Azure trace")
@pytest.mark.parametrize("name", ["AzureLLMInferenceTrace_conv.csv", "AzureLLMInferenceTrace_code.csv"])
def test_the_azure_trace_to_the_last_token(tmp_path: Path, name: str) -> None:
    mapped = map_file(AZURE / name, PROJECT_ROOT / "examples/azure_llm.sql", LLM_USAGE, tmp_path)
    with (AZURE / name).open(encoding="utf-8-sig") as file:
        expected = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
    lines = pl.read_ndjson(gzip.decompress(mapped.landed.read_bytes()))
    moments = pl.col("started_at").str.to_datetime(time_unit="us", time_zone="UTC")
    calls = lines.with_columns(moments).with_columns(usage_date=pl.col("started_at").dt.date())
    bookkeeping = raw_frame([raw_row()]).select("source_file", "source_line", "received_at")
    raw = pl.concat([raw_frame([]), calls.join(bookkeeping, how="cross")], how="diagonal_relaxed")
    result = clean_usage(raw.select(raw_frame([]).columns), raw_frame([]).lazy())
    assert result.rejected.is_empty()
    sums = result.clean.select("input_tokens", "output_tokens").sum().row(0)
    assert (len(result.clean), *sums) == (len(expected), *map(sum, zip(*expected, strict=True)))
