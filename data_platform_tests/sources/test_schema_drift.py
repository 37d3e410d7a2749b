"""Fields of incoming lines against the days before: the diff itself, and the verdict that ingestion records."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.lake.store import Lake
from data_platform.core.quality.validation import Status, Verdict
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.schema_drift import INCOMING_FIELDS, Inventory, difference, inventory, judge_incoming
from data_platform_tests.support.homes import Home, event

DAY = dt.datetime(2024, 1, 3, 10, tzinfo=dt.UTC)


def received(lines: list[dict[str, Any]]) -> Inventory:
    """The inventory of raw rows; what is no column of the contract goes into `extra_fields`."""
    known = [column.name for column in PLAYER_EVENTS.fields()]
    rows = [
        {
            **{name: _text(line.get(name)) for name in known if name != "timestamp"},
            "extra_fields": _text({name: value for name, value in line.items() if name not in known} or None),
        }
        for line in lines
    ]
    schema = {name: pl.String() for name in (*known, "extra_fields") if name != "timestamp"}
    return inventory(RawPlayerEvents, pl.DataFrame(rows, schema=schema))


def _text(value: Any) -> Any:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value


def many(count: int = 100, **changes: Any) -> list[dict[str, Any]]:
    return [event(event_id=f"e-{number}", **changes) for number in range(count)]


@pytest.mark.parametrize(
    ("now", "diff"),
    [
        (many(), []),
        (many(fps=58.5), ["+ fps (number, 100 lines)"]),
        (many(fps=None), []),
        (many(campaign_id=None), ["- campaign_id"]),
        (many(event_data={}), ["- event_data.enemy (combat_start)"]),
        (many(event_data={"enemy": 7}), ["~ event_data.enemy (combat_start): string -> number"]),
        (many(event_data={"enemy": "wolf", "loot": [1]}), ["+ event_data.loot (combat_start) (array, 100 lines)"]),
        (many(device_info={"os": {"name": "linux"}}), ["~ device_info.os: string -> object"]),
        (many(event_type="pet_adopted", event_data={"pet": "cat"}), []),
        (many(99) + many(1, fps=1), []),
        (many(80) + many(20, fps=1), ["+ fps (number, 20 lines)"]),
    ],
)
def test_the_difference_is_reported_as_a_diff(now: list[dict[str, Any]], diff: list[str]) -> None:
    assert difference(received(many()), received(now)) == diff


def test_a_field_that_was_rare_may_be_missing() -> None:
    past = received(many(60, campaign_id=None) + many(40))
    assert difference(past, received(many(campaign_id=None))) == []


FIELDS = st.dictionaries(
    st.sampled_from(["fps", "guild", "arm"]), st.one_of(st.integers(0, 3), st.text(max_size=2), st.booleans())
)


@given(past=st.lists(FIELDS, max_size=12), now=st.lists(FIELDS, max_size=12))
def test_unknown_fields_are_counted_like_a_person_would(past: list[dict[str, Any]], now: list[dict[str, Any]]) -> None:
    """Every line 20 times, so that whatever a tenth of the lines carry is expected on ten."""
    lines = [[event(**line) for line in side for _ in range(20)] for side in (past, now)]
    names = {bool: "boolean", int: "number", str: "string"}
    wanted = set()
    for name in ("fps", "guild", "arm"):
        before = {names[type(line[name])] for line in past if name in line}
        after = [names[type(line[name])] for line in now if name in line]
        if past and after and not before and len(after) / len(now) * len(past) * 20 >= 10:
            wanted.add(f"+ {name}")
        if before and now and not after and sum(name in line for line in past) / len(past) > 0.5:
            wanted.add(f"- {name}")
        if before and after:
            carriers = 20 * sum(name in line for line in past)
            wanted |= {f"~ {name} {new}" for new in {*after} - before if after.count(new) / len(after) * carriers >= 10}
    diff = difference(received(lines[0]), received(lines[1]))
    found = {
        f"{one[0]} {one[2:].split()[0].rstrip(':')}" + (f" {one.split()[-1]}" if one[0] == "~" else "") for one in diff
    }
    # Without a past event type, or without a present one, its members are not compared; unknown fields always are.
    assert {one for one in found if one.split()[1] in ("fps", "guild", "arm")} == wanted


def test_ingestion_records_the_difference(home: Home) -> None:
    """The past is what was received on an earlier day: the first batch is moved there by hand."""
    home.drop("a.ndjson", many())
    home.build(["raw/player_events"])
    assert judged(home).status == Status.NOT_JUDGED
    _receive_earlier(home.lake)
    home.drop("b.ndjson", many(50, fps=58.5, campaign_id=None))
    home.build(["raw/player_events"])
    newest = home.rows(CheckResults).filter(pl.col("check_name") == INCOMING_FIELDS).sort("recorded_at").to_dicts()
    of_events = [row for row in newest if row["asset"] == RawPlayerEvents.key]
    assert [row["status"] for row in of_events] == ["not_judged", "failed"]
    assert of_events[-1]["message"] == "- campaign_id; + fps (number, 50 lines)"
    assert (of_events[-1]["value"], of_events[-1]["rows"]) == (2, 50)
    shown = home.verdicts(RawPlayerEvents, INCOMING_FIELDS)[None]
    assert not shown.passed
    assert shown.metadata["differences"].value == "- campaign_id; + fps (number, 50 lines)"


def test_on_the_first_day_a_batch_is_held_against_those_before_it(home: Home) -> None:
    verdicts = []
    for name, lines in (("a", many()), ("b", many(30)), ("c", many(50, guild="g", session_id=None))):
        home.drop(f"{name}.ndjson", lines)
        home.ingest()
        verdicts.append(judged(home))
    assert [one.status for one in verdicts] == [Status.NOT_JUDGED, Status.PASSED, Status.FAILED]
    assert verdicts[-1].message == "+ guild (string, 50 lines); - session_id"


def test_a_day_without_new_files_keeps_its_verdict(home: Home) -> None:
    home.drop("a.ndjson", many())
    home.ingest()
    _receive_earlier(home.lake)
    home.drop("b.ndjson", many(50, fps=1))
    home.ingest()
    assert [judged(home).status for _ in range(2)] == [Status.FAILED] * 2


def test_nothing_received_is_not_judged(home: Home) -> None:
    assert judged(home).status == Status.NOT_JUDGED


def judged(home: Home) -> Verdict:
    return judge_incoming(home.lake, PLAYER_EVENTS, home.ledger().filter(source=PLAYER_EVENTS.name))


def _receive_earlier(lake: Lake) -> None:
    """Move everything that was received to the day before."""
    for table, days in ((RawPlayerEvents, "event_date"), (IngestionLedger, "received_date")):
        rows = lake.scan(table).collect()
        earlier = [pl.col("received_at") - pl.duration(days=1)]
        earlier += [pl.col("received_date") - pl.duration(days=1)] if "received_date" in rows.columns else []
        moved = rows.with_columns(earlier)
        lake.replace(table, moved, sorted({*rows[days], *moved[days]}))
