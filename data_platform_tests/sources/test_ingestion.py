"""Every received line ends exactly once in raw or in rejected, with the right reason, and counts equal the simulation's
truth. Not here: malformed JSON (test_json_horrors), crashes (test_kill)."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter
from typing import Any

import polars as pl
import pytest

from data_platform.core.orchestration.partitions import daily
from data_platform.domains.gameplay.contracts.events import PlayerEvents, PlayerEventsRejected, RawPlayerEvents
from data_platform.domains.gameplay.contracts.registry import (
    RawCampaignChanges,
    RawParticipantChanges,
    RawPlayerChanges,
    RawPlayerChangesRejected,
)
from data_platform.domains.gameplay.simulation.truth import Truth
from data_platform.simulation import simulate
from data_platform_tests.support.homes import FIRST_DAY, Home, event, line, text_of

UTC = dt.UTC
ABSENT: Any = ...


# ------------------------------------------------------------------- the simulation's truth
def assert_counts_are_true(home: Home, truth: Truth) -> None:
    """Per file and reason, per day and reason, and in total."""
    ledger = home.ledger().filter(source="player_events")
    assert (ledger["received_lines"] == ledger["stored_lines"] + ledger["rejected_lines"]).all()
    rejected = home.rejected()
    reasons: dict[str, dict[str, int]] = {}
    for file, reason, count in rejected.group_by("source_file", "reason").len().iter_rows():
        reasons.setdefault(file, {})[reason] = count
    assert {
        f"player_events/{r['source_file']}": (
            r["received_lines"],
            r["stored_lines"],
            r["rejected_lines"],
            reasons.get(r["source_file"], {}),
        )
        for r in ledger.iter_rows(named=True)
    } == {name: (one.received, one.stored, one.rejected, one.rejected_by_reason) for name, one in truth.files.items()}
    for table in (RawPlayerEvents, PlayerEvents, PlayerEventsRejected):
        by_log = dict(home.lake.partitions(table).select("partition", "rows").iter_rows())
        by_rows = home.rows(table).group_by(pl.col("event_date").cast(pl.String)).len()
        assert {day: rows for day, rows in by_log.items() if rows} == dict(by_rows.iter_rows()), "the log counts right"
    balance = home.verdicts(PlayerEvents, "raw_equals_clean_plus_duplicates_plus_rejected")
    for day, one in truth.dates.items():
        found = {
            table: home.rows(table).filter(event_date=dt.date.fromisoformat(day))
            for table in (RawPlayerEvents, PlayerEvents, PlayerEventsRejected)
        }
        assert len(found[RawPlayerEvents]) == one.raw, day
        assert len(found[PlayerEvents]) == one.clean, day
        by_reason = Counter(found[PlayerEventsRejected]["reason"].to_list())
        assert by_reason == one.rejected_by_reason, day
        assert one.raw == one.clean + one.duplicates + one.rejected
        if one.raw:
            counts = {name: value.value for name, value in balance[day].metadata.items()}
            assert balance[day].passed
            assert counts == {
                "raw": one.raw, "clean": one.clean, "duplicates": one.duplicates, "rejected": one.rejected,
            }  # fmt: skip
    for folder, table in (
        ("players", RawPlayerChanges),
        ("campaigns", RawCampaignChanges),
        ("campaign_participants", RawParticipantChanges),
    ):
        assert len(home.rows(table)) == truth.changes.get(folder, {}).get("total", 0), folder


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counts_equal_the_truth_of_a_dirty_simulation(home: Home, seed: int) -> None:
    truth = Truth.read(simulate(120, 4, seed, FIRST_DAY + dt.timedelta(57 + seed), home.landing, dirty=True))
    assert truth.totals["rejected_raw"] > 3
    assert truth.totals["duplicates"] > 3
    home.build(["clean"])
    assert_counts_are_true(home, truth)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 150))
def test_counts_equal_the_truth_of_50_random_dirty_simulations(home: Home, seed: int) -> None:
    rng = random.Random(seed)
    start = FIRST_DAY + dt.timedelta(rng.randrange(0, 400))
    truth = Truth.read(simulate(rng.randrange(10, 400), rng.randrange(1, 15), seed, start, home.landing, dirty=True))
    files = sorted((home.landing / "player_events").iterdir())
    held_back = [file.rename(home.path / file.name) for file in rng.sample(files, len(files) // 2)]
    home.build(["clean"])
    for file in held_back:
        file.rename(home.landing / "player_events" / file.name)
    home.build(["clean"])
    assert_counts_are_true(home, truth)


# ------------------------------------------------------------------------ reasons, one by one
REASONS: list[tuple[str, str, str | None]] = [
    ("a good event", line(), None),
    ("nulls where allowed", line(campaign_id=None, session_id=None, client_timestamp=None, device_info=None), None),
    (
        "only what is required",
        json.dumps({"event_id": "e", "player_id": "p", "timestamp": "2024-01-03T00:00:00Z"}),
        None,
    ),
    ("no event type is for clean to reject", line(event_type=ABSENT), None),
    ("an id of any text", line(event_id="Ünïcode 🐉 id / 7"), None),
    ("a UUID", line(player_id="0b0c2e9e-6f57-4c0f-9be9-0f0f5b1f6d5a"), None),
    ("empty objects", line(event_data={}, device_info={}), None),
    ("blank", "", "blank_line"),
    ("white space", " \t ", "blank_line"),
    ("carriage return alone", "\r", "blank_line"),
    ("text", "ERROR 504 upstream timed out", "invalid_json"),
    ("cut short", line()[:40], "invalid_json"),
    ("two objects", line() + line(), "invalid_json"),
    ("array", '["login", 3]', "not_an_object"),
    ("array of events", f"[{line()}]", "not_an_object"),
    ("number", "17", "not_an_object"),
    ("string", '"login"', "not_an_object"),
    ("null", "null", "not_an_object"),
    ("null in spaces", " null ", "not_an_object"),
    ("true", "true", "not_an_object"),
    ("empty object", "{}", "missing_event_id"),
    ("no event id", line(event_id=ABSENT), "missing_event_id"),
    ("null event id", line(event_id=None), "missing_event_id"),
    ("empty event id", line(event_id=""), "missing_event_id"),
    ("blank event id", line(event_id="  "), "missing_event_id"),
    ("integer event id", line(event_id=17), "wrong_type_event_id"),
    ("boolean event id", line(event_id=True), "wrong_type_event_id"),
    ("object as event id", line(event_id={"id": "e"}), "wrong_type_event_id"),
    ("array as event id", line(event_id=["e"]), "wrong_type_event_id"),
    ("no player id", line(player_id=ABSENT), "missing_player_id"),
    ("null player id", line(player_id=None), "missing_player_id"),
    ("empty player id", line(player_id=""), "missing_player_id"),
    ("integer player id", line(player_id=40417), "wrong_type_player_id"),
    ("no timestamp", line(timestamp=ABSENT), "missing_timestamp"),
    ("null timestamp", line(timestamp=None), "missing_timestamp"),
    ("epoch timestamp", line(timestamp=1704276000), "wrong_type_timestamp"),
    ("timestamp that is none", line(timestamp="yesterday"), "wrong_type_timestamp"),
    ("empty timestamp", line(timestamp=""), "wrong_type_timestamp"),
    ("13th month", line(timestamp="2024-13-01T00:00:00Z"), "wrong_type_timestamp"),
    ("30 February", line(timestamp="2024-02-30T00:00:00Z"), "wrong_type_timestamp"),
    ("infinity", line(timestamp="infinity"), "wrong_type_timestamp"),
    ("minus infinity", line(timestamp="-infinity"), "wrong_type_timestamp"),
    ("far future", line(timestamp="2099-01-01T00:00:00Z"), "timestamp_in_future"),
    ("before the first day", line(timestamp="2023-12-31T23:59:59.999999Z"), "timestamp_before_first_day"),
    ("1970", line(timestamp="1970-01-01T00:00:00Z"), "timestamp_before_first_day"),
    ("before the first day by its offset", line(timestamp="2024-01-01T01:00:00+02:00"), "timestamp_before_first_day"),
    ("first moment of the first day", line(timestamp="2024-01-01T00:00:00Z"), None),
    ("integer campaign id", line(campaign_id=3), "wrong_type_campaign_id"),
    ("integer event type", line(event_type=3), "wrong_type_event_type"),
    ("integer session id", line(session_id=3), "wrong_type_session_id"),
    ("text as event data", line(event_data="gold=12"), "wrong_type_event_data"),
    ("array as event data", line(event_data=[1]), "wrong_type_event_data"),
    ("number as event data", line(event_data=1), "wrong_type_event_data"),
    ("text as device", line(device_info="phone"), "wrong_type_device_info"),
    ("client time that is none", line(client_timestamp="soon"), "wrong_type_client_timestamp"),
    ("integer client time", line(client_timestamp=12), "wrong_type_client_timestamp"),
    ("the first fault is told", line(event_id=None, timestamp="soon"), "missing_event_id"),
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """All lines of REASONS, as one file."""
    home = Home(tmp_path_factory.mktemp("reasons"))
    with home.used():
        home.drop("cases.ndjson", [text for _, text, _ in REASONS])
        home.ingest()
    return home


@pytest.mark.parametrize("number", range(1, len(REASONS) + 1), ids=[name.replace(" ", "-") for name, _, _ in REASONS])
def test_reason_line_number_and_verbatim_line(judged: Home, number: int) -> None:
    _, text, reason = REASONS[number - 1]
    stored = judged.raw().filter(source_line=number)
    rejected = judged.rejected().filter(source_line=number)
    if reason is None:
        assert (len(stored), len(rejected)) == (1, 0), rejected.to_dicts()
        assert stored["source_file"].item() == "cases.ndjson"
    else:
        assert (len(stored), len(rejected)) == (0, 1), stored.to_dicts()
        assert (rejected["reason"].item(), rejected["line"].item()) == (reason, text)
        assert rejected["source_file"].item() == "cases.ndjson"
        assert rejected["line_bytes"].item() is None


def test_the_future_begins_after_the_tolerance(home: Home) -> None:
    now = dt.datetime.now(UTC)
    ahead = [dt.timedelta(minutes=minutes) for minutes in (-1, 8, 12)]
    home.drop("clock.ndjson", [event(timestamp=(now + shift).isoformat()) for shift in ahead])
    home.ingest()
    assert home.raw()["source_line"].to_list() == [1, 2]
    assert home.rejected()["reason"].to_list() == ["timestamp_in_future"]


# -------------------------------------------------------------------------- what is stored
def test_a_row_says_what_the_line_said_and_where_it_came_from(home: Home) -> None:
    before = dt.datetime.now(UTC)
    home.drop("one.ndjson", ["{}", line(event_data={"deep": [1, {"x": None}], "text": 'a "quote" \\ \n é 🐉'})])
    home.ingest()
    row = home.raw().row(0, named=True)
    assert json.loads(row.pop("event_data")) == {"deep": [1, {"x": None}], "text": 'a "quote" \\ \n é 🐉'}
    assert json.loads(row.pop("device_info")) == {"os": "linux"}
    assert before <= row.pop("received_at") <= dt.datetime.now(UTC)
    assert row == {
        "event_date": dt.date(2024, 1, 3),
        "event_id": "e-1",
        "player_id": "p-1",
        "campaign_id": "c-1",
        "event_type": "combat_start",
        "session_id": "s-1",
        "timestamp": dt.datetime(2024, 1, 3, 10, tzinfo=UTC),
        "client_timestamp": dt.datetime(2024, 1, 3, 9, 59, 58, tzinfo=UTC),
        "extra_fields": None,
        "source_file": "one.ndjson",
        "source_line": 2,
    }
    entry = home.ledger().row(0, named=True)
    assert (entry["first_day"], entry["last_day"]) == (dt.date(2024, 1, 3), dt.date(2024, 1, 3))
    assert (entry["batch"], entry["damage"], entry["source"]) == (1, None, "player_events")
    assert (
        entry["bytes"]
        == len("{}\n") + len(line(event_data={"deep": [1, {"x": None}], "text": 'a "quote" \\ \n é 🐉'})) + 1
    )
    assert entry["received_at"] == home.rejected()["received_at"].item() == home.raw()["received_at"].item()
    assert entry["file_digest"] == home.rejected()["file_digest"].item()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-03T10:00:00Z", dt.datetime(2024, 1, 3, 10)),
        ("2024-01-03T10:00:00.123456Z", dt.datetime(2024, 1, 3, 10, 0, 0, 123456)),
        ("2024-01-03T10:00:00", dt.datetime(2024, 1, 3, 10)),
        ("2024-01-03 10:00:00", dt.datetime(2024, 1, 3, 10)),
        ("2024-01-03T10:00:00+02:00", dt.datetime(2024, 1, 3, 8)),
        ("2024-01-03T01:30:00+05:30", dt.datetime(2024, 1, 2, 20)),
        ("2024-01-03T23:30:00-0800", dt.datetime(2024, 1, 4, 7, 30)),
        ("2024-02-29T23:59:59.999Z", dt.datetime(2024, 2, 29, 23, 59, 59, 999000)),
    ],
)  # fmt: skip
def test_timestamps_with_offset_or_naive_become_utc(judged: Home, text: str, expected: dt.datetime) -> None:
    from data_platform.domains.gameplay.sources import PLAYER_EVENTS
    from data_platform.sources.compressed_lines import LineChunk
    from data_platform.sources.line_parser import LineParser, Received

    parser = LineParser(PLAYER_EVENTS, FIRST_DAY, dt.timedelta(minutes=10))
    chunk = LineChunk(1, (line(timestamp=text) + "\n").encode())
    rows = parser.parse(chunk, Received("f", "d", dt.datetime.now(UTC))).rows
    assert rows["timestamp"].item() == expected.replace(tzinfo=UTC)
    assert rows["event_date"].item() == expected.date()


def test_unknown_fields_are_kept(home: Home) -> None:
    extras: list[dict[str, Any]] = [
        {"guild_id": "g-7"},
        {"experiment": {"name": "x", "arm": 2}, "fps": 58.5, "big": 12345678901234567890},
        {"null_field": None, "list": [1, None]},
        {"event_date": "1999-01-01", "source_line": 99, "received_at": "never", "extra_fields": {"a": 1}},
        {'odd "name"': 1, "": 2, "ключ": 3, "a.b": 4, "$x": 5},
    ]
    home.drop("extra.ndjson", [event(**extra) for extra in extras] + [line()])
    home.ingest()
    found = [None if text is None else json.loads(text) for text in home.raw()["extra_fields"]]
    assert found == [*extras, None]
    assert home.raw()["source_line"].to_list() == [1, 2, 3, 4, 5, 6]


# --------------------------------------------------------------------- the same file again
def state(home: Home) -> Any:
    return home.raw().rows(), home.rejected().rows(), home.ledger().rows(), home.lake.version(RawPlayerEvents)


@pytest.mark.parametrize("name", ["first.ndjson", "other.ndjson", "sub/first.ndjson"])
def test_the_same_content_again_changes_nothing(home: Home, name: str) -> None:
    home.drop("first.ndjson", text_of(4) + b"broken\n")
    home.ingest()
    before = state(home)
    home.drop(name, text_of(4) + b"broken\n")
    assert home.ingest() == []
    assert state(home) == before
    assert not (home.landing / "player_events" / name).exists(), "put away"


def test_twins_in_one_batch_are_taken_in_once(home: Home) -> None:
    for name in ("a.ndjson", "b.ndjson", "sub/a.ndjson"):
        home.drop(name, text_of(4))
    home.ingest()
    assert len(home.raw()) == 4
    assert home.ledger()["source_file"].to_list() == ["a.ndjson"]


def test_a_changed_file_of_the_same_name_is_taken_in_again(home: Home) -> None:
    home.drop("a.ndjson", text_of(4))
    home.ingest()
    home.drop("a.ndjson", text_of(5))
    home.ingest()
    assert len(home.raw()) == 9
    assert home.ledger()["received_lines"].to_list() == [4, 5]
    assert home.ledger()["batch"].to_list() == [1, 2]


def test_every_file_is_kept_after_ingestion(home: Home) -> None:
    contents = {f"{n}.ndjson": text_of(n + 1) for n in range(3)}
    for name, content in contents.items():
        home.drop(name, content)
        home.ingest()
    kept = [path.read_bytes() for path in (home.landing / "player_events" / "_ingested").iterdir()]
    assert sorted(kept) == sorted(contents.values())


def test_the_limit_of_files_per_run_leaves_the_rest_for_the_next(home: Home) -> None:
    from data_platform.domains.gameplay.sources import PLAYER_EVENTS
    from data_platform.sources.ingestion import landing_of

    for n in range(5):
        home.drop(f"{n}.ndjson", [line(event_id=f"e-{n}")])
    landing = landing_of(PLAYER_EVENTS, home.lake, home.landing)
    for expected in (2, 4, 5):
        with landing.locked():
            for plan in landing.batches(2):
                landing.commit(plan)
                landing.finish(plan)
        assert len(home.raw()) == expected


# ------------------------------------------------------------------------------ change files
def test_changes_from_before_the_first_day_are_filed_under_it(home: Home) -> None:
    changes = [
        {"player_id": "p-1", "operation": "insert", "changed_at": "2019-05-01T00:00:00Z", "country": "NO"},
        {"player_id": "p-1", "operation": "update", "changed_at": "2024-01-05T00:00:00Z", "country": "SE"},
        {"player_id": "p-2", "operation": "upsert", "changed_at": "2024-01-05T00:00:00Z"},
        {"player_id": "p-2", "operation": "insert", "changed_at": "2099-01-05T00:00:00Z"},
        {"operation": "insert", "changed_at": "2024-01-05T00:00:00Z"},
    ]
    home.drop("players.ndjson", changes, folder="players")
    home.ingest()
    stored = home.rows(RawPlayerChanges).sort("source_line")
    assert stored["change_date"].to_list() == [FIRST_DAY, dt.date(2024, 1, 5)]
    assert stored["changed_at"].dt.year().to_list() == [2019, 2024]
    rejected = home.rows(RawPlayerChangesRejected).sort("source_line")
    assert rejected["reason"].to_list() == ["unknown_operation", "changed_at_in_future", "missing_player_id"]


def test_numbers_of_change_files_keep_their_type(home: Home) -> None:
    base = {"campaign_id": "c", "operation": "insert", "changed_at": "2024-01-05T00:00:00Z"}
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"max_players": 6}, 6),
        ({"max_players": 6.0}, 6),
        ({"max_players": None}, None),
        ({"max_players": 6.5}, "wrong_type_max_players"),
        ({"max_players": "6"}, "wrong_type_max_players"),
        ({"max_players": 10**19}, "wrong_type_max_players"),
        ({"max_players": True}, "wrong_type_max_players"),
    ]
    home.drop("c.ndjson", [base | case for case, _ in cases], folder="campaigns")
    home.ingest()
    from data_platform.domains.gameplay.contracts.registry import RawCampaignChangesRejected

    found: dict[int, Any] = dict(home.rows(RawCampaignChanges).select("source_line", "max_players").iter_rows())
    found |= dict(home.rows(RawCampaignChangesRejected).select("source_line", "reason").iter_rows())
    assert [found[n] for n in range(1, len(cases) + 1)] == [expected for _, expected in cases]


def test_partitions_start_on_the_first_day() -> None:
    assert daily().get_partition_keys()[0] == FIRST_DAY.isoformat()
