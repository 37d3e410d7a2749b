"""Contracts and their dbt models made into `@dbt_assets`: same days, checks, verdicts and numbers as a Polars asset;
one dbt process computes all tables of a run. Not here: any table, what dbt does in its process (computing)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Days, Severity, Table
from data_platform.core.errors import PlatformError
from data_platform.core.orchestration.automation import retry_transient_faults, when_inputs_change
from data_platform.core.orchestration.checks import asset_key, check_specs
from data_platform.core.orchestration.chosen_days import ChosenDays, days_of_checks
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.core.orchestration.partitions import in_a_step_of_many
from data_platform.core.orchestration.publication import Publication
from data_platform.core.orchestration.reporting import report_again
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import StepRun, carried_out
from data_platform.core.quality.check_groups import CheckGroup, declare_checks
from data_platform.warehouse.beside_dbt import (
    DAGSTER_DBT_MANIFEST_METADATA_KEY,
    DAGSTER_DBT_TRANSLATOR_METADATA_KEY,
    DAGSTER_DBT_UNIQUE_ID_METADATA_KEY,
    DagsterDbtTranslator,
    DbtManifestWrapper,
    DbtProject,
    dbt_assets,
)
from data_platform.warehouse.manifest import PROJECT, lake_models, manifest
from data_platform.warehouse.nodes import Node, Nodes, is_written_by_hand, judged_model
from data_platform.warehouse.running import build_models, test_models
from data_platform.warehouse.starting import DbtAhead
from data_platform.warehouse.verdicts import of_days


class Model:
    """A contract that the dbt model of the same name computes, and the tables that its SQL reads, each with the days it
    needs: SQL sees no others."""

    def __init__(self, table: type[Table], *inputs: Days | type[Table]) -> None:
        self.table = table
        self.inputs = {(given.table if isinstance(given, Days) else given).table_name(): given for given in inputs}


def dbt_models(name: str, *models: Model) -> dg.AssetsDefinition:
    """The assets of all models, with days and without: one step, so that a run of both starts one dbt.

    The tests of dbt/tests are judged with the contract's rules before anything is published, as checks of their own;
    those that are written from the contract are for whoever runs dbt from a shell, and would judge the same twice.
    """
    found = manifest(PROJECT)
    nodes: Nodes = found["nodes"]
    specs = {}
    for model in models:
        spec = spec_for(model.table, model.inputs, automation_condition=when_inputs_change())
        specs[model.table.key] = _as_written(in_a_step_of_many(spec), model.table, nodes)
        declare_checks(model.table, _checks_by_hand(nodes, model.table))
    return _step(name, [model.table for model in models], found, specs)


def _step(
    name: str, tables: Sequence[type[Table]], found: Mapping[str, Any], specs: Mapping[str, dg.AssetSpec]
) -> dg.AssetsDefinition:
    @dbt_assets(
        name=name,
        manifest=_manifest_of(tables, found),
        dagster_dbt_translator=ContractTranslator(specs),
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=retry_transient_faults(),
        # A process of dbt takes seconds: what else is due in the run goes first.
        op_tags={"dagster/priority": "-1"},
    )
    def compute_with_dbt(
        context: dg.AssetExecutionContext, lake: LakeResource, dbt: DbtAhead, config: ChosenDays
    ) -> Iterator[Any]:
        def build(run: StepRun) -> Iterator[Publication]:
            days = {table: run.days(table) if table.partition else [] for table in run.selected(tables)}
            wanted = {table: of_table for table, of_table in days.items() if of_table or not table.partition}
            yield from build_models(context, run.lake, wanted, tests_by_hand(wanted))

        judged_again = functools.partial(_judged_again, tables)
        yield from carried_out(StepRun(context, lake.lake()), build, judged_again=judged_again)

    return compute_with_dbt


def _judged_again(tables: Sequence[type[Table]], run: StepRun) -> Iterator[dg.AssetCheckResult]:
    """A run of checks alone."""
    asked = {key.asset_key for key in run.context.selected_asset_check_keys}
    named = [table for table in tables if asset_key(table) in asked]
    days = {table: days_of_checks(run.context, table, run.lake) for table in named}
    found = test_models(run.context, run.lake, days, tests_by_hand(named))
    for table in named:
        yield from report_again(run.context, table, run.lake, functools.partial(of_days, found.get(table.key, [])))


# ------------------------------------------------------------------------------------------ dbt → contracts
class ContractTranslator(DagsterDbtTranslator):
    """Models as the contracts say they are. dbt's own dependencies lead to views; ours to the tables behind them, each
    with the days that a day needs: through views that are not tables late data would ask for nothing."""

    def __init__(self, specs: Mapping[str, dg.AssetSpec]) -> None:
        super().__init__()
        self._specs = specs

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        key = self.get_asset_key(manifest["nodes"][unique_id])
        return self._specs["/".join(key.path)].merge_attributes(
            metadata={
                DAGSTER_DBT_MANIFEST_METADATA_KEY: DbtManifestWrapper(manifest=manifest),
                DAGSTER_DBT_TRANSLATOR_METADATA_KEY: self,
                DAGSTER_DBT_UNIQUE_ID_METADATA_KEY: unique_id,
            }
        )

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        spec: dg.AssetCheckSpec = manifest["nodes"][unique_id]["check"]
        return spec


def _manifest_of(tables: Sequence[type[Table]], found: Mapping[str, Any]) -> dict[str, Any]:
    """The models of these tables, and as a test of dbt each check of their contracts: `@dbt_assets` takes its checks
    from the tests of a manifest. Without what stands between them, which is no asset."""
    models = lake_models(found["nodes"])
    nodes: dict[str, Any] = {}
    children: dict[str, list[str]] = {}
    for table in tables:
        model = models[table.key]
        nodes[model] = {**found["nodes"][model], "depends_on": {"nodes": []}, "tags": []}
        children[model] = []
        for check in check_specs(table):
            unique_id = f"test.{model.partition('.')[2]}.{check.name}"
            fqn = [*nodes[model]["fqn"], check.name]
            nodes[unique_id] = _check_node(unique_id, check, model, nodes[model]["package_name"], fqn)
            children[model].append(unique_id)
            children[unique_id] = []
    parents = {child: [model] for model, of_model in children.items() for child in of_model}
    empty: dict[str, Any] = {"sources": {}, "metrics": {}, "exposures": {}, "groups": {}, "selectors": {}}
    return {**empty, "metadata": found["metadata"], "nodes": nodes, "child_map": children, "parent_map": parents}


def _check_node(unique_id: str, check: dg.AssetCheckSpec, model: str, package: str, fqn: list[str]) -> dict[str, Any]:
    return {
        "unique_id": unique_id, "resource_type": "test", "name": check.name, "package_name": package, "fqn": fqn,
        "config": {"enabled": True}, "tags": [], "depends_on": {"nodes": [model]},
        "attached_node": model, "check": check,
    }  # fmt: skip


def _as_written(spec: dg.AssetSpec, table: type[Table], nodes: Nodes) -> dg.AssetSpec:
    """The spec with the model's file."""
    unique_id = lake_models(nodes).get(table.key)
    if unique_id is None:
        raise PlatformError(
            f"There is no dbt model {table.table_name()} in the schema {table.table_group()}.",
            f"Add {table.table_name()}.sql below {PROJECT / 'models'}.",
        )
    path = PROJECT / nodes[unique_id]["original_file_path"]
    return computed_by(spec, table, path).merge_attributes(
        metadata={"sql": dg.MetadataValue.md(f"```sql\n{path.read_text()}```")}
    )


# ------------------------------------------------------------------------------------------------- tests
def tests_by_hand(tables: Sequence[type[Table]] | Mapping[type[Table], Any]) -> dict[str, dict[str, str]]:
    """Table → the tests that a person wrote for its model: name → id."""
    nodes: Nodes = manifest(PROJECT)["nodes"]
    return {table.key: {node["name"]: unique_id for unique_id, node in _by_hand(nodes, table)} for table in tables}


def _by_hand(nodes: Nodes, table: type[Table]) -> list[tuple[str, Node]]:
    judging = [(unique_id, node) for unique_id, node in nodes.items() if is_written_by_hand(node)]
    return [(unique_id, node) for unique_id, node in judging if judged_model(node) == table.table_name()]


def _checks_by_hand(nodes: Nodes, table: type[Table]) -> list[CheckGroup]:
    """A check for each of them, told by the comment at the top of its file."""
    found = []
    for _, node in sorted(_by_hand(nodes, table)):
        path = PROJECT / node["original_file_path"]
        comment = re.match(r"\s*--\s*(.+)", path.read_text()) if path.suffix == ".sql" else None
        sentence = comment[1] if comment else f"dbt's test {node['name']} selects no rows."
        warns = str(node["config"].get("severity", "error")).lower() == "warn"
        found.append(CheckGroup(node["name"], sentence, Severity.WARNING if warns else Severity.ERROR, (node["name"],)))
    return found
