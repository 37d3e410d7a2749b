"""The simulated game: its files equal its own truth, and it behaves as its readers rely on."""

import gzip
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data_platform.domains.gameplay.simulation.dirt import KINDS
from data_platform.domains.gameplay.simulation.events import EVENT_TYPES
from data_platform.domains.gameplay.simulation.truth import CLEAN_REASONS, RAW_REASONS, Truth
from data_platform.simulation import simulate

START = date(2024, 2, 26)  # a leap day is inside
Row = dict[str, Any]


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().splitlines()


def files(to: Path, folder: str) -> list[Path]:
    return sorted((to / folder).iterdir())


def rows(to: Path, folder: str) -> Iterator[Row]:
    for path in files(to, folder):
        yield from map(json.loads, lines_of(path))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def reason(line: str) -> str | None:
    """Why raw rejects a line: the rules of the platform, said once more and naively."""
    try:
        event = json.loads(line)
    except ValueError:
        return "invalid_json"
    if not isinstance(event, dict):
        return "not_an_object"
    for name in ("event_id", "player_id", "timestamp"):
        if event.get(name) in (None, ""):
            return f"missing_{name}"
    if not isinstance(event["player_id"], str):
        return "wrong_type_player_id"
    if not isinstance(event["event_data"], dict):
        return "wrong_type_event_data"
    if moment(event["timestamp"]).year > 2050:
        return "timestamp_in_future"
    if moment(event["timestamp"]).date() < START:
        return "timestamp_before_first_day"
    return None


def counted(to: Path) -> tuple[Row, Row]:
    """Counts per file and per event date, found by reading every line and remembering everything."""
    by_file: Row = {}
    by_id: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for path in files(to, "player_events"):
        reasons: Counter[str] = Counter()
        lines = lines_of(path)
        for line in lines:
            if wrong := reason(line):
                reasons[wrong] += 1
            else:
                event = json.loads(line)
                by_id[event["timestamp"][:10]][event["event_id"]][json.dumps(event, sort_keys=True)] += 1
        rejected = sum(reasons.values())
        by_file[f"player_events/{path.name}"] = (len(lines), len(lines) - rejected, rejected, dict(reasons))
    by_date: Row = {}
    for day, events in by_id.items():
        clean, duplicates, reasons = 0, 0, Counter()
        for versions in events.values():
            duplicates += sum(versions.values()) - len(versions)
            typed = sum(bool(json.loads(version).get("event_type")) for version in versions)
            reasons["missing_event_type"] += len(versions) - typed
            reasons["conflicting_duplicate"] += max(typed - 1, 0)
            clean += typed > 0
        raw = sum(sum(versions.values()) for versions in events.values())
        by_date[day] = (raw, clean, duplicates, sum(reasons.values()), {name: n for name, n in reasons.items() if n})
    return by_file, by_date


def assert_truth_is_true(truth: Truth, to: Path) -> None:
    by_file, by_date = counted(to)
    assert {
        name: (one.received, one.stored, one.rejected, one.rejected_by_reason) for name, one in truth.files.items()
    } == by_file
    assert {
        day: (one.raw, one.clean, one.duplicates, one.rejected, one.rejected_by_reason)
        for day, one in truth.dates.items()
        if one.raw
    } == by_date
    for day in truth.dates.values():
        assert day.raw == day.clean + day.duplicates + day.rejected
    assert truth.totals["stored"] == truth.totals["raw"]
    for table, changes in truth.changes.items():
        found = Counter(row["operation"] for row in rows(to, table))
        assert changes == {**dict.fromkeys(("insert", "update", "delete"), 0), **found, "total": found.total()}


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Five weeks of 600 players, without dirt."""
    to = tmp_path_factory.mktemp("game")
    return to, Truth.read(simulate(600, 35, 7, START, to))


@pytest.fixture(scope="module")
def events(game: tuple[Path, Truth]) -> list[Row]:
    return list(rows(game[0], "player_events"))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    to = tmp_path_factory.mktemp("dirty")
    return to, Truth.read(simulate(1200, 10, 11, START, to, dirty=True))


def digest(to: Path) -> dict[str, str]:
    return {
        str(path.relative_to(to)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in to.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("with_dirt", [False, True])
def test_same_arguments_same_bytes_and_another_seed_others(tmp_path: Path, with_dirt: bool) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        simulate(300, 3, seed, START, tmp_path / name, dirty=with_dirt)
    assert digest(tmp_path / "one") == digest(tmp_path / "same")
    events = {name: digest(tmp_path / name)["player_events/2024-02-27-1.ndjson.gz"] for name in ("one", "other")}
    assert events["one"] != events["other"]


def test_truth_of_a_clean_game(game: tuple[Path, Truth]) -> None:
    to, truth = game
    assert_truth_is_true(truth, to)
    assert truth.totals["received"] == truth.totals["clean"] > 50_000
    assert all(truth.changes["players"][operation] for operation in ("insert", "update", "delete"))


def test_truth_of_a_dirty_game(dirty: tuple[Path, Truth]) -> None:
    assert_truth_is_true(dirty[1], dirty[0])


@pytest.mark.parametrize(("players", "days", "seed"), [(1, 1, 0), (2, 4, 1), (15, 9, 2), (60, 3, 3), (250, 2, 4)])
def test_truth_of_small_dirty_games(tmp_path: Path, players: int, days: int, seed: int) -> None:
    assert_truth_is_true(Truth.read(simulate(players, days, seed, START, tmp_path, dirty=True)), tmp_path)


def test_a_large_day_is_split_in_order_of_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_platform.simulation.writer._LINES_PER_FILE", 1000)
    monkeypatch.setattr("data_platform.domains.gameplay.simulation.game._LINES_AT_ONCE", 300)
    truth = Truth.read(simulate(800, 2, 1, START, tmp_path, dirty=True))
    assert_truth_is_true(truth, tmp_path)
    assert len(truth.files) > 4
    assert max(one.received for one in truth.files.values()) < 1400


def test_dirt_does_not_change_the_game(tmp_path: Path) -> None:
    clean = Truth.read(simulate(200, 3, 1, START, tmp_path / "clean"))
    dirty = Truth.read(simulate(200, 3, 1, START, tmp_path / "dirty", dirty=True))
    assert clean.changes == dirty.changes
    unhurt = {row["event_id"] for row in rows(tmp_path / "clean", "player_events")}
    seen = {row["event_id"] for path in files(tmp_path / "dirty", "player_events") for row in readable(path)}
    assert seen <= unhurt
    assert len(seen) > 0.95 * len(unhurt)


def readable(path: Path) -> Iterator[Row]:
    return (json.loads(line) for line in lines_of(path) if reason(line) is None)


def test_every_kind_of_dirt(dirty: tuple[Path, Truth]) -> None:
    to, truth = dirty
    reasons: Counter[str] = Counter()
    for one in (*truth.files.values(), *truth.dates.values()):
        reasons.update(one.rejected_by_reason)
    assert set(reasons) == {*RAW_REASONS, *CLEAN_REASONS}
    assert truth.totals["duplicates"] > 0.015 * truth.totals["raw"]
    assert {kind.verdict for kind in KINDS} <= {"clean", "missing_event_type", *RAW_REASONS}

    lateness: Counter[int] = Counter()
    traits: Counter[str] = Counter()
    for path in files(to, "player_events"):
        arrived = date.fromisoformat(path.name[:10])
        for event in readable(path):
            lateness[(arrived - moment(event["timestamp"]).date()).days] += 1
            off = abs(moment(event["client_timestamp"]) - moment(event["timestamp"]))
            traits["wrong clock"] += off > timedelta(minutes=1)
            traits["unknown field"] += "guild_id" in event or "experiment" in event
            traits["no session"] += event.get("session_id") is None
    assert set(lateness) == set(range(8))
    assert 0.02 < 1 - lateness[0] / lateness.total() < 0.06
    assert all(traits[name] > 100 for name in ("wrong clock", "unknown field", "no session")), traits


def test_events_look_as_agreed(events: list[Row]) -> None:
    assert {event["event_type"] for event in events} == set(EVENT_TYPES)
    assert all(
        list(event)
        == [
            *("event_id", "player_id", "campaign_id", "event_type", "event_data", "session_id"),
            *("timestamp", "client_timestamp", "device_info"),
        ]
        for event in events
    )
    assert all(event["event_data"] for event in events)
    assert {name for event in events for name in event["device_info"]} == {
        *("platform", "os_version", "app_version", "device_model")
    }
    assert 0.02 < sum(event["campaign_id"] is None for event in events) / len(events) < 0.4
    player_days = {(event["player_id"], event["timestamp"][:10]) for event in events}
    assert 12 <= len(events) / len(player_days) <= 25


def test_sessions_are_whole_and_some_cross_midnight(events: list[Row]) -> None:
    sessions: dict[str, list[Row]] = defaultdict(list)
    for event in events:
        sessions[event["session_id"]].append(event)
    crossing = 0
    spans: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for session in sessions.values():
        first, last = moment(session[0]["timestamp"]), moment(session[-1]["timestamp"])
        assert timedelta(0) <= last - first < timedelta(hours=24)
        assert session[0]["event_type"] == "login"
        assert len({event["player_id"] for event in session}) == 1
        crossing += first.date() != last.date()
        spans[session[0]["player_id"]].append((first, last))
    assert crossing > 0.02 * len(sessions)
    for own in spans.values():
        own.sort()
        assert all(before[1] < after[0] for before, after in pairwise(own))


def test_change_files_tell_possible_stories(game: tuple[Path, Truth]) -> None:
    to, _ = game
    keys = {
        "players": ("player_id",),
        "campaigns": ("campaign_id",),
        "campaign_participants": ("campaign_id", "player_id"),
    }
    state: dict[str, dict[tuple[str, ...], Row]] = {table: {} for table in keys}
    for table, key in keys.items():
        for path in files(to, table):
            before = ""
            for row in map(json.loads, lines_of(path)):
                assert row["changed_at"][:10] == path.name[:10]
                assert row["changed_at"] >= before
                before = row["changed_at"]
                known = state[table].get(tuple(row[name] for name in key))
                assert (row["operation"] == "insert") == (known is None)
                if table == "campaign_participants":
                    assert row["joined_at"] <= row["last_active"] <= row["changed_at"]
                    assert row["character_level"] >= 1
                    for grows in ("experience", "character_level", "last_active"):
                        assert known is None or row[grows] >= known[grows]
                    if row["operation"] == "update":
                        assert row["last_active"][:10] == row["changed_at"][:10]
                if row["operation"] == "delete":
                    del state[table][tuple(row[name] for name in key)]
                else:
                    state[table][tuple(row[name] for name in key)] = row
    members = Counter(campaign for campaign, _ in state["campaign_participants"])
    assert all(members[campaign] <= row["max_players"] for (campaign,), row in state["campaigns"].items())
    assert {(player,) for _, player in state["campaign_participants"]} <= set(state["players"])
    assert {row["status"] for row in rows(to, "campaigns")} == {"active", "paused", "completed"}
    assert all(1 <= row["difficulty"] <= 10 for row in rows(to, "campaigns"))


def test_last_active_is_the_end_of_a_session_in_that_campaign(game: tuple[Path, Truth], events: list[Row]) -> None:
    played: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        played[event["player_id"], event["timestamp"][:10]].add(event["campaign_id"])
    updates = [row for row in rows(game[0], "campaign_participants") if row["operation"] == "update"]
    assert len(updates) > 1000
    for row in updates:
        day = date.fromisoformat(row["changed_at"][:10])
        days = (str(day), str(day - timedelta(1)))  # the last beat may lie before midnight, the session's end after
        assert any(row["campaign_id"] in played[row["player_id"], one] for one in days)


def test_players_and_events_agree(game: tuple[Path, Truth], events: list[Row]) -> None:
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for event in events:
        first.setdefault(event["player_id"], event["timestamp"])
        last[event["player_id"]] = event["timestamp"]
    for row in rows(game[0], "players"):
        player = row["player_id"]
        if player in first and row["operation"] == "insert":
            assert row["registered_at"] < first[player]
        if player in last and row["operation"] == "delete":
            assert last[player] < row["changed_at"]


def test_churn_can_be_seen_coming_and_retention_is_plausible(game: tuple[Path, Truth], events: list[Row]) -> None:
    """Who is about to stay away for two weeks was less active, less social and in decline in the week before."""
    day = datetime(2024, 3, 17, tzinfo=UTC)
    week, before, later = Counter[str](), Counter[str](), Counter[str]()
    total, social = Counter[str](), Counter[str]()
    for event in events:
        player, age = event["player_id"], day - moment(event["timestamp"])
        week[player] += timedelta(0) <= age < timedelta(7)
        before[player] += timedelta(7) <= age < timedelta(14)
        later[player] += timedelta(-14) <= age < timedelta(0)
        total[player] += age >= timedelta(0)
        social[player] += age >= timedelta(0) and event["event_type"] in ("party_join", "message_sent")
    active = [player for player in week if week[player] and before[player]]
    churned, stayed = ([player for player in active if bool(later[player]) is stays] for stays in (False, True))
    assert len(churned) >= 10
    assert len(stayed) >= 50

    def mean(counts: Counter[str], players: list[str]) -> float:
        return sum(counts[player] for player in players) / len(players)

    assert mean(week, churned) < 0.6 * mean(week, stayed)
    assert mean(week, churned) / mean(before, churned) < 0.8 * mean(week, stayed) / mean(before, stayed)
    assert mean(social, churned) / mean(total, churned) < mean(social, stayed) / mean(total, stayed)

    signup = {
        row["player_id"]: moment(row["registered_at"]).date()
        for row in rows(game[0], "players")
        if row["operation"] == "insert" and row["registered_at"] >= str(START)
    }
    active_on = {(event["player_id"], event["timestamp"][:10]) for event in events}

    def retention(after: int) -> float:
        cohort = [player for player, day in signup.items() if day + timedelta(after) < START + timedelta(35)]
        return sum((player, str(signup[player] + timedelta(after))) in active_on for player in cohort) / len(cohort)

    assert 0.25 < retention(1) < 0.6
    assert retention(1) > retention(7) > retention(21) > 0.05
