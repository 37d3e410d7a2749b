"""What Dagster hands to steps, the lake, and from one to the next, nothing: a step reads its inputs from the lake, and
publishes what its contracts judged. Not here: reading or publishing (steps, publication)."""

from __future__ import annotations

import dagster as dg

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake, configured_lake


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake of this process: `root` is a folder or an object-store URL; empty means where the settings say."""

    root: str = ""

    def lake(self) -> Lake:
        return configured_lake(self.root)


class NoHandover(dg.ConfigurableIOManager):
    """Refuses an asset that returns rows, or takes those of another as an argument: no contract would judge them."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        if obj is not None:
            raise _unjudged(context)

    def load_input(self, context: dg.InputContext) -> object:
        raise _unjudged(context)


def _unjudged(context: dg.OutputContext | dg.InputContext) -> PlatformError:
    whose = context.asset_key.to_user_string() if context.has_asset_key else context.name
    return PlatformError(
        f"Rows of {whose} are handed from asset to asset, where no contract judges them.",
        "Declare it with `asset(Contract, transform, …)` (core/orchestration/assets).",
    )
