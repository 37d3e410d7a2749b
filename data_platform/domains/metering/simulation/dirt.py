"""What goes wrong between a call and the landing folder, and what a correct platform does about it: copies and earlier
reports of a call are dropped, impossible numbers are rejected, calls without a tenant are billed to nobody named, what
is late comes all the same.
Not here: what is called (usage)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

_COPIES, _RETRIES, _NEGATIVE, _WRONG_SUMS, _BROKEN, _FRACTIONS = 0.02, 0.01, 0.003, 0.003, 0.003, 0.002
"""Of the day's calls, by kind: extra lines, so that costs stay as they are."""
_NOBODYS = 0.005
"""Of the day's calls: they name no tenant."""
_LATE = 0.03
"""Of the day's calls: they arrive a day later."""


@dataclass(frozen=True)
class Soiled:
    """What becomes of a day's calls."""

    arriving: pl.DataFrame
    late: pl.DataFrame = field(default_factory=pl.DataFrame)
    counted: Mapping[str, int] = field(default_factory=dict)
    """`duplicates` and `rejected` that a correct platform counts in the end."""
    cut: int = 0
    split: int = 0

    def broken(self, lines: pl.Series) -> pl.Series:
        """Further lines, made of these, that cannot even be rows: cut off, and with half a token."""
        whole = lines.filter(lines.str.contains('"input_tokens":[0-9]'))
        cut = whole.head(self.cut).str.slice(0, 40)
        halves = whole.tail(self.split).str.replace('("input_tokens":[0-9]+)', "${1}.5")
        return cut.append(halves)


def soil(calls: pl.DataFrame, rng: np.random.Generator, last_day: bool) -> Soiled:
    """The calls with dirt among them; on the last day nothing is late any more."""
    own = calls.filter(~pl.col("as_answer"))
    copies = _some(calls, _COPIES, rng)
    # The first report of a call that was cut off: nothing was said yet, and the later one has more tokens.
    retries = _some(own.filter(pl.col("status") == "ok"), _RETRIES, rng).with_columns(
        pl.format("retry-{}", "usage_id").alias("usage_id"), pl.lit("cut_off").alias("status"),
        pl.lit(0, pl.Int64).alias("output"), pl.lit(0, pl.Int64).alias("reasoning"),
    )  # fmt: skip
    negative = _renamed(_some(own, _NEGATIVE, rng), "negative").with_columns(-pl.col("input"))
    wrong = _renamed(_some(own, _WRONG_SUMS, rng), "wrong").with_columns(total_tokens=pl.lit(1, pl.Int64))
    counted = {"duplicates": len(copies) + len(retries), "rejected": len(negative) + len(wrong)}
    late = pl.Series(rng.random(len(calls)) < (0 if last_day else _LATE))
    arriving = pl.concat([calls.filter(~late), copies, retries, negative, wrong])
    cut, split = (int(rng.poisson(len(own) * share)) for share in (_BROKEN, _FRACTIONS))
    return Soiled(arriving, calls.filter(late), counted, cut, split)


def without_tenant(calls: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The calls, of which some name no tenant."""
    nobody = pl.Series(rng.random(len(calls)) < _NOBODYS, dtype=pl.Boolean)
    return calls.with_columns(pl.when(~nobody).then("tenant_id").alias("tenant_id"))


def _some(rows: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    return rows.filter(pl.Series(rng.random(len(rows)) < share, dtype=pl.Boolean))


def _renamed(rows: pl.DataFrame, why: str) -> pl.DataFrame:
    return rows.with_columns(pl.format(f"{why}-{{}}", name).alias(name) for name in ("usage_id", "request_id"))
