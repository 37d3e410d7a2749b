"""Days of reports too big for memory, in parts that can be cleaned one after the other as if they were the whole.
Not here: cleaning (clean_usage)."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from data_platform.domains.metering.contracts.usage import LlmUsage, RawLlmUsage
from data_platform.domains.metering.transforms.clean_usage import (
    fingerprint,
    judged_reports,
    plain_fingerprint,
    whose_call,
)
from data_platform.domains.metering.transforms.read_payloads import is_foreign, with_payloads_read

LINE = ["source_file", "source_line", "received_at"]
PAYLOADS = 50_000
"""Reports of other shapes that are read at a time to see which calls they are of."""
CALL, ID = "call", "id"


def in_parts(raw: pl.LazyFrame, parts: int) -> Iterator[pl.DataFrame]:
    """Whole days of RawLlmUsage in so many parts, empty ones left out. All reports of a call are in one, and so are all
    calls that have an id in common: which of these keeps it is decided among them. Payloads are read twice for it.

    Calls are told apart by a hash; where two meet, they come in one part, which changes nothing.
    """
    if parts <= 1:
        yield raw.collect()
        return
    reports = _with_calls(raw)
    shared = reports.group_by(ID).agg(pl.col(CALL).n_unique().alias("calls")).filter(pl.col("calls") > 1).select(ID)
    ids = shared.collect(engine="streaming")[ID]
    together = reports.filter(pl.col(ID).is_in(ids.implode())).select(pl.col(CALL).unique()).collect()[CALL]
    part = pl.when(pl.col(CALL).is_in(together.implode())).then(0).otherwise(pl.col(CALL) % parts)
    for number in range(parts):
        found = reports.filter(part == number).select(list(RawLlmUsage.columns)).collect(engine="streaming")
        if len(found):
            yield found


def _with_calls(raw: pl.LazyFrame) -> pl.LazyFrame:
    """The reports, with a hash of the call that each is of, and one of its id on its day."""
    id_of_line = pl.struct("usage_date", whose_call(), "usage_id").hash()
    own = raw.filter(~is_foreign()).with_columns(plain_fingerprint().alias(CALL), id_of_line.alias(ID))
    foreign = raw.filter(is_foreign())
    told = [
        judged_reports(with_payloads_read(batch)).select(
            *LINE, fingerprint().alias(CALL), pl.struct(LlmUsage.primary_key).hash().alias(ID)
        )
        for batch in foreign.collect_batches(chunk_size=PAYLOADS, lazy=True)
    ]
    return pl.concat([own, foreign.join(pl.concat(told).lazy(), on=LINE)]) if told else own
