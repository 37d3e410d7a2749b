"""Change logs, SCD2 histories and states as known, against plain-Python oracles."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from data_platform.core.contract.change_logs import clean_changes, entity_key, history
from data_platform.core.contract.frames import require_schema
from data_platform.core.contract.table import Table
from data_platform.domains.gameplay.contracts.registry import (
    CampaignChanges,
    CampaignParticipants,
    Campaigns,
    ParticipantChanges,
    PlayerChanges,
    Players,
    RawCampaignChanges,
    RawParticipantChanges,
    RawPlayerChanges,
)
from data_platform.domains.gameplay.transforms.registry import (
    as_of,
    as_of_days,
)

ENTITIES: list[tuple[type[Table], type[Table], type[Table]]] = [
    (RawPlayerChanges, PlayerChanges, Players),
    (RawCampaignChanges, CampaignChanges, Campaigns),
    (RawParticipantChanges, ParticipantChanges, CampaignParticipants),
]
FIRST_DAY = dt.date(2024, 2, 28)
MIDNIGHT = dt.datetime(2024, 2, 28, tzinfo=dt.UTC)
LAST = 6
Row = dict[str, Any]


def instants(first: int = -1, last: int = LAST) -> st.SearchStrategy[dt.datetime]:
    """Midnights, the microseconds around them and noons, from `first` days after the first day; often the same ones."""
    steps = st.sampled_from([dt.timedelta(), dt.timedelta(hours=12), dt.timedelta(days=1, microseconds=-1)])
    return st.builds(lambda n, step: MIDNIGHT + dt.timedelta(n) + step, st.integers(first, last), steps)


def rows_of(contract: type[Table], when: st.SearchStrategy[dt.datetime]) -> st.SearchStrategy[Row]:
    """Changes of few entities with few contents; fields not named here are null."""
    values: dict[str, st.SearchStrategy[Any]] = {
        "player_id": st.sampled_from(["p", "q"]),
        "campaign_id": st.sampled_from(["c", "d"]),
        "country": st.sampled_from([None, "DE", "FR"]),
        "difficulty": st.sampled_from([None, 1.0, 2.5]),
        "character_level": st.sampled_from([None, 1, 2]),
        "operation": st.sampled_from(["insert", "update", "update", "delete"]),
        "changed_at": when,
    }
    used = {name: values.get(name, st.none()) for name in contract.columns if name != "change_date"}
    return st.fixed_dictionaries(used).map(lambda row: {**row, "change_date": max(FIRST_DAY, row["changed_at"].date())})


def logs(contract: type[Table], first: int = -1, last: int = LAST) -> st.SearchStrategy[list[Row]]:
    """A change log: one row per entity and instant, in any order."""
    key = [*entity_key(contract), "changed_at"]
    return st.lists(
        rows_of(contract, instants(first, last)), max_size=14, unique_by=lambda row: tuple(row[name] for name in key)
    )


def frame(contract: type[Table], rows: list[Row]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=contract.schema())


def found(lazy: pl.LazyFrame) -> list[tuple[Any, ...]]:
    return sorted(lazy.collect().rows(), key=repr)


# -------------------------------------------------------------------------------------------------------- change logs
def cleaned_oracle(lines: list[Row], contract: type[Table]) -> list[tuple[Any, ...]]:
    """Of each entity and instant what its last line says: by sequence, then by the place where it was told first."""
    groups = defaultdict(list)
    for line in lines:
        groups[tuple(line[name] for name in contract.primary_key)].append(line)
    best = []
    for group in groups.values():
        first_file: dict[tuple[Any, ...], tuple[str, dt.datetime]] = {}
        for line in group:
            said = (*(line[name] for name in contract.columns), line["sequence"])
            file = (line["source_file"], line["received_at"])
            first_file[said] = min(first_file.get(said, file), file)

        def place(line: Row, first: dict[tuple[Any, ...], tuple[str, dt.datetime]] = first_file) -> tuple[Any, ...]:
            said = (*(line[name] for name in contract.columns), line["sequence"])
            again = first[said] != (line["source_file"], line["received_at"])
            return (not again, int(line["sequence"] or -1), *first[said], line["source_line"])

        last = dict(max(group, key=place))
        if last["operation"] != "delete" and any(line["operation"] == "insert" for line in group):
            last["operation"] = "insert"
        best.append(last)
    return sorted((tuple(row[name] for name in contract.columns) for row in best), key=repr)


@pytest.mark.parametrize(("raw", "contract"), [(raw, contract) for raw, contract, _ in ENTITIES])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_clean_changes(raw: type[Table], contract: type[Table], data: st.DataObject) -> None:
    rows = data.draw(st.lists(rows_of(contract, instants(0, 1)), max_size=10))
    copies = data.draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []
    received = st.fixed_dictionaries(
        {
            "source_file": st.sampled_from(["a", "b"]),
            "received_at": st.sampled_from([MIDNIGHT, MIDNIGHT + dt.timedelta(1)]),
            "sequence": st.sampled_from([None, None, "9", "10", "18446744073709551617"]),
        }
    )
    lines = [
        {**row, **data.draw(received), "extra_fields": None, "source_line": n} for n, row in enumerate(rows + copies)
    ]
    clean = clean_changes(frame(raw, data.draw(st.permutations(lines))), contract)
    require_schema(contract, clean)
    assert clean.collect_schema().names() == list(contract.columns)
    assert found(clean) == cleaned_oracle(lines, contract)


def changes_of_one_instant(*lines: tuple[Any, ...]) -> pl.LazyFrame:
    """Raw changes of player `p`, all at midnight: (file, line, sequence, operation, country)."""
    none = dict.fromkeys(RawPlayerChanges.columns, None)
    base = none | {"player_id": "p", "changed_at": MIDNIGHT, "change_date": FIRST_DAY, "received_at": MIDNIGHT}
    names = ("source_file", "source_line", "sequence", "operation", "country")
    return frame(RawPlayerChanges, [base | dict(zip(names, line, strict=True)) for line in lines])


@pytest.mark.parametrize(
    ("lines", "operation", "country"),
    [
        ([("a", 1, None, "update", "AT"), ("a", 2, None, "update", "SE")], "update", "SE"),
        ([("a", 2, None, "update", "AT"), ("a", 10, None, "update", "SE")], "update", "SE"),
        ([("b", 1, None, "update", "SE"), ("a", 2, None, "update", "AT")], "update", "SE"),
        ([("a", 1, "10", "update", "SE"), ("a", 2, "9", "update", "AT")], "update", "SE"),
        ([("a", 1, "1", "update", "SE"), ("a", 2, None, "update", "AT")], "update", "SE"),
        ([("a", 1, None, "delete", None), ("a", 2, None, "insert", "SE")], "insert", "SE"),
        ([("a", 1, None, "insert", "SE"), ("a", 2, None, "delete", None)], "delete", None),
        ([("a", 1, None, "insert", "AT"), ("a", 2, None, "update", "SE")], "insert", "SE"),
        # A line told again in a later file was delivered twice; in the same file it happened twice.
        ([("a", 1, None, "update", "AT"), ("a", 2, None, "update", "SE"), ("b", 1, None, "update", "AT")],
         "update", "SE"),
        ([("a", 1, None, "update", "AT"), ("a", 2, None, "update", "SE"), ("a", 3, None, "update", "AT")],
         "update", "AT"),
    ],
)  # fmt: skip
def test_the_last_change_of_an_instant_holds(lines: list[tuple[Any, ...]], operation: str, country: str | None) -> None:
    for order in (lines, lines[::-1]):
        clean = clean_changes(changes_of_one_instant(*order), PlayerChanges).collect()
        assert clean.select("operation", "country").rows() == [(operation, country)]


# ------------------------------------------------------------------------------------------------------------ history
def history_oracle(rows: list[Row], changes: type[Table], contract: type[Table]) -> list[tuple[Any, ...]]:
    key = entity_key(changes)
    content = [name for name in contract.columns if name not in ("valid_from", "valid_to", "is_current")]
    versions: list[Row] = []
    current: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row["changed_at"]):
        entity = tuple(row[name] for name in key)
        now = None if row["operation"] == "delete" else {name: row[name] for name in content}
        before = current.get(entity)
        if before is not None:
            if now == {name: before[name] for name in content}:
                continue
            before["valid_to"] = row["changed_at"]
            before["is_current"] = False
            del current[entity]
        if now is not None:
            current[entity] = {**now, "valid_from": row["changed_at"], "valid_to": None, "is_current": True}
            versions.append(current[entity])
    return sorted((tuple(version[name] for name in contract.columns) for version in versions), key=repr)


@pytest.mark.parametrize(("changes", "contract"), [(changes, contract) for _, changes, contract in ENTITIES])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_history(changes: type[Table], contract: type[Table], data: st.DataObject) -> None:
    rows = data.draw(logs(changes))
    built = history(frame(changes, rows), contract)
    require_schema(contract, built)
    assert built.collect_schema().names() == list(contract.columns)
    assert found(built) == history_oracle(rows, changes, contract)


def test_a_deletion_ends_a_version_and_an_insert_reopens() -> None:
    def change(hour: int, operation: str, country: str | None) -> Row:
        none = dict.fromkeys(PlayerChanges.columns, None)
        when = MIDNIGHT + dt.timedelta(hours=hour)
        fields = {"player_id": "p", "operation": operation, "country": country, "changed_at": when}
        return none | fields | {"change_date": FIRST_DAY}

    log = [change(1, "insert", "DE"), change(2, "update", "DE"), change(3, "delete", None), change(5, "insert", "DE")]
    built = history(frame(PlayerChanges, log), Players).collect().sort("valid_from")
    hours = [
        (row["valid_from"].hour, row["valid_to"].hour if row["valid_to"] else None, row["is_current"])
        for row in built.iter_rows(named=True)
    ]
    assert hours == [(1, 3, False), (5, None, True)]


# --------------------------------------------------------------------------------------------------------- as known
def known_oracle(rows: list[Row], day: dt.date, key: list[str], window: int | None = None) -> list[Row]:
    latest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row["changed_at"]):
        if row["change_date"] <= day and (window is None or row["change_date"] > day - dt.timedelta(window)):
            latest[tuple(row[name] for name in key)] = row
    return [row for row in latest.values() if row["operation"] != "delete"]


@settings(max_examples=60, deadline=None)
@given(logs(ParticipantChanges), st.sets(st.integers(-2, LAST + 2)), st.none() | st.integers(1, 4))
def test_as_known_on_a_day_and_on_many(rows: list[Row], numbers: set[int], window: int | None) -> None:
    days = [FIRST_DAY + dt.timedelta(n) for n in numbers]
    key = entity_key(ParticipantChanges)
    log = frame(ParticipantChanges, rows)
    columns = list(ParticipantChanges.columns)
    one_by_one, within = [], []
    for day in days:
        known = [tuple(row[name] for name in columns) for row in known_oracle(rows, day, key)]
        assert found(as_of(log, day, key)) == sorted(known, key=repr)
        one_by_one += [(*row, day) for row in known]
        within += [(*(row[name] for name in columns), day) for row in known_oracle(rows, day, key, window)]
    assert found(as_of_days(log, days, key)) == sorted(one_by_one, key=repr)
    assert found(as_of_days(log, days, key, window)) == sorted(within, key=repr)


def test_row_order_does_not_matter() -> None:
    rows = [
        {**dict.fromkeys(PlayerChanges.columns, None), "player_id": f"p{n % 7}", "country": str(n % 3)}
        | {"operation": ["insert", "update", "delete"][n % 11 % 3], "change_date": FIRST_DAY + dt.timedelta(n // 24)}
        | {"changed_at": MIDNIGHT + dt.timedelta(hours=n)}
        for n in range(200)
    ]
    log = frame(PlayerChanges, rows).collect()
    expected = history(log.lazy(), Players).collect()
    for seed in range(5):
        shuffled = log.sample(fraction=1, shuffle=True, seed=seed).lazy()
        assert_frame_equal(history(shuffled, Players).collect(), expected, check_row_order=False, check_exact=True)
