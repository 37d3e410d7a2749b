"""Values of lines are matched as they are written before anything is cast: what does not fit is rejected with a reason,
never rounded, wrapped or read in another way. Not here: what is no JSON (test_json_horrors)."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections import Counter
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_platform.domains.commerce import sources as commerce
from data_platform.domains.gameplay import sources as gameplay
from data_platform.sources import line_parser
from data_platform.sources.compressed_lines import LineChunk
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.line_parser import LineParser, ParsedChunk, Received

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
FIRST_DAY = dt.date(2024, 1, 1)
PLAYER = {"player_id": "p", "operation": "insert", "changed_at": "2026-11-05T10:00:00Z"}
CAMPAIGN = {"campaign_id": "c", "operation": "insert", "changed_at": "2026-11-05T10:00:00Z"}
PARTICIPANT = CAMPAIGN | {"player_id": "p"}
EVENT = {"event_id": "e", "player_id": "p", "timestamp": "2026-11-05T10:00:00Z"}
ITEM = {
    "order_item_id": "i", "order_id": "o", "product_id": "x", "unit_price": "1.00", "currency": "USD",
    "ordered_at": "2026-11-05T10:00:00Z", "operation": "insert", "changed_at": "2026-11-05T10:00:00Z",
}  # fmt: skip
CHARGE = {"object_id": "c", "payload": {}, "created_at": "2026-11-05T10:00:00Z"}


@functools.cache
def parser_of(source: LandingSource) -> LineParser:
    return LineParser(source, FIRST_DAY, dt.timedelta(minutes=10))


def parse(source: LandingSource, lines: list[str], *, carefully: bool = False) -> ParsedChunk:
    """The lines; `carefully`, none of them by the cheap query."""
    parser_of(source)._broken_habits.clear()
    guess = (lambda *_: None) if carefully else line_parser.habit_of
    with mock.patch.object(line_parser, "habit_of", guess):
        chunk = LineChunk(1, "".join(f"{line}\n" for line in lines).encode())
        return parser_of(source).parse(chunk, Received("f", "d", NOW))


def judged(source: LandingSource, base: dict[str, Any], field: str, texts: list[str]) -> list[tuple[str | None, Any]]:
    """(reason, value) of lines that hold the field's JSON text verbatim: in whichever way a line is read."""
    bases = [json.dumps(base | {field: "?"}, separators=separators) for separators in ((",", ":"), (", ", ": "))]
    spellings = [[written.replace('"?"', text) for text in texts] for written in bases]
    results = []
    for lines, carefully in ((spellings[0], False), (spellings[1], False), (spellings[0], True)):
        parsed = parse(source, lines, carefully=carefully)
        found = {number: (None, value) for number, value in parsed.rows.select("source_line", field).iter_rows()}
        found |= {n: (reason, None) for n, reason in parsed.rejected.select("source_line", "reason").iter_rows()}
        results.append([found[number] for number in range(1, len(texts) + 1)])
    assert results[0] == results[2]
    assert results[1] == results[2]
    return results[0]


WHOLE = [
    ("5", 5), ("-0", 0), ("6.0", 6), ("9007199254740993", 2**53 + 1),
    ('"5"', ...), ('"0x10"', ...), ('"1_000"', ...), ('"1e3"', ...), ('" 5"', ...), ('"+5"', ...), ('"NaN"', ...),
    ("1e3", ...), ("1E3", ...), ("1099.5", ...), ("1e400", ...), ("true", ...), ("9223372036854775808", ...),
    ("6.0000000000000000001", ...), ("9007199254740993.5", ...), ("9007199254740993.0", ...), ("1e-400", ...),
    ("18446744073709551617", ...), ("[5]", ...), ("{}", ...),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "base", "field"),
    [(gameplay.CAMPAIGNS, CAMPAIGN, "max_players"), (commerce.ORDER_ITEMS, ITEM, "quantity")],
    ids=["campaigns", "order_items"],
)
def test_whole_numbers(source: LandingSource, base: dict[str, Any], field: str) -> None:
    absent = ("missing_quantity", None) if field == "quantity" else (None, None)
    wanted = [(None, value) if isinstance(value, int) else (f"wrong_type_{field}", None) for _, value in WHOLE]
    assert judged(source, base, field, [*(text for text, _ in WHOLE), "null"]) == [*wanted, absent]


NUMBER = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.from_regex(NUMBER, fullmatch=True), min_size=1, max_size=40))
@example(["4503599627370496.0000000000000001"])
def test_a_whole_number_is_what_was_written_or_rejected(texts: list[str]) -> None:
    for text, (reason, value) in zip(texts, judged(gameplay.CAMPAIGNS, CAMPAIGN, "max_players", texts), strict=True):
        assert value == Decimal(text) if reason is None else reason == "wrong_type_max_players"


def test_floats() -> None:
    good, bad = {"2.5": 2.5, "1e0": 1.0, "3": 3.0}, ["1e400", "-1e400", '"2.5"', "true"]
    found = judged(gameplay.CAMPAIGNS, CAMPAIGN, "difficulty", [*good, *bad])
    assert found == [*((None, value) for value in good.values()), *[("wrong_type_difficulty", None)] * len(bad)]


MOMENTS = [
    ("2026-11-05T10:00:00Z", "2026-11-05T10:00:00"), ("2026-11-05T10:00:00.5Z", "2026-11-05T10:00:00.500000"),
    ("2026-11-05T10:00:00.123456789Z", "2026-11-05T10:00:00.123456"), ("2026-11-05", "2026-11-05T00:00:00"),
    ("2026-11-05 10:00", "2026-11-05T10:00:00"), ("2026-11-05 10:00:00 UTC", "2026-11-05T10:00:00"),
    ("2026-11-05 10:00:00+0200", "2026-11-05T08:00:00"), ("2026-11-05T10:00:00-03:30", "2026-11-05T13:30:00"),
    ("2026-11-05T10:00:00+14", "2026-11-04T20:00:00"), ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
    ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"), ("2019-02-03T10:00:00Z", "2019-02-03T10:00:00"),
    *((text, None) for text in [
        "294000-01-01T00:00:00Z", "+294000-01-01T00:00:00.000Z", "10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z", "-271821-04-20T00:00:00Z", "0044-03-15 (BC)", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00", "epoch", "infinity", "-infinity", "now", "today", "", " ", "2026",
        "2026-11", "2026-1-5", "2026/11/05", "05.11.2026", "11/05/2026", "20261105T100000Z", "2026-11-05T10",
        " 2026-11-05T10:00:00Z", "2026-11-05T10:00:00Z ", "2026-11-05T10:00:00.Z", "2026-11-05T10:00:00+99:99",
        "2026-11-05T10:00:00+15:00", "2026-11-05T10:00:00 NZ", "2026-11-05 10:00:00 Europe/Berlin",
        "2026-11-05T10:00:00.1234567890Z", "2026-11-05T25:00:00Z", "2026-11-05T10:61:00Z", "2026-02-30T00:00:00Z",
        "2026-11-31", "1762336800", "2026-11-05T10:00:00+05:30:15", "２０２６-11-05",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "base", "field"),
    [
        (gameplay.PLAYER_EVENTS, EVENT, "client_timestamp"),
        (gameplay.PLAYERS, PLAYER, "registered_at"),
        (commerce.STRIPE_CHARGES, CHARGE, "observed_at"),
    ],
    ids=["player_events", "players", "stripe_charges"],
)
def test_moments(source: LandingSource, base: dict[str, Any], field: str) -> None:
    wanted = [
        (None, dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)) if value else (f"wrong_type_{field}", None)
        for _, value in MOMENTS
    ]
    assert judged(source, base, field, [json.dumps(text) for text, _ in MOMENTS]) == wanted


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.from_regex(r"[0-9]{4}[-/ ][0-9]{1,2}[-:][0-9 ]{2}[T t][0-9]{2}:[0-9]{2}(:[0-9]{2})?([.][0-9]{0,12})? ?"
                      r"(Z|NZ|[+-][0-9]{2}(:?[0-9]{2})?)?", fullmatch=True),
        min_size=1, max_size=60,
    )
)  # fmt: skip
def test_the_cheap_query_reads_a_moment_as_the_careful_one_does(texts: list[str]) -> None:
    good = [json.dumps(EVENT | {"client_timestamp": "2026-11-05T10:00:00Z"}, separators=(",", ":"))] * 10
    lines = good + [json.dumps(EVENT | {"client_timestamp": text}, separators=(",", ":")) for text in texts]
    cheap, careful = parse(gameplay.PLAYER_EVENTS, lines), parse(gameplay.PLAYER_EVENTS, lines, carefully=True)
    assert cheap.rows.sort("source_line").equals(careful.rows.sort("source_line"))
    assert cheap.rejected.sort("source_line").equals(careful.rejected.sort("source_line"))


BLANK = ["\u00a0", "\t", "\u3000", "\u200b", "\ufeff", "\u00ad", "\u200e\u202e", "\u2060", "\x00", "\x1b", "\x7f",
         "\u180e", "\u2800", "\u3164", "\ufe0f", "\u034f", "\U000e0020",
         "\u2028", "\u0085", " \u200b\x00\u00a0 ", ""]  # fmt: skip


@pytest.mark.parametrize("source", [*gameplay.SOURCES, *commerce.SOURCES], ids=lambda source: source.name)
def test_an_id_without_a_visible_character_is_missing(source: LandingSource) -> None:
    known = {"operation": "insert", "quantity": 1, "events": 1, "payload": {}}
    base = known | {
        field.name: "2026-11-05T10:00:00Z" if field.name.endswith(("_at", "timestamp")) else "x"
        for field in source.fields()
        if not field.nullable and field.name not in known
    }
    ids = [field.name for field in source.fields() if field.min_length]
    lines = [
        json.dumps(base | {name: text}, ensure_ascii=ascii_only)
        for name in ids for text in (*BLANK, *(f"{blank}é" for blank in BLANK), "x") for ascii_only in (False, True)
    ]  # fmt: skip
    parsed = parse(source, lines)
    assert Counter(parsed.rejected["reason"]) == {f"missing_{name}": 2 * len(BLANK) for name in ids}
    assert len(parsed.rows) == 2 * (len(BLANK) + 1) * len(ids)


NUMBERS_AS_WRITTEN = ["1.50", "12E4", "0.1234567890123456789012345", "9007199254740993.5", "1e400", "-0", "-0.0", "1.0",
                      "12345678901234567890123", "0.00001", "100000000000000000.5", "7"]  # fmt: skip


def test_numbers_in_json_stay_as_they_are_written() -> None:
    """Whatever the line's spaces, escapes and further fields, and whichever query reads it."""
    for escape, extra in (("x", ""), ("\\n\\u00e9", ""), ("x", ', "unknown": [%s, "a b"], "more": 1.50')):
        for separators in ((",", ":"), (", ", ": ")):
            base = json.dumps(EVENT | {"session_id": "?", "event_data": {"n": "!"}}, separators=separators)
            lines = [
                base.replace("?", escape).replace('"!"', f'[{n}, {{"k" : {n}}}, "1.50 , 2"]')[:-1]
                + (extra % n if extra else "") + "}"
                for n in NUMBERS_AS_WRITTEN
            ]  # fmt: skip
            rows = parse(gameplay.PLAYER_EVENTS, lines).rows.sort("source_line")
            wanted = [f'{{"n":[{n},{{"k":{n}}},"1.50 , 2"]}}' for n in NUMBERS_AS_WRITTEN]
            assert rows["event_data"].to_list() == wanted
            more = [f'{{"unknown":[{n},"a b"],"more":1.50}}' if extra else None for n in NUMBERS_AS_WRITTEN]
            assert rows["extra_fields"].to_list() == more
