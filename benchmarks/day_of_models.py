"""A day of SQL models through Dagster, as `data-platform build` computes it: measured from the first import on.
Belongs here: that, and no import of what only makes data or measures. Not here: the data, the reference (commerce)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compute(day: str, what: str, tell: Callable[[str, int, int], None]) -> dict[str, Any]:
    """The day of every dbt model (of `commerce`, or of one model) as `data-platform build` would, without what is
    upstream: clean events and activity were made up, not received. As there, dbt starts before the definitions load."""
    from data_platform.core.importing import importing

    with importing():
        from data_platform.operations.declared import know_lineage
        from data_platform.warehouse.starting import dbt_ahead

        know_lineage()
    with dbt_ahead():
        with importing():
            from benchmarks.tasks import step_seconds
            from data_platform.core.contract.table import contracts
            from data_platform.core.instance.dagster_home import open_instance
            from data_platform.core.instance.materialisations import WHOLE
            from data_platform.definitions import defs
            from data_platform.operations.build import carry_out
            from data_platform.operations.runs import Runs
            from data_platform.operations.staleness import build_step, in_build_order

        wanted = [t for t in contracts().values() if t.kind == "dbt" and what in (t.table_group(), t.table_name())]
        step = build_step({table: [day] if table.partition else [WHOLE] for table in in_build_order(wanted)})
        with open_instance() as instance:
            built = carry_out(Runs(defs, instance), [step] if step else [], tell)
            if built.failures:
                raise SystemExit("\n".join(built.failures))
            return {"steps": step_seconds(instance, built.runs)}
