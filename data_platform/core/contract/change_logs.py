"""Rows that change: what makes a row a change or a version, and from change files to change logs and SCD2 histories.
Belongs here: what a change means for the version before it, for every domain. Not here: any one entity's fields."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.frames import conform
from data_platform.core.contract.table import Table, column

OPERATIONS = ("insert", "update", "delete")
DELETED = pl.col("operation") == "delete"
STRENGTH = {"insert": 0, "update": 1, "delete": 2}
"""Which of changes that nothing else orders comes last: a deletion must not be undone by what came with it."""


class ChangeFields(Table):
    """What makes a row a change."""

    partition = "change_date"

    change_date: dt.date = column(
        "UTC day of `changed_at`; what changed before the first day is filed under the first day."
    )
    operation: str = column("What happened to the row.", isin=OPERATIONS)
    changed_at: dt.datetime = column("When the change took effect in the application (UTC).")


class HistoryFields(Table):
    """What makes a row a version in an SCD2 history."""

    valid_from: dt.datetime = column("From when this version holds (UTC, inclusive).")
    valid_to: dt.datetime | None = column("Until when it held (UTC, exclusive); null while it holds.")
    is_current: bool = column("True for the version that holds now.")


def entity_key(contract: type[Table]) -> list[str]:
    """The columns that name the entity in a change log or an SCD2 history: its primary key without the time."""
    when = {*ChangeFields.columns, *HistoryFields.columns}
    return [name for name in contract.primary_key if name not in when]


def clean_changes(raw: pl.LazyFrame, contract: type[Table]) -> pl.LazyFrame:
    """Raw changes of whole days → the change log `contract`: one row per entity and changed_at.

    The last change of the instant says what holds: the one with the largest sequence, then the one whose place is last
    (see ReceivedChanges). A change told again in another file keeps the place of its first. It is an insert where one
    is among the changes of the instant, unless it is a deletion: a row inserted and changed in one transaction is new.
    """
    changes = conform(contract, raw)
    # Ordering changes is seven times the work of the rest, and nearly every change is alone at its instant.
    contested = pl.struct(contract.primary_key).is_duplicated()
    instant, content = list(contract.primary_key), list(contract.columns)
    file, number = ["source_file", "received_at"], pl.col("sequence")
    from_first_file = pl.struct(file) == pl.struct(file).sort_by(file).first().over(*content, "sequence")
    inserted = (pl.col("operation") == "insert").any().over(instant)
    strength = pl.col("operation").replace_strict(STRENGTH, default=len(STRENGTH), return_dtype=pl.Int8)
    last = (
        raw.filter(contested)
        .with_columns(pl.col(name).cast(dtype) for name, dtype in contract.schema().items())
        .with_columns(_inserted=inserted)
        .filter(from_first_file)
        .sort(number.str.len_bytes(), number, *file, "source_line", strength, *content, nulls_last=False)
        .unique(instant, keep="last", maintain_order=True)
        .with_columns(operation=pl.when("_inserted", ~DELETED).then(pl.lit("insert")).otherwise("operation"))
    )
    return pl.concat([changes.filter(~contested), conform(contract, last)])


def history(changes: pl.LazyFrame, contract: type[Table]) -> pl.LazyFrame:
    """A whole change log → its SCD2 history `contract`: one row per entity and version.

    A version holds from its change to the entity's next one. A deletion ends the version before it and makes none;
    an insert after it starts a new one. A change that changes nothing starts no version: a version is a content.
    """
    key = entity_key(contract)
    content = [name for name in contract.columns if name not in HistoryFields.columns]
    same_content = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in content)
    repeats = same_content & DELETED.eq(DELETED.shift(1))
    followed = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in key)
    versions = (
        changes.sort(*key, "changed_at")
        .filter(~repeats)
        .with_columns(valid_from="changed_at", valid_to=pl.when(followed).then(pl.col("changed_at").shift(-1)))
        .filter(~DELETED)
        .with_columns(is_current=pl.col("valid_to").is_null())
    )
    return conform(contract, versions)
