"""Which values of failing rows' keys people see, in messages, on the terminal and on pages alike.
Not here: text that is hostile (test_health_page)."""

from __future__ import annotations

import json

from data_platform.domains.gameplay.contracts.registry import RawPlayerChanges
from data_platform.observability.health.table_page import key_table
from data_platform.observability.samples import key_text, keys_of

NAMED = {"player_id": "p-1", "email": "a@example.com", "comment": "of a test in SQL", "changes": 3}


def test_what_identifies_a_person_or_is_described_nowhere_is_left_out() -> None:
    hidden = {"email": "a@example.com"}
    keys = list(keys_of([json.dumps([NAMED]), json.dumps([hidden])]))
    assert [key_text(RawPlayerChanges, key) for key in keys] == ["player_id=p-1, changes=3", "(not shown)"]


def test_a_page_says_where_something_is_left_out_and_repeats_no_key() -> None:
    samples = [json.dumps([NAMED, {"player_id": "p-2"}]), json.dumps([NAMED]), "no JSON"]
    assert key_table(RawPlayerChanges, samples) == (
        ["player_id", "email", "comment", "changes", ""],
        [["p-1", None, None, 3, ""], ["p-2", "", "", "", ""], ["", "", "", "", None]],
    )
