"""JSON is taken apart and put together without re-spelling it. Oracle: json itself, which spells anew."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.sources.rest.written import written

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=4), st.lists(JSON, max_size=4), max_size=3), st.sampled_from([None, 2]))
def test_members_and_their_elements_are_those_that_json_reads(
    body: dict[str, list[object]], indent: int | None
) -> None:
    found = written(json.dumps(body, indent=indent).encode())
    assert json.loads(found.text) == body
    assert "\n" not in found.text, "an object is one line"
    for name, expected in body.items():
        member = found.member(name)
        assert member is not None
        assert [json.loads(one.text) for one in member.elements()] == expected


def test_numbers_stay_as_they_are_written() -> None:
    found = written(b'{ "amount": 12345678901234567890, "rate": 1.10,\n "tiny": 1E-7, "list": [ -0, 2.50 ] }')
    assert found.text == '{ "amount": 12345678901234567890, "rate": 1.10, "tiny": 1E-7, "list": [ -0, 2.50 ] }'
    listed = found.member("list")
    assert listed is not None
    assert [one.text for one in listed.elements()] == ["-0", "2.50"]
    assert found.with_member("more", "[1.0]").text == found.text[:-1] + ',"more":[1.0]}'
    assert written(b"{}").with_member("a", "1").text == '{"a":1}'


def test_what_is_not_there_is_nothing() -> None:
    found = written(b'{"a": {"b": null}, "c": 1}')
    assert found.member("x") is None
    assert written(b"[1]").member("a") is None
    assert (found.field("a", "b"), found.field("c", "d"), found.field("c")) == (None, None, "1")
    with pytest.raises(ValueError, match="no array"):
        list(found.elements())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": 1', b"[1,", b"\xff", b"{} {}", b"<html>", b"[tru\ne]", b"1\n2", b'{"a": 1}x', b"[" * 99_999],
)
def test_a_body_that_is_cut_short_or_no_json_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        written(body)
