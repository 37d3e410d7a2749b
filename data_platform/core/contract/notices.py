"""Rows of a table that somebody is to be told of, each by itself: a budget that is spent, say.
Belongs here: the declaration. Not here: episodes and delivery (observability/alerts), rules that a row must meet, whose
failing is told by the rule (table)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from data_platform.core.contract.table import Table


@dataclass(frozen=True)
class Told:
    """What is said of a row. The same `key` on the next look is the same episode; a higher level is told again."""

    key: str
    level: Literal["info", "warning", "critical"]
    title: str
    what: str
    since: dt.datetime


@dataclass(frozen=True)
class Notice:
    """One kind of them: `NOTICES` of a domain's module `notices` lists these.

    `told` gets the rows of the days `look_back` before today up to today, and today; it says of which rows anything is
    to be told. What it says no more has recovered.
    """

    kind: str
    """Small letters; what mutes and routes match, as in `budget:*`."""
    table: type[Table]
    told: Callable[[pl.LazyFrame, dt.date], Iterable[Told]]
    first_step: str
    heading: str
    """Of docs/runbook.md, or of `runbook.md` in the domain's own folder, as in its address."""
    look_back: dt.timedelta = dt.timedelta(days=7)
