"""Nothing that arrives crashes ingestion: every line is accounted for exactly once, and what counts as JSON is what
Python's strict parser takes. Not here: well-formed lines that are no events (test_ingestion)."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import random
from collections.abc import Callable
from typing import Any
from unittest import mock

import polars as pl
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources import line_parser
from data_platform.sources.compressed_lines import LineChunk
from data_platform.sources.line_parser import LineParser, ParsedChunk, Received
from data_platform.sources.line_queries import Habit
from data_platform_tests.support.homes import FIRST_DAY, Home, line

DEEP = 200_000
NOW = dt.datetime.now(dt.UTC)


def parse(text: bytes, habit_of: Callable[..., Habit | None] = line_parser.habit_of) -> ParsedChunk:
    """By a parser that has seen nothing yet. With another `habit_of` the cheap query is tried on other guesses."""
    with mock.patch.object(line_parser, "habit_of", habit_of):
        parser = LineParser(PLAYER_EVENTS, FIRST_DAY, dt.timedelta(minutes=10))
        return parser.parse(LineChunk(1, text), Received("f.ndjson", "digest", NOW))


def verdict(text: str | bytes) -> str | None:
    """The reason one line is rejected for, None when it is stored; it comes after a line of its producer's habit."""
    parsed = parse(line().encode() + b"\n" + (text if isinstance(text, bytes) else text.encode()) + b"\n")
    assert len(parsed.rows) + len(parsed.rejected) == 2
    return parsed.rejected["reason"].item() if len(parsed.rejected) else None


def with_value(value: str) -> str:
    """A good event whose event data hold the value verbatim."""
    return line(event_data=...)[:-1] + ', "event_data": {"x": ' + value + "}}"


def with_extra(value: str) -> str:
    """A good event with an unknown field that holds the value verbatim."""
    return line()[:-1] + ', "x": ' + value + "}"


JSON_VALUES = [
    "1e400", "-1e400", "1e99999999999999999999", "123456789012345678901234567890", "1" * 6000, "-0", "0.0", "1E+2",
    "0.1234567890123456789012345", '"\\u0000"', '"\\ud83d\\ude00"', '"\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\x7f"', '"\u2028"',
    '"\U0001f409"', '{"": 1}', '{"a": 1, "a": 2}', '"NaN"', '"a, -Infinity ,]"', '": nan"', "[]", "[[], {}]", "\r1\t",
    '"' + "a" * 100_000 + '"',
]  # fmt: skip
NO_JSON_VALUES = [
    "NaN", "nan", "Nan", "NAN", "Infinity", "-Infinity", "infinity", "INFINITY", "inf", "-inf", "+Infinity", "[NaN]",
    "[1, -inf]", "[1,]", "[1, ]", "[1,\t]", "{,}", '{"a": 1,}', "[,1]", "[,]", "+1", "01", "-01", "1.", ".5", "-",
    "--1", "1e", "1e+", "0x10", "1_0", "1 2", "tru", "TRUE", "True", "nul", "None", "undefined", "'a'", '"\\x41"',
    '"\\u12G4"', '"\\u12"', '"a\tb"', '"a\x01b"', '"a\x00b"', '{"a"}', "{a: 1}", "{1: 2}", '{"a": }', '{"a" 1}',
    "/* c */ 1", "1 // c", "[1 2]", "[]]", "[[", '"unterminated', '"\\"', "", "\u00a01", "\ufeff1", "\u20281", "\x0c1",
    "\x0b1", "1 \x00", "#1", "1;", "$", "`a`", '""""',
    '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"',  # JSON by grammar, but no UTF-8 text can hold them
]  # fmt: skip


@pytest.mark.parametrize("wrap", [with_value, with_extra])
@pytest.mark.parametrize("value", JSON_VALUES, ids=lambda value: ascii(value[:24]))
def test_odd_json_is_stored(wrap: Callable[[str], str], value: str) -> None:
    assert verdict(wrap(value)) is None


@pytest.mark.parametrize("wrap", [with_value, with_extra])
@pytest.mark.parametrize("value", NO_JSON_VALUES, ids=lambda value: ascii(value[:24]))
def test_what_is_no_json_is_rejected(wrap: Callable[[str], str], value: str) -> None:
    assert verdict(wrap(value)) == "invalid_json"


def test_values_survive_unchanged() -> None:
    text = {"nul": "a\x00b", "wide": "🐉\u2028", "big": 123456789012345678901234567890, "escapes": '\b\f\n\r\t"\\/'}
    row = parse((line(event_data=text, player_id="p\x00\U0001f409\n") + "\n").encode()).rows.row(0, named=True)
    assert json.loads(row["event_data"]) == text
    assert row["player_id"] == "p\x00\U0001f409\n"


def test_keys_written_with_escapes_are_the_same_keys() -> None:
    text = line(event_id=...)[:-1] + ', "event\\u005fid": "e\\u002d9"}'
    assert parse(text.encode() + b"\n").rows["event_id"].item() == "e-9"


def test_bytes_that_are_no_utf8_are_kept_exactly() -> None:
    broken = [line().encode()[:-2] + b'\xff"}', b"\xed\xa0\x80", b"\xc0\xaf", line().encode("utf-16-le"), b"\x80" * 9]
    good = [line(event_id="ä").encode(), b"{}"]
    parsed = parse(b"".join(one + b"\n" for one in (broken[0], good[0], *broken[1:], good[1])))
    rejected = parsed.rejected.filter(reason="invalid_utf8").sort("source_line")
    expected = [part for one in broken for part in one.split(b"\n")]
    assert rejected["line_bytes"].to_list() == [one for one in expected if not _is_utf8(one)]
    assert all("\ufffd" in shown for shown in rejected["line"])
    assert parsed.rows["event_id"].to_list() == ["ä"]
    assert parsed.rows["source_line"].to_list() == [2]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


# ------------------------------------------------------------------ as strict as Python's json
PIECES = [
    *'{}[]",:\\/ \t\r0123456789eE+-.abnfrtuXÄ🐉', "\x00", "\x0c", "\x1f", "\ufeff", "\u00a0", "null", "true", "false",
    "NaN", "Infinity", "-Infinity", "nan", "-inf", "\\u00", "\\ud800", "\\ud83d\\ude00", ",]", ",}", ", }", '""', '":"',
    '"x":', "[]", "{}", "//", "/**/", "'", "1e5", "-0", "01", "1.", '"event_id":"again",', '"event_data":NaN,',
]  # fmt: skip
SEEDS = [
    line(), line(event_data={"a": [1, 2.5, -3e7, None, True, {"b": "x\n\u00e9"}], "t": "NaN, Infinity ,]"}),
    line(guild="g", fps=58.5, nested={"l": [[], {}]}), '{"event_id":"e","player_id":"p","timestamp":"2024-01-03"}',
    "[1,2]", "{}", '"text"', "null", "-12.5e3", " ",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A line with up to five edits: a piece put in, cut out, put instead, or doubled."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20])))
        text = text[:at] + draw(st.sampled_from([*PIECES, "", text[at:end] * 2])) + text[end:]
    return text.replace("\n", " ")


def python_says(text: str) -> tuple[bool, Any]:
    """(whether it is JSON that UTF-8 can hold, its value with all keys of an object in order)."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False, None
    return True, value


@settings(max_examples=150, deadline=None)
@given(st.lists(mutated(), min_size=1, max_size=25))
@example([line()[:-1] + ', "event_data": nan}'])
@example([with_value("-inf")])
@example([line()[:-1] + ', "event_id": "again", "x": 1, "x": Infinity}'])
@example([line(client_timestamp="20000-01-01T00:00:00Z")])
def test_as_strict_as_python_and_every_line_once(texts: list[str]) -> None:
    parsed = parse("".join(text + "\n" for text in texts).encode())
    # A client's clock may say the year 20000, which Python cannot hold.
    stored = {row["source_line"]: row for row in parsed.rows.drop("client_timestamp").iter_rows(named=True)}
    rejected = {row["source_line"]: row for row in parsed.rejected.iter_rows(named=True)}
    assert len(parsed.rows) + len(parsed.rejected) == len(texts)
    assert stored.keys() | rejected.keys() == set(range(1, len(texts) + 1))
    for number, text in enumerate(texts, 1):
        is_json, value = python_says(text)
        if number in rejected:
            reason = rejected[number]["reason"]
            assert rejected[number]["line"] == text
            if not text.strip(" \t\r"):
                assert reason == "blank_line"
            elif is_json:
                assert reason != "invalid_json", text
                assert (reason == "not_an_object") == (not isinstance(value, dict)), text
        else:
            assert is_json, text
            assert isinstance(value, dict)
            pairs = json.loads(text, object_pairs_hook=list)
            if len({name for name, _ in pairs}) == len(pairs):
                assert stored[number]["event_id"] == value["event_id"]
                assert stored[number]["session_id"] == value.get("session_id")
                data = stored[number]["event_data"]
                assert (data is None) == (value.get("event_data") is None)
                if data is not None:
                    assert json.loads(data) == json.loads(text)["event_data"]
                known = {column.name for column in PLAYER_EVENTS.fields()}
                extra = {name: one for name, one in json.loads(text).items() if name not in known}
                assert json.loads(stored[number]["extra_fields"] or "{}") == extra


@settings(max_examples=150, deadline=None)
@given(
    st.lists(mutated(), min_size=1, max_size=25),
    st.permutations([column.name for column in PLAYER_EVENTS.fields()]),
    st.integers(4, 9), st.booleans(), st.booleans(), st.integers(0, 9),
)  # fmt: skip
def test_whatever_habit_is_guessed_lines_mean_the_same(
    texts: list[str], names: list[str], count: int, omits: bool, spaced: bool, always: int
) -> None:
    """The cheap query alone must never take a line for what it is not."""
    text = "".join(one + "\n" for one in texts).encode()
    careful = parse(text, lambda *_: None)
    guessed = Habit(tuple(names[:count]), omits, spaced, frozenset(names[:always]))
    for guess in (guessed, line_parser.habit_of(text.split(b"\n"), PLAYER_EVENTS)):
        parsed = parse(text, lambda *_, guess=guess: guess)
        assert parsed.rows.sort("source_line").equals(careful.rows.sort("source_line"))
        assert parsed.rejected.sort("source_line").equals(careful.rejected.sort("source_line"))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("omits", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_ordinary_producers_are_read_by_the_cheap_query(
    separators: tuple[str, str], omits: bool, backwards: bool
) -> None:
    """Lines of one habit, whichever it is, none of them left to the careful query."""
    events: list[dict[str, Any]] = [
        json.loads(
            line(campaign_id=None, event_data={"gold": n, "where": "on a, b: c"}, device_info={"a": [1.5, None]})
        )
        for n in range(40)
    ]
    events[7] |= {"campaign_id": "Ünter den Linden", "event_data": None}
    lines = []
    for event in events:
        pairs = [(name, value) for name, value in event.items() if value is not None or not omits]
        lines.append(json.dumps(dict(pairs[::-1] if backwards else pairs), separators=separators, ensure_ascii=False))
    with mock.patch.object(LineParser, "_examined", side_effect=AssertionError("not plain")):
        parsed = parse("\n".join([*lines, ""]).encode())
    assert [json.loads(text) if text else None for text in parsed.rows["event_data"]] == [
        e["event_data"] for e in events
    ]
    assert parsed.rows["campaign_id"].to_list() == [event["campaign_id"] for event in events]


# ----------------------------------------------------------------------------- whole files
NOISE = random.Random(5).randbytes(20_000)
NESTED = {
    "unclosed arrays": "[" * DEEP,
    "unclosed objects": '{"a":' * DEEP,
    "deep event data": with_value("[" * DEEP + "]" * DEEP),
    "deep event data with a suspicious text": with_value('["NaN, ]", ' + "[" * DEEP + "]" * DEEP + "]"),
    "deep unknown field": with_extra('{"a":' * DEEP + "1" + "}" * DEEP),
    "deep id": line(event_id=...)[:-1] + ', "event_id": ' + "[" * DEEP + "]" * DEEP + "}",
}
LONG = line(event_id="long", event_data={"text": "é" * 5_000_000})
FILES: dict[str, tuple[str, bytes]] = {
    "empty": ("a.ndjson", b""),
    "newline": ("a.ndjson", b"\n"),
    "newlines": ("a.ndjson", b"\n\r\n \n\n"),
    "byte order mark alone": ("a.ndjson", b"\xef\xbb\xbf"),
    "byte order mark and newline": ("a.ndjson", b"\xef\xbb\xbf\n"),
    "two byte order marks": ("a.ndjson", b"\xef\xbb\xbf\xef\xbb\xbf" + line().encode()),
    "nested": ("a.ndjson", "\n".join([*NESTED.values(), line()]).encode()),
    "10 MB line": ("a.ndjson", f"{line()}\n{LONG}\n{line()}".encode()),
    "10 MB of no JSON": ("a.ndjson", b"x" * 10_000_000),
    "10 MB of nothing": ("a.ndjson", b"\0" * 10_000_000),
    "10 MB without a quote": ("a.ndjson", line()[:-1].encode() + b', "y": "' + b"y" * 10_000_000),
    "NUL": ("a.ndjson", b"\0\n" + line().encode() + b"\0\n\0\0" + line().encode()),
    "UTF-16": ("a.ndjson", "\ufeff".encode("utf-16-le") + f"{line()}\n{line()}\n".encode("utf-16-le")),
    "Latin-1": ("a.ndjson", line().replace("wolf", "bär").encode("latin-1") + b"\n" + line().encode()),
    "noise": ("a.ndjson", NOISE),
    "old Macintosh newlines": ("a.ndjson", f"{line()}\r{line()}".encode()),
    "Unicode newlines": ("a.ndjson", f"{line()}\u2028{line()}\u0085{line()}\n{line()}".encode()),
    "empty with the name of a gzip": ("a.ndjson.gz", b""),
    "gzip of nothing": ("a.ndjson.gz", gzip.compress(b"")),
    "half a gzip header": ("a.ndjson.gz", gzip.compress(b"")[:5]),
    "no gzip": ("a.ndjson.gz", f"{line()}\n{line()}\n".encode()),
    "noise as gzip": ("a.ndjson.gz", NOISE),
    "gzip and then text": ("a.ndjson.gz", gzip.compress(f"{line()}\n".encode()) + b"and so on\n"),
    "gzip cut short": ("a.ndjson.gz", gzip.compress(NOISE)[:9_000]),
    "gzip of a 10 MB line": ("a.ndjson.gz", gzip.compress(LONG.encode())),
    "gzip of many newlines": ("a.ndjson.gz", gzip.compress(b"\n" * 100_000)),
    "empty with the name of a zstandard": ("a.ndjson.zst", b""),
    "no zstandard": ("a.ndjson.zst", f"{line()}\n{line()}\n".encode()),
    "zstandard and then text": ("a.ndjson.zst", zstandard.compress(f"{line()}\n".encode()) + b"and so on\n"),
    "zstandard cut short": ("a.ndjson.zst", zstandard.compress(NOISE)[:9_000]),
    "tar as gzip": ("a.gz", gzip.compress(b"name\0\0\0ustar" + line().encode() + b"\n")),
}
DAMAGED = {
    "half a gzip header", "no gzip", "noise as gzip", "gzip and then text", "gzip cut short", "no zstandard",
    "zstandard and then text", "zstandard cut short",
}  # fmt: skip


def lines_in(data: bytes) -> list[bytes]:
    if data == b"\xef\xbb\xbf":
        return [b""]  # something arrived, so it is accounted for: as a blank line
    data = data.removeprefix(b"\xef\xbb\xbf")
    found = data.split(b"\n")
    return found if found[-1] else found[:-1]


@pytest.mark.parametrize("kind", FILES)
def test_every_line_of_a_horrible_file_is_accounted_for(home: Home, kind: str) -> None:
    name, content = FILES[kind]
    home.drop("before.ndjson", [line(event_id="before")])
    home.drop(name, content)
    home.drop("zz-after.ndjson", [line(event_id="after")])
    home.ingest()
    raw, rejected = home.raw().filter(source_file=name), home.rejected().filter(source_file=name)
    assert set(home.raw()["source_file"]) >= {"before.ndjson", "zz-after.ndjson"}
    entry = home.ledger().filter(source_file=name).row(0, named=True)
    assert entry["received_lines"] == entry["stored_lines"] + entry["rejected_lines"]
    assert (entry["stored_lines"], entry["rejected_lines"]) == (len(raw), len(rejected))
    numbers = sorted([*raw["source_line"], *rejected["source_line"]])
    assert numbers == list(range(1, entry["received_lines"] + 1)), "each line once"
    assert (entry["damage"] is not None) == (kind in DAMAGED), entry["damage"]
    if kind not in DAMAGED:
        plain = gzip.decompress(content) if name.endswith(".gz") and content else content
        expected = lines_in(plain)
        assert entry["received_lines"] == len(expected)
        for number, shown, exact in rejected.select("source_line", "line", "line_bytes").head(100).iter_rows():
            assert (exact if exact is not None else shown.encode()) == expected[number - 1]
    assert home.ingest() == [], "taken in for good"


def test_nested_lines_are_stored_where_they_are_json(home: Home) -> None:
    home.drop("nested.ndjson", list(NESTED.values()))
    home.ingest()
    reasons = dict(home.rejected().select("source_line", "reason").iter_rows())
    numbers = {name: number for number, name in enumerate(NESTED, 1)}
    assert reasons[numbers["unclosed arrays"]] == reasons[numbers["unclosed objects"]] == "invalid_json"
    assert reasons[numbers["deep id"]] == "wrong_type_event_id"
    stored = dict(home.raw().select("source_line", "event_data").iter_rows())
    assert stored[numbers["deep event data"]] == '{"x":' + "[" * DEEP + "]" * DEEP + "}"
    assert numbers["deep unknown field"] in stored


def test_a_long_line_is_stored_whole(home: Home) -> None:
    home.drop("long.ndjson.gz", [LONG])
    home.ingest()
    assert json.loads(home.raw()["event_data"].item()) == {"text": "é" * 5_000_000}


def test_horrors_go_through_the_whole_build(home: Home) -> None:
    """What ingestion lets through must not stop anything downstream: copies of horrible events, in one day."""
    values = [*JSON_VALUES, "[" * 5000 + "]" * 5000]
    good = [with_value(value).replace('"e-1"', f'"h-{n}"') for n, value in enumerate(values)]
    good += [with_extra(value).replace('"e-1"', f'"x-{n}"') for n, value in enumerate(values)]
    conflicting = [text.replace("combat_start", "spell_cast") for text in good]
    odd = [
        line(event_id="o-1", player_id="\x00"), line(event_id="\x00🐉\n'\";--", session_id=""),
        line(event_id="o-2", client_timestamp="9999-12-31T23:59:59Z"), line(event_id="o-3", event_type="🐉" * 10_000),
        line(event_id="o-4", client_timestamp="20000-01-01T00:00:00Z"), line(event_id="o-5", campaign_id="../../etc"),
    ]  # fmt: skip
    home.drop("horrors.ndjson", [*good, *conflicting, *good, *odd])
    home.build()
    clean = home.rows(PlayerEvents)
    # An id of which nothing shows is none, and a year past 9999 is no moment: each costs its own line.
    assert sorted(home.rejected()["reason"]) == ["missing_player_id", "wrong_type_client_timestamp"]
    assert len(clean) == len(good) + len(odd) - 2
    assert clean.filter(pl.col("event_id") == "\x00🐉\n'\";--").height == 1


def test_unreadable_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.core.settings import settings as platform_settings

    platform_settings.cache_clear()
    monkeypatch.setenv("DATA_PLATFORM_FIRST_DAY", "first of May")
    with pytest.raises(PlatformError, match="DATA_PLATFORM_FIRST_DAY"):
        platform_settings()
    platform_settings.cache_clear()
