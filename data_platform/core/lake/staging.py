"""Rows written as Parquet inside a table's folder, under names that no commit knows yet.
Belongs here: how a file is cut, sorted, packed and named. Not here: making it visible (store), its place (files)."""

from __future__ import annotations

import io
import uuid
import zlib

import polars as pl

from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Table
from data_platform.core.faults import about
from data_platform.core.lake.commits import StagedFile
from data_platform.core.lake.files import LakeFiles
from data_platform.core.sorting import sorted_by


def stage(lake: LakeFiles, table: type[Table], frame: pl.DataFrame) -> list[StagedFile]:
    """The frame as one Parquet file per partition. Raises as `require_schema` where it is not the contract's."""
    require_schema(table, frame)
    if frame.is_empty():
        return []
    if table.partition is None:
        return [stage_file(lake, table, None, frame)]
    days = frame[table.partition]
    if days.n_unique() == 1:
        return [stage_file(lake, table, str(days[0]), frame)]
    return [
        stage_file(lake, table, str(day), part)
        for (day,), part in frame.partition_by(table.partition, as_dict=True, maintain_order=True).items()
    ]


def stage_file(
    lake: LakeFiles, table: type[Table], partition: str | None, frame: pl.DataFrame, kind: str = "part"
) -> StagedFile:
    """One file of one partition. Its name begins with its kind and holds a checksum of its bytes, for `scrub`: 6 ms
    for a million rows."""
    if table.sorted:
        frame = sorted_by(frame, table.primary_key)
    folder = f"{table.partition}={partition}/" if partition is not None else ""
    body = frame.drop(table.partition) if partition is not None and table.partition else frame
    buffer = io.BytesIO()
    # Level 1: 1M event rows in 0.27 s and 39 MB; level 3 takes a third longer for the same size.
    body.write_parquet(buffer, compression="zstd", compression_level=1)
    content = buffer.getbuffer()
    path = f"{folder}{kind}-{uuid.uuid4()}.{zlib.crc32(content):08x}.zstd.parquet"
    with about(table.key):
        lake.stage(f"{table.key}/{path}", content)
    return StagedFile(path, partition, len(frame), content.nbytes)
