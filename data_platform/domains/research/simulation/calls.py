"""The language models behind a focus group: a call for every turn. A call for a persona names the discussion in its
tags; one for the moderator only has its trace, which is the events' correlation id.
Not here: prices, and how calls are reported (domains/metering/simulation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from data_platform.domains.metering.simulation.price_list import UNPRICED_MODEL
from data_platform.simulation.text import SECOND, uuids

Row = dict[str, Any]
PROVIDER, MODEL = "google", "gemini-2.5-flash"
_OTHERS = 0.05
"""Share of a discussion's turns that are read once more afterwards, by a feature that names no discussion at all."""
_TAGS = pl.Struct({"discussion_id": pl.String(), "persona_id": pl.String()})


def calls_of(turns: Sequence[Row], experimental: frozenset[str], rng: np.random.Generator) -> pl.DataFrame:
    """A call for each response and follow-up, as `ModelCalls.report` takes them: `discussion_id` is whose it truly is,
    null of those that are no discussion's. Discussions of `experimental` call a model without a price."""
    turns = [turn for turn in turns if turn["event_type"] in ("response", "followup")]
    count = len(turns)
    again = rng.random(count) < _OTHERS
    rows = turns + [turn for turn, also in zip(turns, again, strict=True) if also]
    prompt = np.maximum(50, rng.lognormal(np.log(1_200), 0.4, len(rows))).astype(np.int64)
    answer = np.maximum(5, rng.lognormal(np.log(120), 0.5, len(rows))).astype(np.int64)
    is_own = np.arange(len(rows)) < count
    is_persona = np.array([turn["event_type"] == "response" for turn in rows], dtype=bool)
    ahead = rng.integers(SECOND, 4 * SECOND, len(rows))
    named = [
        {"discussion_id": turn["discussion_id"], "persona_id": turn["persona_id"]} if own and persona else None
        for turn, own, persona in zip(rows, is_own, is_persona, strict=True)
    ]
    traces = [turn["correlation_id"] if own else None for turn, own in zip(rows, is_own, strict=True)]
    texts = {name: pl.Series([turn[name] for turn in rows], dtype=pl.String) for name in ("tenant_id", "project_id")}
    models = [UNPRICED_MODEL if turn["discussion_id"] in experimental else MODEL for turn in rows]
    return pl.DataFrame(
        {
            "usage_id": uuids(rng, len(rows)),
            **texts,
            "feature": pl.Series(np.where(is_own, "focus_group", "summaries").tolist(), dtype=pl.String),
            "provider": pl.Series([PROVIDER] * len(rows), dtype=pl.String),
            "model": pl.Series(models, dtype=pl.String),
            "started_at": np.array([turn["occurred_at"] for turn in rows], dtype=np.int64) - ahead,
            "trace_id": pl.Series(traces, dtype=pl.String),
            "tags": pl.Series(named, dtype=_TAGS),
            "input": prompt,
            "output": answer,
            "discussion_id": pl.Series(
                [turn["discussion_id"] if own else None for turn, own in zip(rows, is_own, strict=True)],
                dtype=pl.String,
            ),
        }
    )
