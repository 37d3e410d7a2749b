"""Fields of incoming lines held against those of the days before: what appeared, what vanished, what changed its type.
Not here: whether a line can be a row at all (line_parser), numbers inside payloads (core/quality/profile)."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from data_platform.core.contract.received import ReceivedLines
from data_platform.core.contract.table import Severity, Table
from data_platform.core.lake.store import Lake
from data_platform.core.quality.validation import WHOLE_TABLE, Status, Verdict
from data_platform.sources.landing_source import LandingSource

INCOMING_FIELDS = "incoming_fields"
LINES = 5_000
"""Lines looked at on either side: 4 µs each."""
BATCHES = 50
"""Batches they are taken from at most, each with files of its own: a source that drops a file every ten seconds has
8,000 of them a day."""
PAST_DAYS = 14
"""Days of receipt before the newest one that count as the recent past."""
EXPECTED_LINES = 10
"""A difference is told where chance would have shown at least so many lines: a rare field is missed by chance."""
MOST_LINES = 20
EXTRA = "extra_fields"

_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", dict: "object", list: "array"}
Place = tuple[str, str | None]
"""A field, and the event type whose payload it is in (None outside of payloads)."""


@dataclass
class Inventory:
    """Which fields so many lines carry: lines per event type, and lines per field and JSON type."""

    lines: Counter[str | None] = field(default_factory=Counter)
    types: dict[Place, Counter[str]] = field(default_factory=dict)

    def count(self, place: Place, type_: str, lines: int) -> None:
        self.types.setdefault(place, Counter())[type_] += lines

    def share(self, place: Place) -> float:
        return self.types[place].total() / self.lines[place[1]] if place in self.types else 0.0


def inventory(table: type[Table], rows: pl.DataFrame) -> Inventory:
    """The fields of rows of a raw table: columns that may be null, unknown fields, and members of JSON columns, those
    of a column in `profiled_by` by the value of that other column. A null is no field."""
    found = Inventory(Counter({None: len(rows)}))
    for name, declared in table.columns.items():
        if declared.is_json and name in rows.columns:
            _count_members(table, rows, name, found)
        elif declared.nullable and name in rows.columns:
            present = len(rows) - rows[name].null_count()
            if present:
                found.count((name, None), "value", present)
    return found


def _count_members(table: type[Table], rows: pl.DataFrame, name: str, found: Inventory) -> None:
    kind = table.profiled_by.get(name)
    kinds = rows[kind] if kind else pl.repeat(None, len(rows), dtype=pl.String, eager=True)
    texts = rows.select(name, kind=kinds).group_by(name, "kind").len()
    for text, of_kind, lines in texts.iter_rows():
        if kind:
            found.lines[of_kind] += lines
        if text is None:
            continue
        if name != EXTRA:
            found.count((name, None), "object", lines)
        for member, value in json.loads(text).items():
            if value is not None:
                path = member if name == EXTRA else f"{name}.{member}"
                found.count((path, of_kind), _TYPES[type(value)], lines)


def difference(past: Inventory, now: Inventory) -> list[str]:
    """What changed, as a diff: `+ fps (number, 812 lines)`, `- campaign_id`, `~ event_data.damage (combat_end): number
    -> string`. Fields of event types that the past does not know are not told."""
    changes = []
    for place in sorted({*past.types, *now.types}, key=lambda place: (place[0], place[1] or "")):
        name = f"{place[0]} ({place[1]})" if place[1] else place[0]
        before, after = past.types.get(place, Counter()), now.types.get(place, Counter())
        if not before:
            if now.share(place) * past.lines[place[1]] >= EXPECTED_LINES:
                changes.append(f"+ {name} ({_dominant(after)}, {after.total()} lines)")
        elif not after:
            share = past.share(place)
            if share > 0.5 and share * now.lines[place[1]] >= EXPECTED_LINES:
                changes.append(f"- {name}")
        else:
            new = [
                type_
                for type_, lines in after.items()
                if type_ not in before and lines / after.total() * before.total() >= EXPECTED_LINES
            ]
            changes += [f"~ {name}: {_dominant(before)} -> {type_}" for type_ in sorted(new)]
    return changes


_CHANGES = (
    (re.compile(r"\+ (.+) \(([a-z]+), (\d+) lines\)"), r"\1 is new (\2, in \3 lines)"),
    (re.compile(r"- (.+)"), r"\1 no longer comes"),
    (re.compile(r"~ (.+): ([a-z]+) -> ([a-z]+)"), r"\1 was \2 and now comes as \3 too"),
)


def in_words(diff: str) -> list[str]:
    """A verdict's message, one sentence for each difference: `fps is new (number, in 812 lines)`."""
    sentences = []
    for line in diff.split("; "):
        form = next(((pattern, words) for pattern, words in _CHANGES if pattern.fullmatch(line)), None)
        sentences.append(form[0].sub(form[1], line) if form else line)
    return sentences


def _dominant(types: Counter[str]) -> str:
    return types.most_common(1)[0][0]


def judge_incoming(lake: Lake, source: LandingSource, ledger: pl.DataFrame) -> Verdict:
    """The newest lines of the newest day of receipt against those received on the days before (on the very first day:
    the newest batch against those before it); one verdict, with the diff as its message and the number of differences
    as its value. `ledger` holds the source's rows of IngestionLedger. A crash is told as one, and stops nothing."""
    try:
        return _judge_incoming(lake, source, ledger)
    except Exception as error:  # whatever goes wrong here says nothing of the lines, which are stored already
        message = f"{type(error).__name__}: {error}"[:500]
        return _verdict(Status.ERRORED, source.table.empty(), [], message)


def _judge_incoming(lake: Lake, source: LandingSource, ledger: pl.DataFrame) -> Verdict:
    files = ledger.filter(pl.col("stored_lines") > 0)
    moment, day = files.select(pl.col("received_at", "received_date").max()).row(0)
    if moment is None:
        return _verdict(Status.NOT_JUDGED, source.table.empty(), [], "nothing was received")
    received, received_on = pl.col("received_at"), pl.col("received_date")
    recent = received_on.is_between(day - dt.timedelta(PAST_DAYS), day, closed="left")
    is_now, is_past = received_on == day, recent
    if files.filter(recent).is_empty():
        is_now, is_past = received == moment, received < moment
    now, past = (_newest_lines(lake, source, files.filter(of)) for of in (is_now, is_past))
    if past.is_empty():
        return _verdict(Status.NOT_JUDGED, now, [], "no lines were received before")
    diff = difference(inventory(source.table, past), inventory(source.table, now))
    return _verdict(Status.FAILED if diff else Status.PASSED, now, diff, "; ".join(_bounded(diff)) or None)


def _bounded(diff: list[str]) -> Iterable[str]:
    yield from diff[:MOST_LINES]
    if len(diff) > MOST_LINES:
        yield f"and {len(diff) - MOST_LINES} more"


def _verdict(status: Status, now: pl.DataFrame, diff: list[str], message: str | None) -> Verdict:
    value = float(len(diff)) if status in (Status.PASSED, Status.FAILED) else None
    return Verdict(
        INCOMING_FIELDS,
        Severity.WARNING,
        WHOLE_TABLE,
        0,
        len(now),
        status=status,
        value=value,
        threshold=None if value is None else 0.0,
        message=message,
    )


def _newest_lines(lake: Lake, source: LandingSource, files: pl.DataFrame) -> pl.DataFrame:
    """The last LINES rows received with these files, which are rows of IngestionLedger.

    The ledger says which batches they are in and which days those touched, so that no other file is read; of a batch
    that brought years at once, the newest days are.
    """
    batches = (
        files.group_by("received_at")
        .agg(pl.sum("stored_lines"), pl.min("first_day"), pl.max("last_day"))
        .sort("received_at", descending=True)
        .filter(pl.col("stored_lines").cum_sum() - pl.col("stored_lines") < LINES)
        .head(BATCHES)
    )
    if batches.is_empty():
        return source.table.empty()
    first, last = batches["first_day"].min(), batches["last_day"].max()
    assert isinstance(first, dt.date)
    assert isinstance(last, dt.date)
    return (
        lake.scan(source.table, max(first, last - dt.timedelta(PAST_DAYS)), last)
        .filter(pl.col("received_at").is_between(batches["received_at"][-1], batches["received_at"][0]))
        .select(_looked_at(source))
        .head(LINES)
        .collect()
    )


def _looked_at(source: LandingSource) -> list[str]:
    kinds = set(source.table.profiled_by.values())
    fields = [column.name for column in source.fields() if column.nullable or column.name in kinds]
    return list(dict.fromkeys([*fields, ReceivedLines.columns[EXTRA].name]))
