"""All rows of a period as one stream: however many there are, a few thousand of them are in memory.
Belongs here: writing batch by batch. Not here: which rows (tables), who may have them (access)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.core.spreadsheets import without_formulas
from data_platform.web.query.formats import as_text

BATCH_ROWS = 20_000
"""At some 0.5 KB a row 10 MB; the file that they are read from is held packed, not unpacked."""
STREAMED = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


def streamed(rows: pl.LazyFrame, name: str) -> Iterator[bytes]:
    """The rows in a format, part by part."""
    empty = pl.DataFrame(schema=rows.collect_schema())
    batches = rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, lazy=True)
    if name in ("csv", "ndjson"):
        yield from _text(empty, batches, name)
    else:
        yield from _binary(empty, batches, name)


def _text(empty: pl.DataFrame, batches: Iterator[pl.DataFrame], name: str) -> Iterator[bytes]:
    # With the first rows, not before them: what cannot be read at all is refused, rather than begun.
    heading = empty.write_csv() if name == "csv" else ""
    for batch in batches:
        if name == "csv":
            text = as_text(without_formulas(batch)).write_csv(include_header=False)
        else:
            text = as_text(batch).write_ndjson()
        yield (heading + text).encode()
        heading = ""
    yield heading.encode()


def _binary(empty: pl.DataFrame, batches: Iterator[pl.DataFrame], name: str) -> Iterator[bytes]:
    """Parquet with a row group, or an Arrow stream with a record batch, for each batch."""
    pipe = _Pipe()
    schema = _arrow(empty).schema
    writer = (
        pq.ParquetWriter(pipe, schema, compression="zstd") if name == "parquet" else pa.ipc.new_stream(pipe, schema)
    )
    for batch in batches:
        writer.write_table(_arrow(batch).cast(schema))
        yield pipe.taken()
    writer.close()
    yield pipe.taken()


def _arrow(frame: pl.DataFrame) -> Any:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


class _Pipe:
    """A file that is written to, and taken from meanwhile."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Nothing waits: what is written can be taken."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
