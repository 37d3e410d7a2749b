"""Feast's definitions of our feature sets, written as Python source from the contracts.
Belongs here: entities, sources, views, fields, types. Not here: the Parquet files they read (repository)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from data_platform.core.errors import PlatformError
from data_platform.features.catalogue import FeatureSet, describe_columns

VALID_FROM = "event_timestamp"
"""When the values of a row begin to hold: the end of its snapshot day. Feast's name."""
KNOWN_FROM = "created_timestamp"
"""When a version of a row became known. Feast's name."""
AS_KNOWN = "_as_known"
"""Ending of the view that also has what was corrected since."""

MADE_BY = "Made by `data-platform features feast-repo`"

CONFIGURATION = """\
project: data_platform
provider: local
registry: registry.db
offline_store:
  type: duckdb
online_store:
  type: sqlite
  path: online_store.db
entity_key_serialization_version: 3
"""

_HEADER = f'''\
"""Feature sets of the data platform for Feast. {MADE_BY}, which overwrites this file:
your own definitions go into files beside it. `feast apply` says that it could not validate paths with a `*`; it reads
them all the same."""

import datetime
from pathlib import Path

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Bool, Decimal, Float32, Float64, Int32, Int64, String, UnixTimestamp

DATA = Path(__file__).resolve().parent / "data"
'''

_FEAST_TYPES = {
    pl.Boolean: "Bool",
    pl.Int8: "Int32",
    pl.Int16: "Int32",
    pl.Int32: "Int32",
    pl.Int64: "Int64",
    pl.UInt8: "Int32",
    pl.UInt16: "Int32",
    pl.UInt32: "Int64",
    pl.Float32: "Float32",
    pl.Float64: "Float64",
    pl.String: "String",
    pl.Datetime: "UnixTimestamp",
    pl.Decimal: "Decimal",
}


def definitions(sets: Sequence[FeatureSet], as_known: Sequence[FeatureSet] = ()) -> str:
    """Python source: an entity per key column, a source and a view per set; another view `<set>_as_known` for the sets
    `as_known`. Raises PlatformError for a column whose type Feast does not have."""
    parts = [_HEADER]
    parts += [_entity(name) for name in dict.fromkeys(one.entity for one in sets)]
    for one in sets:
        parts.append(_source(one.name, f"{one.name}/*/*.parquet", known_from=False))
        parts.append(_view(one, one.name, one.table.table_description()))
    for one in as_known:
        name = one.name + AS_KNOWN
        description = (
            f"{one.name} with every version of a corrected row. With filter_by_created_timestamp=True: as it was known "
            "at the moment of each entity row."
        )
        parts.append(_source(name, f"{name}/*.parquet", known_from=True))
        parts.append(_view(one, name, description))
    return "\n".join(parts)


def _entity(column: str) -> str:
    name = column.removesuffix("_id")
    return f"{name} = Entity(name={name!r}, join_keys=[{column!r}], value_type=ValueType.STRING)\n"


def _source(name: str, files: str, known_from: bool) -> str:
    lines = [
        f"name={name + '_files'!r},",
        f'path=f"{{DATA}}/{files}",',
        "file_format=ParquetFormat(),",
        f"timestamp_field={VALID_FROM!r},",
        *([f"created_timestamp_column={KNOWN_FROM!r},"] if known_from else []),
    ]
    return _call(f"{name}_files = FileSource", lines)


def _view(one: FeatureSet, name: str, description: str) -> str:
    ttl = one.table.ttl or dt.timedelta(0)  # Feast's word for: for ever
    fields = [f"Field(name={one.entity!r}, dtype=String),"]
    for feature in describe_columns(one):
        dtype = _feast_type(one, feature.name)
        unit = f", tags={dict(unit=feature.unit)}" if feature.unit else ""
        fields.append(f"Field(name={feature.name!r}, dtype={dtype}, description={feature.description!r}{unit}),")
    tags = {"table": one.table.key, "contract_version": one.table.version()}
    lines = [
        f"name={name!r},",
        f"entities=[{one.entity.removesuffix('_id')}],",
        f"ttl={ttl!r},",
        f"source={name}_files,",
        "schema=[",
        *(f"    {field}" for field in fields),
        "],",
        f"description={description!r},",
        f"owner={one.table.owner!r},",
        f"tags={tags},",
    ]
    return _call(f"{name} = FeatureView", lines)


def _call(target: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{target}(", *(f"    {line}" for line in lines), ")"]) + "\n"


def _feast_type(one: FeatureSet, feature: str) -> str:
    dtype = one.table.columns[feature].dtype
    found = _FEAST_TYPES.get(dtype.base_type())
    if found is None:
        raise PlatformError(
            f"Feast has no type for {one.name}.{feature}, which is {dtype}.",
            "Name the sets you want without this one, or declare the feature as a number, text or moment.",
        )
    return found
