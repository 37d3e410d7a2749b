"""What the warehouse uses of dagster-dbt, imported without dbt itself.
Belongs here: these names. Not here: what is done with them (models, foreign, running).

dagster-dbt imports dbt for a few enums and for choosing nodes: 1.3 s of the 3.9 s of processor time that importing the
platform took, in each command and each run. Where dbt is not installed it has stand-ins for them. dbt never runs in
this process, but in one of its own (running), so it is not there while dagster-dbt looks for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

LOOKED_FOR = "dbt.version"
"""What dagster-dbt takes for dbt's being installed."""


@contextlib.contextmanager
def _not_installed(module: str) -> Iterator[None]:
    """Importing it fails inside the block, as if it were not there."""
    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]  # Python's own way to say so
    try:
        yield
    finally:
        del sys.modules[module]
        if before is not None:
            sys.modules[module] = before


with _not_installed(LOOKED_FOR):
    from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, DbtProject, dbt_assets
    from dagster_dbt.asset_utils import (
        DAGSTER_DBT_MANIFEST_METADATA_KEY,
        DAGSTER_DBT_TRANSLATOR_METADATA_KEY,
        DAGSTER_DBT_UNIQUE_ID_METADATA_KEY,
    )
    from dagster_dbt.dagster_dbt_translator import DbtManifestWrapper

__all__ = [
    "DAGSTER_DBT_MANIFEST_METADATA_KEY",
    "DAGSTER_DBT_TRANSLATOR_METADATA_KEY",
    "DAGSTER_DBT_UNIQUE_ID_METADATA_KEY",
    "DagsterDbtTranslator",
    "DbtCliInvocation",
    "DbtCliResource",
    "DbtManifestWrapper",
    "DbtProject",
    "dbt_assets",
]
