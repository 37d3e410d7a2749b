"""A day of calls of language models as a file in landing, and the prices of their models.
Not here: what they cost (metering, metering_by_hand)."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl

TENANTS, MODELS, USERS = 1_000, 40, 20_000
RETRIED = 0.02
"""Share of calls that are reported again, with the tokens that the first report did not know yet."""
STEP = 200_001
CLASSES = ("input", "cache_read", "output", "reasoning")


def write_prices(path: Path) -> None:
    """Prices of all models from the first day on; every fourth has another one for long prompts."""
    lines = []
    for model in range(MODELS):
        for length in (0, STEP) if model % 4 == 0 else (0,):
            for at, name in enumerate(CLASSES):
                price = (model + 1) * (at + 1) * (2 if length else 1)
                lines.append(
                    {
                        "valid_from": "2024-01-01T00:00:00Z",
                        "provider": "openai",
                        "model": f"model-{model}",
                        "from_input_tokens": length,
                        "token_class": name,
                        "unit_price": f"{price / 100:.2f}",
                        "per_tokens": 1_000_000,
                        "currency": "USD",
                        "source": "benchmark",
                    }
                )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_calls(path: Path, day: dt.date, count: int) -> int:
    """So many reports of the day as gzipped lines, in the order of time; how many bytes they are as text."""
    rng = np.random.default_rng([day.toordinal(), count])
    retried = int(count * RETRIED)
    calls = count - retried
    tenant = np.minimum((TENANTS * rng.random(calls) ** 3).astype(int), TENANTS - 1)
    second = np.sort(rng.integers(0, 86_400_000, calls))
    frame = pl.DataFrame(
        {
            "usage_id": pl.Series(np.arange(calls)).cast(pl.String).str.zfill(9).str.replace("^", f"u-{day}-"),
            "tenant_id": "tenant-" + pl.Series(tenant).cast(pl.String),
            "project_id": "project-" + pl.Series(rng.integers(0, 5, calls)).cast(pl.String),
            "user_id": "user-" + pl.Series(rng.integers(0, USERS, calls)).cast(pl.String),
            "feature": pl.Series(np.array(["chat", "search", "summary", "npc"])[rng.integers(0, 4, calls)]),
            "provider": pl.Series(["openai"]).new_from_index(0, calls),
            "model": "model-" + pl.Series(np.minimum(MODELS - 1, rng.geometric(0.12, calls) - 1)).cast(pl.String),
            "started_at": (pl.Series(second).cast(pl.Duration("ms")) + dt.datetime.combine(day, dt.time())).dt.strftime(
                "%Y-%m-%dT%H:%M:%S%.3fZ"
            ),
            "duration_ms": rng.integers(100, 20_000, calls),
            "status": pl.Series(np.array(["ok", "error"])[(rng.random(calls) < 0.01).astype(int)]),
            "request_id": pl.Series(rng.integers(0, 1 << 62, calls))
            .cast(pl.String)
            .str.zfill(19)
            .str.replace("^", "req-"),
            "input_tokens": np.exp(rng.normal(7, 1.5, calls)).astype(np.int64),
            "cache_read_tokens": (np.exp(rng.normal(6, 2, calls)) * (rng.random(calls) < 0.3)).astype(np.int64),
            "output_tokens": np.exp(rng.normal(5.5, 1, calls)).astype(np.int64),
            "reasoning_tokens": (np.exp(rng.normal(6, 1, calls)) * (rng.random(calls) < 0.2)).astype(np.int64),
        }
    )
    again = frame.sample(retried, seed=1).with_columns(
        pl.col("usage_id") + "-again", output_tokens=pl.col("output_tokens") + 17
    )
    text = pl.concat([frame, again]).sort("started_at", "usage_id").write_ndjson().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, 1))
    return len(text)
