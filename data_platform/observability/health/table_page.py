"""What the page of one table shows beside its contract: checks, columns and where they come from, days, volumes.
Belongs here: facts of a table made ready for its template. Not here: routes (pages), how numbers read (words)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Column, Table
from data_platform.core.errors import counted
from data_platform.core.orchestration.specs import column_lineage
from data_platform.core.quality.check_groups import CheckGroup, check_groups
from data_platform.observability.health.charts import bar_chart
from data_platform.observability.health.days import DayState
from data_platform.observability.health.facts import TableFacts
from data_platform.observability.health.verdicts import FAILING
from data_platform.observability.samples import Key, keys_of, may_be_shown
from data_platform.operations.dictionary import bounds_text, type_text
from data_platform.sources.schema_drift import INCOMING_FIELDS, in_words

SYMBOLS = {
    DayState.OK: "",
    DayState.WARNED: "!",
    DayState.FAILED: "✗",
    DayState.STALE: "↻",
    DayState.MISSING: "·",
}
"""Beside the colour, for those who do not see it."""
MOST_KEYS = 10
MONTHS_OPEN = 2
"""Months that are open; older ones are folded."""
COLUMNS_OPEN = 8
"""The columns of a table that has more are folded: with them a phone scrolls through eight screens."""
Origin = tuple[str, str]
"""Table and column."""


@dataclass(frozen=True)
class ShownCheck:
    """One check as a person reads it: what must hold, whether it does on the newest day, and where it does not."""

    group: CheckGroup
    status: str | None
    """Of the newest day: the worst of its rules. None when it was never judged."""
    day: str | None
    failing_days: Sequence[str]
    """Newest first."""
    failing_rules: Sequence[str]
    message: str | None
    key_columns: Sequence[str]
    keys: Sequence[Sequence[object]]
    """Failing rows, one value for each key column; None for what identifies a person by itself."""

    @property
    def fails(self) -> bool:
        return bool(self.failing_days) or self.status in FAILING


def checks(facts: TableFacts) -> list[ShownCheck]:
    """Failing ones first, then as the contract has them; rules that no group knows each by themselves."""
    groups = list(check_groups(facts.table))
    known = {rule for group in groups for rule in group.rules}
    held = facts.holding
    others = held.filter(~pl.col("check_name").is_in(list(known))).unique("check_name", keep="any").sort("check_name")
    groups += [CheckGroup(row["check_name"], "", row["severity"], (row["check_name"],)) for row in others.to_dicts()]
    shown = [_shown_check(group, facts) for group in groups]
    return sorted(shown, key=lambda check: not check.fails)


WORST_FIRST = ("failed", "errored", "passed", "not_judged")


def _shown_check(group: CheckGroup, facts: TableFacts) -> ShownCheck:
    verdicts = facts.holding.filter(pl.col("check_name").is_in(group.rules))
    newest = verdicts["asset_partition"].max() if len(verdicts) else None
    statuses = set(verdicts.filter(pl.col("asset_partition").eq_missing(pl.lit(newest, pl.String)))["status"])
    failing = verdicts.filter(pl.col("status").is_in(FAILING))
    days = failing["asset_partition"].unique().sort(descending=True).to_list()
    rules = failing["check_name"].unique().sort().to_list()
    recorded = facts.history.join(
        failing,
        on=["check_name", "asset_partition", "recorded_at"],
        how="semi",
        nulls_equal=True,
        maintain_order="left",
    )
    message = next(iter(recorded["message"].drop_nulls()), None)
    if message and INCOMING_FIELDS in rules:
        message = "; ".join(in_words(message)) + "."
    columns, keys = key_table(facts.table, recorded["sample"].drop_nulls().to_list())
    return ShownCheck(
        group, next((s for s in WORST_FIRST if s in statuses), None), str(newest) if newest else None,
        [day for day in days if day], rules, message, columns, keys,
    )  # fmt: skip


def key_table(table: type[Table], samples: Sequence[str]) -> tuple[list[str], list[list[object]]]:
    """Keys of failing rows from the JSON of verdicts, as columns and rows; text that is no such JSON is one column."""
    found: list[Key] = []
    for key in keys_of(samples):
        if key not in found:
            found.append(key)
        if len(found) == MOST_KEYS:
            break
    columns = list(dict.fromkeys(name for key in found for name in key))

    def shown(key: Key, name: str) -> object:
        """None of what may not be shown."""
        return key.get(name, "") if name not in key or may_be_shown(table, name, key[name]) else None

    return columns, [[shown(key, name) for name in columns] for key in found]


# ----------------------------------------------------------------------------------------------- columns
@dataclass(frozen=True)
class ShownColumn:
    column: Column
    type: str
    bounds: str
    origins: Sequence[Origin]
    used_by: Sequence[Origin]


def columns(table: type[Table], lineage: Mapping[Origin, Sequence[Origin]]) -> list[ShownColumn]:
    """`lineage` is that of all tables: a column's uses are found in it backwards."""
    used: dict[str, list[Origin]] = {}
    for column, origins in lineage.items():
        for key, name in origins:
            if key == table.key:
                used.setdefault(name, []).append(column)
    return [
        ShownColumn(
            declared, type_text(declared), _bounds(declared), lineage.get((table.key, name), ()), used.get(name, ())
        )
        for name, declared in table.columns.items()
    ]


def lineage_of(tables: Sequence[type[Table]]) -> dict[Origin, list[Origin]]:
    """Column → the upstream columns it comes from, as the assets declare it to Dagster."""
    return {
        (table.key, name): [(dep.asset_key.to_user_string(), dep.column_name) for dep in origins]
        for table in tables
        for name, origins in column_lineage(
            table, list(dict.fromkeys(needed.table for needed in inputs_of(table) if needed.table is not table))
        ).deps_by_column.items()
    }


def _bounds(column: Column) -> str:
    """As in the dictionary, without its Markdown."""
    return re.sub(r" \(\*(\w+)\*\)$", r" (\1)", bounds_text(column))


# -------------------------------------------------------------------------------------------------- days
def months(facts: TableFacts) -> list[dict[str, Any]]:
    """Newest month first; each with weeks of seven cells, None outside of what is known."""
    if facts.written is None:
        return []
    cells = [
        {"day": day, "state": state, "symbol": SYMBOLS[state], "rows": rows}
        for day, state, rows in zip(facts.written.dates(), facts.states, facts.written.rows.tolist(), strict=True)
    ]
    found = []
    for name, of_month in groupby(cells, key=lambda cell: cell["day"].strftime("%B %Y")):
        month = list(of_month)
        padded: list[Any] = [None] * month[0]["day"].weekday() + month
        padded += [None] * (-len(padded) % 7)
        found.append({"name": name, "weeks": [padded[i : i + 7] for i in range(0, len(padded), 7)]})
    return found[::-1]


def volume(facts: TableFacts) -> dict[str, Any] | None:
    if facts.written is None or not facts.written.rows.any():
        return None
    rows = facts.written.rows.tolist()
    failed = [state == DayState.FAILED for state in facts.states]
    return {
        "chart": bar_chart(rows, failed, spoken(rows)),
        "most": max(rows),
        "first": facts.written.first,
        "last": facts.written.last,
        "failed": any(failed),
    }


def spoken(rows: Sequence[int]) -> str:
    days = [value for value in rows if value]
    text = f"rows a day over {counted(len(rows), 'day')}: {min(days):,} to {max(days):,}, last {rows[-1]:,}"
    return f"{text}; {len(days)} days have any"
