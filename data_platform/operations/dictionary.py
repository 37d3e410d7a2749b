"""All contracts as one Markdown page; `python -m data_platform.operations.dictionary` writes docs/data_dictionary.md.
Belongs here: how a contract reads on paper. Not here: any fact about a table (its contract says it)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.published import Published
from data_platform.core.contract.table import (
    UTC_MICROSECONDS,
    Column,
    Days,
    FreshnessPolicy,
    Severity,
    Table,
    contracts,
)
from data_platform.core.discovery import know_assets
from data_platform.core.settings import PROJECT_ROOT

DICTIONARY = PROJECT_ROOT / "docs" / "data_dictionary.md"

GROUPS = {
    "raw": "As received: one row per line that could be read, and the lines that could not, with the reason.",
    "clean": "Validated and deduplicated: events, change logs, and the SCD2 histories of players and campaigns.",
    "gameplay": "What is computed from clean events and change logs: sessions, activity, metrics.",
    "features": "What a model may know of a player at the end of a snapshot day, and nothing later.",
    "quality": "What is known of all these tables: verdicts, profiles, freshness, reports, service levels.",
}
"""A sentence for each group there is one for; a group without is shown all the same, after these."""

TYPES = {UTC_MICROSECONDS: "timestamp (UTC, µs)", pl.Date(): "date", pl.List(pl.Int64()): "list of Int64"}


def dictionary() -> str:
    """The whole page: every table of every domain and room."""
    know_assets()
    tables = {key: table for key, table in contracts().items() if table.__module__.startswith("data_platform.")}
    named = [*GROUPS, *sorted({table.table_group() for table in tables.values()} - GROUPS.keys())]
    grouped = {group: [table for table in tables.values() if table.table_group() == group] for group in named}
    return "\n".join(_page({group: found for group, found in grouped.items() if found})) + "\n"


def _page(grouped: dict[str, list[type[Table]]]) -> Iterator[str]:
    yield from (
        "# Data dictionary",
        "",
        "Generated from the contracts by `make docs`; edit the contracts, not this page. A `?` after a type means that",
        "the column may be null. In computed tables a rule marked *warning* is reported, and every other rule keeps a",
        "day that breaks it from being published. Personal data: `pseudonym` identifies a person only with another",
        "table, `direct` does by itself, `content` is free content a person produced. D is the day that is computed.",
        "",
    )
    for group, tables in grouped.items():
        names = ", ".join(f"[{table.table_name()}](#{_anchor(table)})" for table in tables)
        yield f"- **[{group}](#{group})**: {names}"
    for group, tables in grouped.items():
        yield from ("", f"## {group}")
        if group in GROUPS:
            yield from ("", GROUPS[group])
        for table in tables:
            yield from _section(table)


def _section(table: type[Table]) -> Iterator[str]:
    yield from ("", f"### {table.key}", "", table.table_description(), "")
    yield f"- Grain: one row per {_names(table.primary_key)}"
    yield f"- Partition: {f'`{table.partition}`, one per UTC day' if table.partition else 'none, replaced as a whole'}"
    if table.windows:
        yield f"- Windows: {table.windows.described()}"
    yield f"- Owner: {table.owner}"
    if table.fresh:
        yield f"- Fresh: {freshness_text(table.fresh)}"
    inputs = [f"[{days.table.key}](#{_anchor(days.table)}){window_text(table, days)}" for days in inputs_of(table)]
    yield f"- Computed from: {', '.join(inputs) if inputs else 'nothing here, it is received'}"
    if table.published:
        yield f"- Published: {published_text(table, table.published)}"
    for rule in table.row_rules:
        yield f"- Rule: {rule.description}{_marked(rule.severity)}"
    yield from ("", "| column | type | unit | rules | personal | description |", "|---|---|---|---|---|---|")
    for column in table.columns.values():
        cells = (f"`{column.name}`", type_text(column), column.unit or "", bounds_text(column), column.personal or "")
        yield f"| {' | '.join(map(_cell, (*cells, column.description)))} |"


def published_text(table: type[Table], published: Published) -> str:
    """Where BI tools find it, by what it is indexed, what of it they do not get."""
    parts = [f"in PostgreSQL as `analytics.{table.table_name()}`"]
    indexes = [f"({', '.join(columns)})" for columns in (table.primary_key, *published.indexes)]
    parts.append(f"indexed by {', '.join(indexes)}")
    parts += [f"with `analytics.{one.name}` by month and {', '.join(one.by)}" for one in published.summaries]
    withheld = [name for name in table.columns if name not in published.columns(table)]
    return ", ".join(parts) + (f"; without {_names(tuple(withheld))}" if withheld else "")


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _anchor(table: type[Table]) -> str:
    """The anchor that Markdown renderers give the table's heading."""
    return table.key.replace("/", "")


def freshness_text(fresh: FreshnessPolicy) -> str:
    stale = f"stale after {_span(fresh.warn)}, " if fresh.warn else ""
    return f"{stale}critical after {_span(fresh.fail)}, by event time"


def _span(span: dt.timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:g} h"


def window_text(table: type[Table], days: Days) -> str:
    """The input days a day is computed from; nothing for the day itself."""
    if days.table.partition is None:
        return " (whole)"
    if table.partition is None:
        return " (all days)"
    if days.first is None:
        return " (every day until D)" if days.last == 0 else f" (every day until {_day(days.last)})"
    return "" if days.first == days.last == 0 else f" ({_day(days.first)} to {_day(days.last)})"


def _day(offset: int) -> str:
    return f"D{offset:+d}".replace("-", "−") if offset else "D"


def type_text(column: Column) -> str:
    text = "JSON object" if column.is_json else TYPES.get(column.dtype, str(column.dtype))
    return f"{text}?" if column.nullable else text


def bounds_text(column: Column) -> str:
    """The bounds in short; the column's name is in the row already."""
    declared = (
        f"≥ {column.ge}" if column.ge is not None else "",
        f"≤ {column.le}" if column.le is not None else "",
        f"one of {', '.join(map(str, column.isin))}" if column.isin else "",
        f"matches `{column.pattern}`" if column.pattern else "",
        "not empty" if column.min_length == 1 else "",
        f"at least {column.min_length} characters" if column.min_length and column.min_length > 1 else "",
    )
    bounds = ", ".join(filter(None, declared))
    return f"{bounds}{_marked(column.severity)}" if bounds else ""


def _marked(severity: Severity) -> str:
    return "" if severity == Severity.ERROR else f" (*{severity}*)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write(path: Path = DICTIONARY) -> Path:
    """Write the page; returns where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dictionary(), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write().relative_to(PROJECT_ROOT))
