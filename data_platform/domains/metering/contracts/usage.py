"""Contracts of usage: calls of language models as received, and each billed call once, in disjoint token classes.
Not here: prices and costs."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.received import ReceivedLines, RejectedLines, RejectedRows
from data_platform.core.contract.table import JsonObject, Personal, Rule, Table, column, within
from data_platform.domains.metering.token_classes import TOKEN_CLASSES, tokens_of

OWNER = "team:finance"
UNATTRIBUTED = "unattributed"
"""Tenant of calls that name none: their cost is somebody's, and is shown."""
MOST_TOKENS = 10**12
"""Of one class in one call: more is an overflow of whoever counted."""


class Caller(Table):
    """Who a call was for."""

    project_id: str | None = column("The tenant's project.")
    user_id: str | None = column("Whose request it was.", personal=Personal.PSEUDONYM)
    feature: str | None = column("What of the product called, for example `npc_dialogue`.")


class Call(Table):
    """A call of a language model, without its tokens."""

    provider: str | None = column("Who ran the model, for example `openai` or `bedrock`.")
    model: str | None = column("The model that answered, as the provider names it, else the one that was asked for.")
    region: str | None = column("Where the model ran, if prices depend on it.")
    service_tier: str | None = column("How it was served: null for interactive, `batch`, `flex`, `priority`.")
    started_at: dt.datetime = column("When the call was made (UTC).")
    duration_ms: int | None = column("From request to the end of the answer.", unit="ms")
    status: str | None = column("`ok`, or what went wrong; failed calls are billed for what they used.")
    request_id: str | None = column("The provider's id of the request; reports of one request are one billed call.")
    trace_id: str | None = column("The trace that the call is part of.")
    prefix_hash: str | None = column("Digest of the prompt's repeated beginning, where the caller knows it.")
    prefix_tokens: int | None = column("Tokens of that beginning.", unit="tokens")
    tags: JsonObject | None = column("What else the caller says of it.", personal=Personal.CONTENT)


class Tokens(Table):
    """Tokens of a call by class; null where the report says nothing of a class."""

    input_tokens: int | None = column(TOKEN_CLASSES["input"], unit="tokens")
    cache_read_tokens: int | None = column(TOKEN_CLASSES["cache_read"], unit="tokens")
    cache_write_tokens: int | None = column(TOKEN_CLASSES["cache_write"], unit="tokens")
    cache_write_1h_tokens: int | None = column(TOKEN_CLASSES["cache_write_1h"], unit="tokens")
    audio_input_tokens: int | None = column(TOKEN_CLASSES["audio_input"], unit="tokens")
    image_input_tokens: int | None = column(TOKEN_CLASSES["image_input"], unit="tokens")
    output_tokens: int | None = column(TOKEN_CLASSES["output"], unit="tokens")
    reasoning_tokens: int | None = column(TOKEN_CLASSES["reasoning"], unit="tokens")
    audio_output_tokens: int | None = column(TOKEN_CLASSES["audio_output"], unit="tokens")
    image_output_tokens: int | None = column(TOKEN_CLASSES["image_output"], unit="tokens")


class RawLlmUsage(Tokens, Call, Caller, ReceivedLines):
    """Reports of calls as received, duplicates included: either with their tokens by class, or in another shape
    (`format`) as `payload`: what a provider answered, a span, an entry of another tool's log."""

    key = "raw/llm_usage"
    partition = "usage_date"
    primary_key = ("usage_date", "source_file", "source_line", "received_at")
    owner = OWNER
    tenant = "tenant_id"
    fresh = within(hours=26, warn=dt.timedelta(hours=3))

    usage_date: dt.date = column("UTC day of `started_at`.")
    usage_id: str = column("Id of the report, given by whoever reports it.", min_length=1)
    tenant_id: str | None = column("Whose call it was.")
    total_tokens: int | None = column("Tokens that the provider says it bills for, if it says so.", unit="tokens")
    format: str | None = column("Shape of `payload`, one of the adapters; null where the line has the tokens itself.")
    payload: JsonObject | None = column("The report in its own shape.", personal=Personal.CONTENT)


class RawLlmUsageRejected(RejectedLines):
    """Lines of usage files that cannot be reports."""

    key = "raw/llm_usage_rejected"
    owner = OWNER


class LlmUsage(Call, Caller):
    """Each billed call once, its tokens in disjoint classes whose sum is what the provider bills for."""

    key = "clean/llm_usage"
    partition = "usage_date"
    # A tenant's rows lie together within a day; ids of two tenants may be equal.
    primary_key = ("usage_date", "tenant_id", "usage_id")
    owner = OWNER
    tenant = "tenant_id"
    within_tenant = "project_id"
    fresh = within(hours=26, warn=dt.timedelta(hours=3))
    row_rules = (
        Rule(
            "classes_sum_to_total",
            "the token classes sum to total_tokens",
            pl.sum_horizontal(tokens_of(name) for name in TOKEN_CLASSES) == pl.col("total_tokens"),
        ),
    )

    usage_date: dt.date = column("UTC day of `started_at`.")
    usage_id: str = column("Id of the report that counts.", min_length=1)
    tenant_id: str = column(f"Whose call it was; `{UNATTRIBUTED}` where nobody says.", min_length=1)
    provider: str = column("Who ran the model, small letters; `unknown` where nobody says.", min_length=1)
    model: str = column("The model, as the provider names it.", min_length=1)
    status: str = column("`ok`, or what went wrong.", min_length=1)
    reports: int = column("Reports that were received of the call: retries of sending it, parts of a stream.", ge=1)
    input_tokens: int = column(TOKEN_CLASSES["input"], unit="tokens", ge=0, le=MOST_TOKENS)
    cache_read_tokens: int = column(TOKEN_CLASSES["cache_read"], unit="tokens", ge=0, le=MOST_TOKENS)
    cache_write_tokens: int = column(TOKEN_CLASSES["cache_write"], unit="tokens", ge=0, le=MOST_TOKENS)
    cache_write_1h_tokens: int = column(TOKEN_CLASSES["cache_write_1h"], unit="tokens", ge=0, le=MOST_TOKENS)
    audio_input_tokens: int = column(TOKEN_CLASSES["audio_input"], unit="tokens", ge=0, le=MOST_TOKENS)
    image_input_tokens: int = column(TOKEN_CLASSES["image_input"], unit="tokens", ge=0, le=MOST_TOKENS)
    output_tokens: int = column(TOKEN_CLASSES["output"], unit="tokens", ge=0, le=MOST_TOKENS)
    reasoning_tokens: int = column(TOKEN_CLASSES["reasoning"], unit="tokens", ge=0, le=MOST_TOKENS)
    audio_output_tokens: int = column(TOKEN_CLASSES["audio_output"], unit="tokens", ge=0, le=MOST_TOKENS)
    image_output_tokens: int = column(TOKEN_CLASSES["image_output"], unit="tokens", ge=0, le=MOST_TOKENS)
    total_tokens: int = column("Tokens that are billed: the sum of the classes.", unit="tokens", ge=0)


class LlmUsageRejected(RejectedRows):
    """Reports that are no billed call: unreadable, without usage, with impossible numbers."""

    key = "clean/llm_usage_rejected"
    owner = OWNER

    event_date: dt.date = column("Day of the row, as in the raw table.", derived_from=[RawLlmUsage.usage_date])
