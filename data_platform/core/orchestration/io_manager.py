"""Lake tables as Dagster inputs and outputs: assets receive a LazyFrame of exactly the days they depend on.
Belongs here: the window of an input, and plain frames as outputs. Not here: contracts' checks (assets)."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import polars as pl

from data_platform.core.contract.table import contract
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.orchestration.partitions import as_days
from data_platform.core.orchestration.publication import DELTA_VERSION


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake of this process: `root` is a folder or an object-store URL; empty means where the settings say."""

    root: str = ""

    def lake(self) -> Lake:
        return configured_lake(self.root)


class LakeIOManager(dg.ConfigurableIOManager):
    """Loads any contract's table as a LazyFrame (or DataFrame, by annotation) of the partitions the step needs.

    A plain asset may return a frame for one of the contracts: it replaces exactly the partitions of the run.
    """

    root: str = ""

    def _lake(self) -> Lake:
        return configured_lake(self.root)

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | pl.DataFrame:
        table = contract("/".join(context.asset_key.path))
        lake = self._lake()
        if table.partition and context.has_asset_partitions:
            window = context.asset_partitions_time_window
            frame = lake.scan(table, window.start.date(), window.end.date() - dt.timedelta(1))
        else:
            frame = lake.scan(table)
        return frame.collect() if context.dagster_type.typing_type is pl.DataFrame else frame

    def handle_output(self, context: dg.OutputContext, obj: pl.LazyFrame | pl.DataFrame | None) -> None:
        if obj is None:
            return
        table = contract("/".join(context.asset_key.path))
        frame = obj.collect() if isinstance(obj, pl.LazyFrame) else obj
        keys = list(context.asset_partition_keys) if context.has_asset_partitions else []
        commit = self._lake().replace(table, frame, as_days(keys), {"dagster_run_id": context.run_id})
        context.add_output_metadata({DELTA_VERSION: str(commit.version), "dagster/row_count": len(frame)})
