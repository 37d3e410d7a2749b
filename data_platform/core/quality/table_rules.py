"""Rules over all rows of a day, judged on files that are written but not yet published.
Belongs here: applying a contract's table rules. Not here: rules over single rows (validation), any rule itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import polars as pl

from data_platform.core.contract.table import Days, Table, TableRule
from data_platform.core.lake.store import Lake
from data_platform.core.quality.validation import SAMPLE_ROWS, WHOLE_TABLE, Status, Verdict


def judge_together(table: type[Table], rows: pl.LazyFrame, lake: Lake, counts: Mapping[str, int]) -> list[Verdict]:
    """One verdict per table rule and partition in `counts` (partition → rows); a crashed rule is told as crashed."""
    verdicts: list[Verdict] = []
    for rule in table.all_table_rules():
        try:
            verdicts += _judge(table, rule, rows, lake, counts)
        except Exception as error:  # whatever a rule raises, it is the rule's failure and not the data's
            message = f"{type(error).__name__}: {error}"[:500]
            verdicts += [
                Verdict(rule.name, rule.severity, partition, 0, count, status=Status.ERRORED, message=message)
                for partition, count in counts.items()
            ]
    return verdicts


def _judge(
    table: type[Table], rule: TableRule, rows: pl.LazyFrame, lake: Lake, counts: Mapping[str, int]
) -> list[Verdict]:
    missing = [needed.table.key for needed in rule.beside.values() if not lake.exists(needed.table)]
    if missing:
        message = f"{', '.join(missing)} has not been built"
        return [
            Verdict(rule.name, rule.severity, partition, 0, count, status=Status.NOT_JUDGED, message=message)
            for partition, count in counts.items()
        ]
    days = [dt.date.fromisoformat(partition) for partition in counts if partition != WHOLE_TABLE]
    beside = {name: _beside(lake, needed, days) for name, needed in rule.beside.items()}
    failing = rule.failing(rows, **beside).collect()
    label = (
        failing[table.partition].cast(pl.String)
        if table.partition
        else pl.repeat(WHOLE_TABLE, len(failing), eager=True)
    )
    verdicts = []
    for partition, count in counts.items():
        found = failing.filter(label == partition)
        verdicts.append(
            Verdict(
                rule.name,
                rule.severity,
                partition,
                len(found),
                count,
                tuple(found.head(SAMPLE_ROWS).to_dicts()),
                Status.FAILED if len(found) else Status.PASSED,
            )
        )
    return verdicts


def _beside(lake: Lake, needed: Days, days: Sequence[dt.date]) -> pl.LazyFrame:
    return lake.scan(needed.table, *needed.around(sorted(days)))
