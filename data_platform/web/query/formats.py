"""How rows are written: JSON, CSV, Parquet, Arrow. Money is exact: decimal text in the first two, else decimals.
Belongs here: which format is meant, whole answers. Not here: rows that are streamed (export)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from data_platform.core.http.problems import Problem
from data_platform.core.spreadsheets import without_formulas
from data_platform.web.query.questions import FORMATS


def chosen_format(named: str | None, accept: bytes, known: Sequence[str]) -> str:
    """What ?format= names, else the first of Accept that is known, else the first there is. Raises Problem 406."""
    if named is not None:
        if named not in known:
            raise Problem(406, "not-acceptable", f"{named} is not written here.", f"There is {', '.join(known)}.")
        return named
    wanted = [part.partition(";")[0].strip().lower() for part in accept.decode("latin-1").split(",") if part.strip()]
    types = {FORMATS.get(name, "application/x-ndjson"): name for name in known}
    for media_type in wanted:
        if media_type in types:
            return types[media_type]
        if media_type in ("*/*", "application/*"):
            return known[0]
    if wanted:
        detail = "None of the media types in Accept is written here."
        raise Problem(406, "not-acceptable", detail, f"There is {', '.join(types)}.")
    return known[0]


def encoded(rows: pl.DataFrame, name: str, envelope: Mapping[str, Any]) -> bytes:
    """A whole answer. JSON has the envelope's members, and then `rows`."""
    if name == "json":
        return json.dumps(dict(envelope))[:-1].encode() + b', "rows": ' + as_text(rows).write_json().encode() + b"}"
    written = io.BytesIO()
    if name == "csv":
        as_text(without_formulas(rows)).write_csv(written)
    elif name == "parquet":
        rows.write_parquet(written, compression="zstd")
    else:
        rows.write_ipc_stream(written, compat_level=pl.CompatLevel.oldest())
    return written.getvalue()


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Decimals as text without needless zeros, moments as ISO 8601 in UTC; everything else as it is."""
    expressions = []
    for name, dtype in rows.schema.items():
        if isinstance(dtype, pl.Decimal):
            text = pl.col(name).cast(pl.String)
            fraction = text.str.strip_chars_end("0").str.strip_chars_end(".")
            expressions.append(pl.when(text.str.contains(".", literal=True)).then(fraction).otherwise(text).alias(name))
        elif isinstance(dtype, pl.Datetime):
            expressions.append(pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
        elif dtype == pl.Date():
            expressions.append(pl.col(name).cast(pl.String))
        elif dtype == pl.Binary():
            expressions.append(pl.col(name).bin.encode("base64"))
    return rows.with_columns(expressions)
