"""Cleaning of player events, against a plain-Python oracle that knows nothing of Polars."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from data_platform.core.contract.frames import require_schema
from data_platform.domains.gameplay.contracts.events import PlayerEvents, PlayerEventsRejected, RawPlayerEvents
from data_platform.domains.gameplay.transforms.clean_events import CleanedEvents, clean_events, ids_on_two_dates

DAYS = [dt.date(2024, 2, 28), dt.date(2024, 2, 29), dt.date(2024, 3, 1)]
CONTENT = list(PlayerEvents.columns)
JSON_COLUMNS = ["event_data", "device_info", "extra_fields"]
JSON_TEXTS = [
    None,
    '{"a":1,"b":[1,{"x":null,"y":true}]}',
    '{"b":[1,{"y":true,"x":null}],"a":1.0}',
    '{ "a" : 1e0, "b" : [1, {"x":null,"y":true}] }',
    '{"a":1,"b":[{"x":null,"y":true},1]}',
    '{"a":"1","b":[1,{"x":null,"y":1}]}',
    '{"name":"\\u00e9\\ud800"}',
    '{"name":"é\\ud800"}',
    '{"a":0.1}',
    "no json",
]

times = st.builds(
    lambda day, minute, micro: dt.datetime.combine(day, dt.time(12, minute, 0, micro), dt.UTC),
    st.sampled_from(DAYS),
    st.integers(0, 1),
    st.sampled_from([0, 1]),
)
events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["a", "b", "c", "ü"]),
        "player_id": st.sampled_from(["p", "q"]),
        "campaign_id": st.just(None),
        "event_type": st.sampled_from(["combat_start", "combat_start", "spell_cast", None, "", " \t"]),
        "event_data": st.sampled_from(JSON_TEXTS),
        "session_id": st.sampled_from([None, "s"]),
        "timestamp": times,
        "client_timestamp": st.just(None) | times,
        "device_info": st.sampled_from(JSON_TEXTS[:3]),
        "extra_fields": st.just(None),
    }
)


SAME_VALUE: dict[Any, list[Any]] = {text: JSON_TEXTS[1:4] for text in JSON_TEXTS[1:4]}
"""Other spellings of a JSON text."""


@st.composite
def dirty(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of few ids on few days, with copies to the letter and copies spelled otherwise, in any order."""
    some = draw(st.lists(events, max_size=12))
    copies = draw(st.lists(st.sampled_from(some), max_size=6)) if some else []
    respelled = [
        row
        | {
            name: draw(st.sampled_from(SAME_VALUE.get(row[name], [row[name]])))
            for name in ("event_data", "device_info")
        }
        for row in copies
    ]
    return draw(st.permutations(some + copies[::2] + respelled))


def raw_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    received = {"source_file": "f", "received_at": dt.datetime(2024, 3, 2, tzinfo=dt.UTC)}
    filled = [
        {**row, **received, "source_line": n, "event_date": row["timestamp"].date()} for n, row in enumerate(rows, 1)
    ]
    return pl.DataFrame(filled, schema=RawPlayerEvents.schema())


def event(**changes: Any) -> dict[str, Any]:
    base = dict.fromkeys(CONTENT, None) | {
        "event_id": "e",
        "player_id": "p",
        "event_type": "combat_start",
        "timestamp": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
    }
    return base | changes


# ---------------------------------------------------------------------------------------------------------- the oracle
def whole_if_possible(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def parsed(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text, parse_float=whole_if_possible)
    except ValueError:
        return text


def canonical(row: dict[str, Any]) -> str:
    document: dict[str, Any] = {"event_date": row["timestamp"].strftime("%Y-%m-%d")}
    for name, value in row.items():
        if isinstance(value, dt.datetime):
            document[name] = value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        else:
            document[name] = parsed(value) if name in JSON_COLUMNS else value
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


Rows = set[tuple[Hashable, ...]]


def oracle(rows: list[dict[str, Any]]) -> tuple[Rows, Rows, dict[dt.date, int]]:
    """(clean rows, rejected rows, duplicates per day)."""
    groups: dict[tuple[dt.date, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["timestamp"].date(), row["event_id"]].append(row)
    clean: Rows = set()
    rejected: Rows = set()
    duplicates = {row["timestamp"].date(): 0 for row in rows}
    for (day, _), group in groups.items():
        spellings: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in group:
            spellings[canonical(row)].append(row)
        duplicates[day] += len(group) - len(spellings)
        contenders = []
        for text, same in spellings.items():
            if (same[0]["event_type"] or "").strip():
                contenders.append((same[0]["timestamp"], digest(text), text, same))
            else:
                rejected.add((day, "missing_event_type", digest(text), text))
        for place, (_, hashed, text, same) in enumerate(sorted(contenders, key=lambda c: c[:2])):
            if place > 0:
                rejected.add((day, "conflicting_duplicate", hashed, text))
                continue
            smallest = min(same, key=lambda row: [(row[c] is not None, row[c] or "") for c in JSON_COLUMNS])
            clean.add(tuple({**smallest, "event_date": day}[name] for name in CONTENT))
    return clean, rejected, duplicates


def results(cleaned: CleanedEvents) -> tuple[Rows, Rows, dict[dt.date, int]]:
    return set(cleaned.clean.rows()), set(cleaned.rejected.rows()), dict(cleaned.duplicates.rows())


# ----------------------------------------------------------------------------------------------------------- the tests
@settings(max_examples=200, deadline=None)
@given(dirty())
def test_equals_oracle(rows: list[dict[str, Any]]) -> None:
    cleaned = clean_events(raw_frame(rows))
    assert results(cleaned) == oracle(rows)
    require_schema(PlayerEvents, cleaned.clean)
    require_schema(PlayerEventsRejected, cleaned.rejected)
    assert cleaned.clean.columns == CONTENT


@settings(max_examples=100, deadline=None)
@given(dirty())
def test_every_raw_row_is_accounted_for(rows: list[dict[str, Any]]) -> None:
    raw = raw_frame(rows)
    cleaned = clean_events(raw)
    duplicates = dict(cleaned.duplicates.rows())
    found = Counter(cleaned.clean["event_date"]) + Counter(cleaned.rejected["event_date"]) + Counter(duplicates)
    assert found == Counter(raw["event_date"])
    assert cleaned.clean.select(pl.struct(PlayerEvents.primary_key).is_unique().all()).item()
    assert cleaned.rejected.select(pl.struct(PlayerEventsRejected.primary_key).is_unique().all()).item()


@settings(max_examples=100, deadline=None)
@given(dirty(), st.randoms())
def test_order_does_not_matter_and_many_days_equal_one_by_one(rows: list[dict[str, Any]], random: Any) -> None:
    together = results(clean_events(raw_frame(rows)))
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert results(clean_events(raw_frame(shuffled))) == together
    clean: Rows = set()
    rejected: Rows = set()
    duplicates: dict[dt.date, int] = {}
    for day in DAYS:
        one = results(clean_events(raw_frame([row for row in rows if row["timestamp"].date() == day])))
        clean, rejected, duplicates = clean | one[0], rejected | one[1], duplicates | one[2]
    assert (clean, rejected, duplicates) == together


def test_rows_without_repeats_pass_unchanged() -> None:
    raw = raw_frame([event(event_id=str(n)) for n in range(1000)])
    cleaned = clean_events(raw)
    assert_frame_equal(cleaned.clean, raw.select(CONTENT), check_row_order=False)
    assert cleaned.rejected.is_empty()
    assert cleaned.duplicates.rows() == [(dt.date(2024, 2, 29), 0)]


def test_nothing_in_nothing_out() -> None:
    assert results(clean_events(RawPlayerEvents.empty())) == (set(), set(), {})


def test_the_digest_of_a_content_is_for_ever() -> None:
    """Stored winners and row_digests depend on it: should this fail, the canonical form has changed."""
    odd = event(event_type=None, event_data='{"z": 1.50, "a": {"é": [1e2, -0, true, null]}}', session_id="s")
    (row,) = clean_events(raw_frame([odd])).rejected.iter_rows(named=True)
    assert row["row"] == (
        '{"campaign_id":null,"client_timestamp":null,"device_info":null,"event_data":{"a":{"\\u00e9":[100,0,true,null]}'
        ',"z":1.5},"event_date":"2024-02-29","event_id":"e","event_type":null,"extra_fields":null,"player_id":"p",'
        '"session_id":"s","timestamp":"2024-02-29T12:00:00.000000Z"}'
    )
    assert row["row_digest"] == "a565bc57ed85f99de1b9cc9e7b2ed121"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"n":1e400}', '{"n":10e399}', True),
        ('{"n":1e400}', '{"n":1e401}', False),
        ('{"n":0.1}', '{"n":0.10000000000000000001}', False),
        ('{"n":12345678901234567890123}', '{"n":12345678901234567890124}', False),
        ('{"n":' + "9" * 5000 + "}", '{ "n":' + "9" * 5000 + "}", True),
        ('{"n":1e9999999999999999999999}', '{"n": 1e9999999999999999999999}', True),
        ('{"n":1}', '{"n":"1"}', False),
        ('{"n":1}', '{"n":true}', False),
        ('{"n":"a\\u0000b"}', '{"n": "a\\u0000b"}', True),
        ('{"n":"\\ud800"}', '{"n": "\\ud800"}', True),
        ('{"n":' + "[" * 90 + "]" * 90 + "}", '{"n": ' + "[" * 90 + "]" * 90 + "}", True),
        # Too deep to be compared by value: other text, other content, and no crash.
        ("[" * 200 + "]" * 200, "[" * 200 + " " + "]" * 200, False),
        ("[" * 200_000 + "]" * 200_000, "[" * 200_000 + " " + "]" * 200_000, False),
    ],
)
def test_json_is_compared_by_value_to_the_last_digit(one: str, other: str, same: bool) -> None:
    cleaned = clean_events(raw_frame([event(event_data=one), event(event_data=other)]))
    assert len(cleaned.clean) == 1
    assert cleaned.duplicates["duplicates"].to_list() == [int(same)]
    assert len(cleaned.rejected) == int(not same)
    assert all(json.loads(row)["event_id"] == "e" for row in cleaned.rejected["row"])


@pytest.mark.parametrize("clock", [2**61, 2**63 - 2, -(2**63)], ids=["75,000", "294,000", "-290,000"])
def test_a_client_clock_beyond_python_is_no_accident(clock: int) -> None:
    """Ingestion lets in years 1 to 9999; lakes built by earlier versions hold others."""
    raw = raw_frame([event(), event()])
    far = raw.with_columns(client_timestamp=pl.Series([clock, clock + 1]).cast(pl.Datetime("us", "UTC")))
    cleaned = clean_events(far)
    assert (len(cleaned.clean), len(cleaned.rejected)) == (1, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=12), st.sets(st.integers(0, 9)))
def test_ids_on_two_dates(found: list[tuple[str, int]], wanted: set[int]) -> None:
    first = dt.date(2024, 2, 20)
    rows = [
        event(event_id=name, timestamp=dt.datetime(2024, 2, 20, tzinfo=dt.UTC) + dt.timedelta(n)) for name, n in found
    ]
    days = [first + dt.timedelta(n) for n in wanted]
    expected = {
        (first + dt.timedelta(n), name, first + dt.timedelta(m))
        for name, n in found
        for other, m in found
        if name == other and n in wanted and 1 <= n - m <= 7
    }
    answer = ids_on_two_dates(raw_frame(rows).lazy(), days).collect()
    assert sorted(answer.rows()) == sorted(expected)
