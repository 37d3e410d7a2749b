"""A contract and its dbt model made into an ordinary Dagster asset: same days, checks, verdicts and numbers as a Polars
one. Not here: any table, running dbt (project)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Days, Severity, Table
from data_platform.core.orchestration.assets import Publication, computed_by, report, report_again, spec_for
from data_platform.core.orchestration.attempts import each_day_it_can
from data_platform.core.orchestration.automation import (
    only_transient_faults_retried,
    retry_transient_faults,
    when_inputs_change,
)
from data_platform.core.orchestration.checks import check_specs
from data_platform.core.orchestration.chosen_days import CONFIG, only_checks, run_slices
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.core.orchestration.partitions import today_utc, without_gaps
from data_platform.core.quality.check_groups import OTHER_TESTS, CheckGroup, declare_checks
from data_platform.core.settings import settings
from data_platform.warehouse.compiled import PROJECT
from data_platform.warehouse.project import compiled_sql, compute, tests_again


def dbt_asset(table: type[Table], *inputs: Days | type[Table]) -> dg.AssetsDefinition:
    """The asset of a contract that the dbt model of the same name computes.

    `inputs` are the tables its SQL reads, each with the days it needs: SQL sees no others. dbt's tests of the model are
    judged with the contract's rules before anything is published: those in dbt/tests as checks of their own.
    """
    tables = [given.table if isinstance(given, Days) else given for given in inputs]
    wanted = {needed.table_name(): given for needed, given in zip(tables, inputs, strict=True)}

    spec = spec_for(table, wanted, automation_condition=when_inputs_change())
    declare_checks(table, _dbt_checks(table))

    @dg.multi_asset(
        name=table.key.replace("/", "__"),
        specs=[_as_written(spec, table)],
        check_specs=check_specs(table),
        can_subset=True,
        config_schema=CONFIG if table.partition else None,
        backfill_policy=dg.BackfillPolicy.single_run() if table.partition else None,
        retry_policy=retry_transient_faults(),
    )
    def compute_with_dbt(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        with only_transient_faults_retried():
            store, needed = lake.lake(), inputs_of(table)
            if only_checks(context):
                asked = partial(tests_again, table, needed, today=today_utc(), lake=store)
                yield from report_again(context, table, store, asked)
                return
            publication = Publication(table)
            context.log.info(f"{table.key}: the SQL as it runs\n{compiled_sql(table)}")
            named = {days.table.table_name(): days for days in needed}

            def compute_days(days: list[dt.date]) -> None:
                computed = compute(table, needed, without_gaps(days), today_utc(), store)
                frame, verdicts = computed.frame, computed.verdicts
                if days and len(without_gaps(days)) > len(days):
                    frame = frame.filter(pl.col(str(table.partition)).is_in(days))
                    wanted = {str(day) for day in days}
                    verdicts = [verdict for verdict in verdicts if verdict.partition in wanted]
                publication.publish(store, [frame], days, context.run.run_id, verdicts)

            slices = run_slices(context, table, named, store, settings().slice_rows)
            publication.failed = each_day_it_can(slices, compute_days)
            yield from report(context, publication, store)

    return compute_with_dbt


def _dbt_checks(table: type[Table]) -> list[CheckGroup]:
    """A check for each test file of the model, told by the comment at its top, and one for all other tests of dbt."""
    found = [CheckGroup(OTHER_TESTS, "dbt's tests of the model's YAML hold.", Severity.ERROR, ())]
    for path in sorted((PROJECT / "tests").rglob("*.sql")):
        text = path.read_text()
        settings_of_test = dict(_SETTING.findall(text))
        if settings_of_test.get("judges") == table.table_name():
            comment = re.match(r"\s*--\s*(.+)", text)
            sentence = comment[1] if comment else f"dbt/tests/{path.name} selects no rows."
            severity = Severity.WARNING if settings_of_test.get("severity") == "warn" else Severity.ERROR
            found.append(CheckGroup(path.stem, sentence, severity, (path.stem,)))
    return found


_SETTING = re.compile(r"""(judges|severity)['"]?\s*[:=]\s*['"](\w+)""")
"""In the `config(...)` of a test file: read as text, because asking dbt takes a second at every load."""


def _as_written(spec: dg.AssetSpec, table: type[Table]) -> dg.AssetSpec:
    """The model's file, for the asset's page. Without one the asset is there all the same: its step says what is
    missing, and the contracts of a revision can be compared without its SQL."""
    path = next((PROJECT / "models").rglob(f"{table.table_name()}.sql"), None)
    if path is None:
        return spec
    return computed_by(spec, table, path).merge_attributes(
        metadata={"sql": dg.MetadataValue.md(f"```sql\n{path.read_text()}```")}
    )
