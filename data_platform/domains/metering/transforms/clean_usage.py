"""From reports of usage as received to billed calls: each once, the rest rejected with a reason or counted.
Belongs here: what a possible report is, which reports are of one call, and which of them counts.
Not here: other shapes than ours (read_payloads), prices."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.canonical import row_digest
from data_platform.core.contract.received import ReceivedLines
from data_platform.core.text import says_something
from data_platform.domains.metering.contracts.usage import (
    MOST_TOKENS,
    UNATTRIBUTED,
    LlmUsage,
    LlmUsageRejected,
    RawLlmUsage,
)
from data_platform.domains.metering.providers import UNKNOWN_PROVIDER, provider_called
from data_platform.domains.metering.token_classes import TOKEN_CLASSES, tokens_of
from data_platform.domains.metering.transforms.read_payloads import REASON, is_foreign, with_payloads_read
from data_platform.domains.metering.usage_report import (
    CONFLICTING_ID,
    DO_NOT_ADD_UP,
    MISSING_MODEL,
    NEGATIVE,
    NO_USAGE,
    TOO_MANY,
)

OK = "ok"
INTERACTIVE = ("", "default", "standard", "auto", "on_demand", "interactive")
"""Service tiers by which providers call what costs the usual price."""
AROUND = (-1, 0, 1)
"""Days between two reports of one call. A retry around midnight lands on the other day; two days later it is a call of
its own."""

TOKENS = [tokens_of(name) for name in TOKEN_CLASSES]
CALL = ("tenant_id", "by_request", "call_id")
"""What makes two reports one call: the provider's id of the request, or, without one, the id of the report."""
CONTENT = [name for name in LlmUsage.columns if name != "reports"]
RECEIVED = [name for name in RawLlmUsage.columns if name not in ReceivedLines.columns or name == "extra_fields"]
"""What a rejected line said, without where it was found: a retry differs in that."""


@dataclass(frozen=True)
class CleanedUsage:
    """Where every raw row went: raw rows = clean + duplicates + rejected, on each day."""

    clean: pl.DataFrame
    """LlmUsage."""
    rejected: pl.DataFrame
    """LlmUsageRejected."""
    duplicates: pl.DataFrame
    """One row per usage_date of the input: usage_date, duplicates (reports of a call that another one stands for)."""


def clean_usage(raw: pl.DataFrame, beside: pl.LazyFrame) -> CleanedUsage:
    """Sort whole days of RawLlmUsage into billed calls, rejected reports and a count of duplicates.

    `beside` holds the days before and after them that are not among them. Of the reports of one call (`CALL`) that are
    at most a day apart the one with most tokens counts, then `ok` before failed, then by content, and it counts on its
    own day. Equal rejected reports are rejected once. The order of rows in the result is free.
    """
    days = raw.select(pl.col("usage_date").unique())
    judged = judged_reports(with_payloads_read(raw.with_row_index("row"))).with_row_index("place")
    is_good = judged[REASON].is_null()
    # What counts is decided by hashes, and of the few reports that share one by all that they say: the others' columns,
    # two dozen of a million rows, are taken up once.
    call = judged.select(fingerprint().alias("call"))["call"]
    rivals = _rivals(call.filter(is_good), beside)
    shared = _repeated(pl.concat([call.filter(is_good), rivals["call"]]))
    is_shared = call.is_in(shared.implode())
    theirs = rivals.filter(pl.col("call").is_in(shared.implode())).select(judged.columns)
    chosen, dropped = _one_of_each(pl.concat([judged.filter(is_good & is_shared), theirs]))
    once = pl.repeat(1, len(judged), dtype=pl.Int64, eager=True).alias("reports")
    reports = once.scatter(chosen["place"], chosen["reports"])
    counts = (is_good & ~is_shared).scatter(chosen["place"], True)
    conflicting = _conflicting(judged, counts)
    counts = counts.scatter(conflicting["place"], False)
    # In one chunk, as judging and sorting take it up again and again: 0.1 s that save them 0.5 s of a million calls.
    clean = judged.with_columns(reports).select(list(LlmUsage.columns)).filter(counts).rechunk()
    bad = judged.filter(~is_good).select("row", REASON)
    rejected, copies = _rejected(raw, pl.concat([bad, conflicting.select("row", pl.lit(CONFLICTING_ID).alias(REASON))]))
    counted = pl.concat([dropped, copies]).group_by("usage_date").agg(pl.col("duplicates").sum())
    duplicates = days.join(counted, on="usage_date", how="left").with_columns(pl.col("duplicates").fill_null(0))
    return CleanedUsage(clean, rejected, duplicates)


def judged_reports(reports: pl.DataFrame) -> pl.DataFrame:
    """Reports with what they leave out filled in, their call, and as `reason` the first thing that is wrong."""
    tokens = pl.col(TOKENS)
    total = pl.sum_horizontal(TOKENS)
    named = reports.with_columns(
        whose_call(),
        pl.when(says_something("status")).then("status").otherwise(pl.lit(OK)).alias("status"),
        _renamed(reports["provider"]),
        tier_called(pl.col("service_tier")).alias("service_tier"),
        pl.when(pl.all_horizontal(tokens.is_null())).then(pl.lit(NO_USAGE)).alias("silent"),
        tokens.fill_null(0),
    )
    reason = pl.coalesce(
        REASON,
        "silent",
        pl.when(pl.any_horizontal(tokens < 0)).then(pl.lit(NEGATIVE)),
        pl.when(pl.any_horizontal(tokens > MOST_TOKENS)).then(pl.lit(TOO_MANY)),
        pl.when(~says_something("model")).then(pl.lit(MISSING_MODEL)),
        pl.when(pl.col("total_tokens") != total).then(pl.lit(DO_NOT_ADD_UP)),
    )
    by_request = says_something("request_id")
    return named.with_columns(
        reason.alias(REASON),
        total.alias("total_tokens"),
        by_request=by_request,
        call_id=pl.when(by_request).then("request_id").otherwise("usage_id"),
    )


def whose_call() -> pl.Expr:
    """`tenant_id`, also where nobody says one."""
    return pl.when(says_something("tenant_id")).then("tenant_id").otherwise(pl.lit(UNATTRIBUTED)).alias("tenant_id")


def _renamed(providers: pl.Series) -> pl.Series:
    """Our words for providers, of which there are few different ones."""
    different = [name for name in providers.unique() if name is not None]
    words = {name: provider_called(name) or UNKNOWN_PROVIDER for name in different}
    return providers.replace_strict(words, default=UNKNOWN_PROVIDER, return_dtype=pl.String)


def tier_called(stated: pl.Expr) -> pl.Expr:
    """A service tier in small letters; null for what costs the usual price."""
    small = stated.str.strip_chars().str.to_lowercase()
    return pl.when(~small.is_in(INTERACTIVE)).then(small)


def fingerprint() -> pl.Expr:
    """Hashing a call takes a fifth of grouping by it; a collision merely sends two rows the long way."""
    return pl.struct(CALL).hash()


def _rivals(calls: pl.Series, beside: pl.LazyFrame) -> pl.DataFrame:
    """Possible reports of the same calls (by `fingerprint`) on the days around: read as far as they are needed. Columns
    of `judged_reports`, `row` and `place` null, and `call`."""
    known = pl.LazyFrame({"call": calls})
    ours = beside.filter(~is_foreign()).with_columns(call=plain_fingerprint()).join(known, on="call", how="semi")
    reports = pl.concat([ours.drop("call"), beside.filter(is_foreign())]).collect(engine="streaming")
    none = pl.lit(None, pl.UInt32)
    judged = judged_reports(with_payloads_read(reports.with_columns(row=none, place=none)))
    possible = judged.filter(pl.col(REASON).is_null()).with_columns(call=fingerprint())
    return possible.join(known.collect(), on="call", how="semi")


def plain_fingerprint() -> pl.Expr:
    """The fingerprint of lines of our own shape, whose call stands in the line."""
    by_request = says_something("request_id")
    return pl.struct(
        whose_call(),
        by_request.alias("by_request"),
        pl.when(by_request).then("request_id").otherwise("usage_id").alias("call_id"),
    ).hash()


def _one_of_each(reports: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(`place` and number of `reports` of those that count, reports dropped per day) of possible reports; those of
    other days have no place."""
    ranked = counting_reports(reports).with_row_index("rank")
    by_day = ranked.group_by(*CALL, "usage_date").agg(best=pl.col("rank").min(), told=pl.len().cast(pl.Int64))
    seen_from = [by_day.with_columns(pl.col("usage_date") + dt.timedelta(days)) for days in AROUND]
    around = pl.concat(seen_from).group_by(*CALL, "usage_date").agg(pl.col("best").min(), reports=pl.col("told").sum())
    own = ranked.filter(pl.col("place").is_not_null()).join(around, on=[*CALL, "usage_date"])
    counts = pl.col("rank") == pl.col("best")
    dropped = own.filter(~counts).group_by("usage_date").agg(duplicates=pl.len().cast(pl.Int64))
    return own.filter(counts).select("place", "reports"), dropped


def _repeated(hashes: pl.Series) -> pl.Series:
    """Hashes that more than one row has. Sorted, equal ones lie together: a third of the time of counting."""
    ordered = hashes.sort()
    return ordered.filter(ordered == ordered.shift(1)).unique()


def counting_reports(reports: pl.DataFrame) -> pl.DataFrame:
    """Reports of calls, of each the one that counts first: most tokens, `ok`, then by content. The order of arrival
    means nothing."""
    ranked = reports.with_columns(failed=pl.col("status") != OK)
    order = ["total_tokens", "failed", *(name for name in CONTENT if name != "total_tokens")]
    return ranked.sort(order, descending=[True, *[False] * (len(order) - 1)], nulls_last=True).drop("failed")


def _conflicting(judged: pl.DataFrame, counts: pl.Series) -> pl.DataFrame:
    """Of the reports that count those under an id that another one of the tenant has on that day: a call is found by
    its id."""
    ids = judged.select(LlmUsage.primary_key).hash_rows()
    several = counts & ids.is_in(_repeated(ids.filter(counts)).implode())
    ordered = counting_reports(judged.filter(several))
    return ordered.filter(~pl.struct(LlmUsage.primary_key).is_first_distinct())


# -------------------------------------------------------------------------------------------------- what is rejected
def _rejected(raw: pl.DataFrame, reasons: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(LlmUsageRejected, copies dropped per day) of rows of `raw` by number."""
    lines = raw[reasons["row"]].select(
        pl.col("usage_date"), pl.col("started_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias("started_at"),
        *(name for name in RECEIVED if name not in ("usage_date", "started_at")),
    )  # fmt: skip
    said = [_as_json(line) for line in lines.iter_rows(named=True)]
    rows = pl.DataFrame(
        {
            "event_date": lines["usage_date"],
            REASON: reasons[REASON],
            "row_digest": pl.Series([row_digest(one) for one in said], dtype=pl.String),
            "row": pl.Series(said, dtype=pl.String),
        }
    )
    once = rows.unique(["event_date", REASON, "row_digest"])
    copies = rows.group_by(usage_date="event_date").agg(
        duplicates=pl.len().cast(pl.Int64) - pl.struct(REASON, "row_digest").n_unique().cast(pl.Int64)
    )
    return once.select(list(LlmUsageRejected.columns)), copies


def _as_json(line: Mapping[str, Any]) -> str:
    """What the line said, without what it did not; its objects as they were written."""
    fields = (
        f"{json.dumps(name)}:{value if RawLlmUsage.columns[name].is_json else json.dumps(value, default=str)}"
        for name, value in line.items()
        if value is not None
    )
    return "{" + ",".join(fields) + "}"


def days_around(days: Sequence[dt.date]) -> list[dt.date]:
    """The other days on which reports of the calls of these days may be, ascending."""
    around = {day + dt.timedelta(step) for day in days for step in AROUND}
    return sorted(around - {*days})
