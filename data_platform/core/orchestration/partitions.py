"""Days in Dagster: the daily UTC partitions, and how a table's days depend on another's.
Not here: days as such (contract/calendar), reading or writing any of them."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Days
from data_platform.core.settings import settings

SINCE_EVER = -36_500
"""A hundred years of days: further back than any first day."""


@functools.cache
def daily() -> dg.DailyPartitionsDefinition:
    """Every UTC day from the first one to today; today is included, because today's events arrive today."""
    return dg.DailyPartitionsDefinition(start_date=settings().first_day.isoformat(), end_offset=1)


def partition_mapping(days: Days) -> dg.PartitionMapping:
    """Which upstream days a day needs. Days before the first one or after today do not exist and are not waited for."""
    return dg.TimeWindowPartitionMapping(
        start_offset=days.first if days.first is not None else SINCE_EVER,
        end_offset=days.last,
        allow_nonexistent_upstream_partitions=True,
    )


class TimeWindowPartitionMapping(dg.TimeWindowPartitionMapping):
    """A mapping of one of several tables of a step, which may each read other days of the same input.

    Dagster keeps the mapping of each table, and uses these alone; but it refuses a step whose mappings of an input
    are not equal, because it also keeps one for the step, for values that steps are handed (ours read the lake). So
    these are equal to each other. It stores them by the name of their class: elsewhere they are Dagster's own.
    """

    def get_upstream_mapped_partitions_result_for_partitions(
        self, downstream_partitions_subset: Any, downstream_partitions_def: Any, *upstream: Any, **more: Any
    ) -> Any:
        """Asked for the step also where a run is of its tables without days alone, which read every day."""
        given = (downstream_partitions_subset, downstream_partitions_def, *upstream)
        if downstream_partitions_subset is None:
            return dg.AllPartitionMapping().get_upstream_mapped_partitions_result_for_partitions(*given, **more)
        return super().get_upstream_mapped_partitions_result_for_partitions(*given, **more)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dg.TimeWindowPartitionMapping)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(TimeWindowPartitionMapping)


def in_a_step_of_many(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The same table in a step whose other tables may read other days of its inputs."""
    return spec.replace_attributes(
        deps=[
            dg.AssetDep(dep.asset_key, partition_mapping=TimeWindowPartitionMapping(*mapping))
            if isinstance(mapping := dep.partition_mapping, dg.TimeWindowPartitionMapping)
            else dep
            for dep in spec.deps
        ]
    )


def as_days(keys: Sequence[str]) -> list[dt.date]:
    return [dt.date.fromisoformat(key) for key in keys]
