"""dbt projects of others beside ours: any project with a profile of its own, run by dagster-dbt as it is.
Not here: models on the lake, which have contracts (assets)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from data_platform.core.errors import PlatformError
from data_platform.core.orchestration.automation import retry_transient_faults
from data_platform.core.scratch import scratch_folder
from data_platform.core.settings import settings
from data_platform.warehouse.beside_dbt import DagsterDbtTranslator, DbtProject, dbt_assets
from data_platform.warehouse.manifest import bring_parsed, digest, keep_parsed, manifest
from data_platform.warehouse.starting import dbt_of


class ForeignTranslator(DagsterDbtTranslator):
    """A project's models, seeds and snapshots under its name, so that they meet none of ours; its tests as checks."""

    def __init__(self, project: str) -> None:
        super().__init__()
        self._project = project

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        return super().get_asset_key(dbt_resource_props).with_prefix(self._project)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return self._project


def foreign_projects() -> list[dg.AssetsDefinition]:
    """The assets of every project that the setting DATA_PLATFORM_DBT_PROJECTS names."""
    return [_assets_of(folder) for folder in settings().dbt_projects]


def _assets_of(folder: Path) -> dg.AssetsDefinition:
    if not (folder / "dbt_project.yml").exists():
        raise PlatformError(
            f"{folder} is no dbt project: it has no dbt_project.yml.", "Correct DATA_PLATFORM_DBT_PROJECTS."
        )
    found = manifest(folder)
    name = str(found["metadata"]["project_name"])

    @dbt_assets(
        name=f"dbt_{name}",
        manifest=found,
        dagster_dbt_translator=ForeignTranslator(name),
        project=DbtProject(folder, profiles_dir=folder),
        retry_policy=retry_transient_faults(),
    )
    def build_project(context: dg.AssetExecutionContext) -> Iterator[Any]:
        with scratch_folder("data-platform-dbt-") as target:
            bring_parsed(digest(folder), target)
            yield from dbt_of(folder).cli(["build"], context=context, target_path=target).stream()
            keep_parsed(digest(folder), target)

    return build_project
