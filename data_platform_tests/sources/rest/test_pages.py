"""A list that changes while it is read loses nothing that was in it all the time. Oracle: the list itself."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.sources.rest.declarations import Answer, ApiRefusal, ApiUnusable, CursorLost, Parameters
from data_platform.sources.rest.pages import CursorList
from data_platform.sources.rest.written import written


class Listed:
    """A list of ids, newest first, that `meanwhile` may change after each page."""

    def __init__(self, ids: list[str], meanwhile: Callable[[list[str]], None]) -> None:
        self.ids, self.meanwhile = ids, meanwhile

    def get(self, path: str, parameters: Parameters) -> Answer:
        after, limit = parameters.get("starting_after"), int(str(parameters["limit"]))
        if after is not None and after not in self.ids:
            raise ApiRefusal("gone", "", 400)
        rows = self.ids[self.ids.index(str(after)) + 1 :] if after is not None else list(self.ids)
        self.meanwhile(self.ids)
        told = {"data": [{"id": one} for one in rows[:limit]], "has_more": len(rows) > limit}
        return Answer(written(json.dumps(told).encode()), dt.datetime.now(dt.UTC))


def ids_of(api: Listed, most: int) -> list[str]:
    return [one.field("id") for one, _ in CursorList(most=most).objects(api, "/list", {})]


@given(st.integers(0, 40), st.integers(1, 7), st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=30))
def test_what_was_there_throughout_is_read(count: int, most: int, changes: list[tuple[bool, int]]) -> None:
    """Changes: (a new one appears, else one vanishes; where)."""
    there = [f"o-{number}" for number in range(count)]
    throughout = set(there)
    waiting = list(changes)

    def meanwhile(ids: list[str]) -> None:
        if waiting:
            appears, at = waiting.pop()
            if appears:
                ids.insert(min(at, len(ids)), f"new-{len(waiting)}")
            elif at < len(ids):
                throughout.discard(ids.pop(at))

    try:
        found = ids_of(Listed(there, meanwhile), most)
    except CursorLost:
        return  # the object behind which to go on has vanished: whoever reads begins anew
    assert throughout <= set(found)
    assert len(found) == len(set(found))


def test_a_cursor_that_is_gone_is_told_and_a_refusal_of_the_first_page_is_not_taken_for_it() -> None:
    vanishing = Listed([f"o-{number}" for number in range(9)], lambda ids: ids.clear())
    with pytest.raises(CursorLost):
        ids_of(vanishing, 3)

    class Refusing(Listed):
        def get(self, path: str, parameters: Parameters) -> Answer:
            raise ApiRefusal("no", "", 400)

    with pytest.raises(ApiRefusal):
        ids_of(Refusing([], lambda _: None), 3)


@pytest.mark.parametrize("body", ['{"data": {}}', "[]", "{}", '{"data": null, "has_more": true}'])
def test_what_is_no_list_is_told(body: str) -> None:
    class Odd(Listed):
        def get(self, path: str, parameters: Parameters) -> Answer:
            return Answer(written(body.encode()), dt.datetime.now(dt.UTC))

    with pytest.raises(ApiUnusable, match="no list"):
        ids_of(Odd([], lambda _: None), 3)


@pytest.mark.parametrize("page", ["[]", "[{}]", '[{"id": "same"}]'])
def test_a_list_that_leads_nowhere_ends(page: str) -> None:
    class Endless(Listed):
        def get(self, path: str, parameters: Parameters) -> Answer:
            return Answer(written(f'{{"data": {page}, "has_more": true}}'.encode()), dt.datetime.now(dt.UTC))

    with pytest.raises(CursorLost, match="nothing to go on from"):
        ids_of(Endless([], lambda _: None), 3)
