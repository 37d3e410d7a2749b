"""Features of now, from the online store, in the shape Feast gives them.
Not here: the stores themselves (online), HTTP (api)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from data_platform.core.contract.calendar import end_of
from data_platform.core.errors import PlatformError
from data_platform.features.catalogue import FeatureSet

if TYPE_CHECKING:
    import pandas as pd

    from data_platform.features.online.store import OnlineStore, OnlineVector


@dataclass(frozen=True)
class Served:
    """What one feature set was answered from."""

    snapshot_date: dt.date
    version: int
    written_at: dt.datetime


@dataclass(frozen=True)
class OnlineResponse:
    """One value per feature and entity row, in the order of the rows."""

    rows: Mapping[str, Sequence[Any]]
    """Columns of the entity rows."""
    values: Mapping[str, Sequence[Any]]
    """Column → value per row; None also for what is expired or missing."""
    statuses: Mapping[str, Sequence[str]]
    """Column → `present`, `null`, `expired` or `missing` per row."""
    timestamps: Mapping[str, Sequence[dt.datetime | None]]
    """Column → the moment from which on the value holds."""
    served: Mapping[str, Served]
    """Feature set → the snapshot it was answered from; a set of which nothing was found is not in it."""

    def to_dict(self, include_event_timestamps: bool = False, include_status: bool = False) -> dict[str, list[Any]]:
        """Column → values; on request also `<column>__ts` and `<column>__status`."""
        columns = {name: list(values) for name, values in {**self.rows, **self.values}.items()}
        if include_event_timestamps:
            columns |= {f"{name}__ts": list(values) for name, values in self.timestamps.items()}
        if include_status:
            columns |= {f"{name}__status": list(values) for name, values in self.statuses.items()}
        return columns

    def to_polars(self, include_event_timestamps: bool = False, include_status: bool = False) -> pl.DataFrame:
        return pl.DataFrame(self.to_dict(include_event_timestamps, include_status), strict=False)

    def to_df(self, include_event_timestamps: bool = False, include_status: bool = False) -> pd.DataFrame:
        """As pandas, which is Feast's way."""
        return self.to_polars(include_event_timestamps, include_status).to_pandas()


def entity_ids(entity: str, entity_rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The id in each row. Raises PlatformError naming the first row without one."""
    if isinstance(entity_rows, Mapping) or not isinstance(entity_rows, Sequence):
        raise PlatformError("Entity rows are a list of dicts.", f"Pass [{{{entity!r}: ...}}, ...].")
    ids = []
    for number, row in enumerate(entity_rows):
        if not isinstance(row, Mapping) or not isinstance(row.get(entity), str):
            raise PlatformError(
                f"Entity row {number} has no {entity} that is text.", f"Pass [{{{entity!r}: ...}}, ...]."
            )
        ids.append(row[entity])
    return ids


def read_online(
    store: OnlineStore,
    wanted: Sequence[tuple[FeatureSet, Sequence[str]]],
    columns: Sequence[Sequence[str]],
    entity_rows: Sequence[Mapping[str, Any]],
    now: dt.datetime,
) -> OnlineResponse:
    """Look up the features of each row; `columns` are their names in the answer. One look per feature set, so that all
    values of a set are of one snapshot. Raises PlatformError when the store cannot be read."""
    entity = wanted[0][0].entity
    ids = entity_ids(entity, entity_rows)
    names = dict.fromkeys(name for row in entity_rows for name in row) or {entity: None}
    rows = {name: [row.get(name) for row in entity_rows] for name in names}
    values: dict[str, Any] = {}
    statuses: dict[str, Any] = {}
    timestamps: dict[str, Any] = {}
    served: dict[str, Served] = {}
    for (one, features), outputs in zip(wanted, columns, strict=True):
        vectors = store.read(one.name, ids)
        found = next((vector for vector in vectors if vector is not None), None)
        if found is not None:
            served[one.name] = Served(found.snapshot_date, found.version, found.written_at)
        read = [vector.values if vector is not None else None for vector in vectors]
        expired = [_expired(one, vector, now) for vector in vectors]
        holds_from = [end_of(vector.snapshot_date) if vector is not None else None for vector in vectors]
        for feature, output in zip(features, outputs, strict=True):
            known = [None if row is None or old else row.get(feature) for row, old in zip(read, expired, strict=True)]
            if one.features[feature].dtype.is_decimal():  # text in the store; as exact as in the lake
                known = [None if value is None else Decimal(value) for value in known]
            values[output] = known
            timestamps[output] = holds_from
            statuses[output] = [
                "missing" if row is None else "expired" if old else "null" if value is None else "present"
                for row, old, value in zip(read, expired, known, strict=True)
            ]
    return OnlineResponse(rows, values, statuses, timestamps, served)


def _expired(one: FeatureSet, vector: OnlineVector | None, now: dt.datetime) -> bool:
    return vector is not None and one.table.ttl is not None and now - end_of(vector.snapshot_date) > one.table.ttl
