"""The health page over a real HTTP server: what it says, and that data stays text.
Not here: who may look (test_health_access), which checks count as problems (alerts), Dagster."""

from __future__ import annotations

import datetime as dt
import html
import re
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.table import Table
from data_platform.core.discovery import landing_sources
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.core.quality import verdict_ledger
from data_platform.domains.gameplay.contracts.activity import PlayerSessionDays, PlayerSessions
from data_platform.observability.alerts.problems import FIRST_STEPS, FIRST_STEPS_BY_RULE
from data_platform.observability.contracts import Freshness, ServiceLevels
from data_platform.observability.health.charts import bar_chart, sparkline
from data_platform.observability.health.days import DayState, NeededDays, WrittenDays, day_states
from data_platform.observability.health.facts import Collector
from data_platform.observability.health.markup import shown
from data_platform.observability.health.pages import UNREADABLE_STEP
from data_platform.observability.health.text import visible
from data_platform.observability.runbook import sections
from data_platform_tests.support.health_home import (
    DAYS,
    HOSTILE,
    TODAY,
    Reader,
    day_of_sessions,
    fill,
    record,
    serving,
    session_parts,
    verdict,
)
from data_platform_tests.support.homes import Home, all_tables, event


@pytest.fixture
def filled(home: Home) -> Home:
    return fill(home)


def assert_harmless(page: str) -> None:
    read = Reader(page)
    assert not {tag for tag, _ in read.tags} & {"script", "img", "iframe", "object", "style", "base", "meta-x"}
    # A search leads to this server, and changes nothing.
    assert all((a["method"], a["action"]) == ("get", "/") for tag, a in read.tags if tag == "form")
    for tag, attributes in read.tags:
        assert not [n for n in attributes if n.startswith("on") or n == "style"], (tag, attributes)
        assert not (attributes.get("href") or "").startswith("javascript"), attributes
    unseen = {c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c != "\n"}
    assert not unseen, sorted(map(hex, map(ord, unseen)))


def test_it_says_what_is_broken_since_when_whose_which_rows_and_what_to_do(filled: Home) -> None:
    with serving(filled) as (client, _):
        page = Reader(client.get("/").text).text
        assert "gameplay/player_sessions: duration_short failed" in page
        problem = page[page.index("gameplay/player_sessions: duration_short") :][:700]
        assert re.search(r"Since \d{4}-\d\d-\d\d \d\d:\d\d UTC \(\d+ s\) · owner team:gameplay · 1 rows", problem)
        assert "player_id=p-77, session_id=s" in problem
        assert "To do: " in problem
        found = client.get("/health.json").json()
        assert found["status"] == "critical"
        assert [p["table"] for p in found["problems"] if p["key"].endswith("duration_short")] == [
            "gameplay/player_sessions"
        ]
        assert found["tables"]["gameplay/player_sessions"]["rules"] == {
            "passed": 1, "failed": 1, "errored": 0, "not_judged": 0,
        }  # fmt: skip
        assert client.get("/healthz").text == "alive\n"


def test_a_table_page_has_contract_lineage_days_verdicts_and_failing_keys(filled: Home) -> None:
    with serving(filled) as (client, _):
        page = client.get("/tables/gameplay/player_sessions").text
        read = Reader(page)
        for name, declared in PlayerSessions.columns.items():
            assert name in read.text
            assert declared.description in read.text
        links = {attributes.get("href") for tag, attributes in read.tags if tag == "a"}
        assert {"/tables/gameplay/player_session_days", "/tables/gameplay/daily_metrics"} <= links
        cells = {
            str(attributes["title"])[:10]: str(attributes["class"])
            for tag, attributes in read.tags
            if tag == "td" and (attributes.get("class") or "").startswith("day ")
        }
        assert cells == {
            str(DAYS[0]): "day ok",
            str(DAYS[1]): "day failed",
            str(DAYS[2]): "day missing",
            str(DAYS[3]): "day missing",
            str(DAYS[4]): "day stale",
        }
        assert f"{DAYS[1].day}✗" in read.text, "not by colour alone"
        assert "Failing rows player_id session_id p-77 s" in read.text
        assert client.get("/tables/gameplay/nothing").status_code == 404


def test_hostile_data_is_text(filled: Home) -> None:
    filled.lake.replace(Freshness, freshness_rows(" ".join(HOSTILE[:7])), [TODAY])
    with serving(filled) as (client, _):
        for path in (
            "/",
            "/tables/gameplay/player_sessions",
            "/tables/%3Cscript%3E/%E2%80%AE",
            "/runbook",
            "/runbook/alerts",
        ):
            answer = client.get(path)
            assert_harmless(answer.text)
        page = Reader(client.get("/tables/gameplay/player_sessions").text).text
        assert "<script>alert(1)</script>" in page
        assert "⟨U+202E⟩gnp.exe⟨U+2066⟩" in page
        assert "⟨U+0000⟩⟨U+001B⟩[31m" in page
        assert "{{ 7 * 7 }}" in page
        assert "x" * 1_001 not in page
        assert client.get("/health.json").status_code == 200


def freshness_rows(reason: str) -> pl.DataFrame:
    now = dt.datetime.now(dt.UTC)
    row = {
        "recorded_date": TODAY, "recorded_at": now, "asset": "gameplay/player_sessions", "state": "stale",
        "newest_partition": TODAY, "expected_partition": TODAY, "watermark": now, "age_seconds": 5400.0,
        "reason": reason,
    }  # fmt: skip
    return pl.DataFrame([row], schema=Freshness.schema())


@given(st.text(st.characters(), max_size=300))
def test_any_text_comes_back_as_itself_or_as_the_numbers_of_what_cannot_be_seen(text: str) -> None:
    page = str(shown(text, 10_000))
    assert_harmless(page)
    read = "".join(Reader(page).words)
    assert read == html.unescape(re.sub(r"<[^>]*>", "", page))
    back = re.sub(r"⟨U\+([0-9A-F]{4,6})⟩", lambda found: chr(int(found[1], 16)), read)
    assert back == re.sub(r"⟨U\+([0-9A-F]{4,6})⟩", lambda found: chr(int(found[1], 16)), text)
    visible(text).encode()  # nothing in it that UTF-8 does not have


def test_recorded_freshness_and_service_levels_are_shown(filled: Home) -> None:
    filled.lake.replace(Freshness, freshness_rows("The newest event is from long ago."), [TODAY])
    level = {
        "level_date": TODAY, "name": "tables_fresh", "value": 0.9981, "goal": 0.999, "at_least": True, "met": False,
        "unit": "share", "description": "Share of tables that are fresh.",
    }  # fmt: skip
    filled.lake.replace(ServiceLevels, pl.DataFrame([level], schema=ServiceLevels.schema()), [TODAY])
    with serving(filled) as (client, _):
        page = Reader(client.get("/").text).text
        assert "tables_fresh ✗ missed 99.81% ≥ 99.90%" in page
        assert "The newest event is from long ago." in page
        found = client.get("/health.json").json()
        assert found["tables"]["gameplay/player_sessions"]["freshness"] == "stale"
        assert [level["met"] for level in found["service_levels"]] == [False]


def test_rejected_rows_of_a_real_build_are_a_share(home: Home) -> None:
    lines = [event(event_id=f"e-{n}", timestamp=f"{TODAY}T00:00:0{n}Z") for n in range(3)]
    home.drop("a.ndjson", [*lines, event(event_id=None)])
    home.build(["clean/player_events"])
    with serving(home) as (client, _):
        tables = client.get("/health.json").json()["tables"]
        assert tables["raw/player_events"]["rejected_share"] == 0.25
        assert tables["clean/player_events"]["rows"] == 3
        assert "25.00%" in client.get("/").text


def test_a_problem_goes_when_the_check_passes_and_others_are_not_read_again(filled: Home) -> None:
    with serving(filled) as (client, collector):
        assert "duration_short failed" in client.get("/").text
        record(filled.lake, PlayerSessions, verdict(DAYS[1], rule="duration_short"), run="run-2")
        filled.lake.replace(PlayerSessions, day_of_sessions(DAYS[2], rows=7), [DAYS[2]])
        assert "duration_short failed" in client.get("/").text, "until the next look"
        collector.refresh()
        assert "duration_short failed" not in client.get("/").text
        found = client.get("/health.json").json()["tables"]["gameplay/player_sessions"]
        assert (found["rows"], found["rules"]["passed"], found["rules"]["failed"]) == (13, 2, 0)
        assert (found["days"]["failed"], found["days"]["ok"]) == (0, 3)
        seen, afresh = collector.current(), Collector(filled.lake, all_tables(), landing_sources()).refresh()
        for key, facts in afresh.tables.items():
            assert seen.tables[key].history.equals(facts.history), key
            for what in ("rows", "bytes", "counts", "states", "rejected_rows"):
                assert getattr(seen.tables[key], what) == getattr(facts, what), (key, what)


def test_an_empty_home_says_what_to_do_first(home: Home) -> None:
    with serving(home) as (client, _):
        assert "make demo" in client.get("/").text
        assert client.get("/health.json").json()["status"] == "empty"
        assert client.get("/tables/gameplay/player_sessions").status_code == 200


def test_one_damaged_table_hides_no_other(filled: Home) -> None:
    log = Path(filled.lake.uri(PlayerSessionDays)) / "_delta_log"
    for file in log.glob("*.json"):
        file.write_text("no json")
    for table in (Freshness, verdict_ledger.CheckResults):
        folder = Path(filled.lake.uri(table)) / "_delta_log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "00000000000000000000.json").write_text("{")
    with serving(filled) as (client, _):
        page = Reader(client.get("/").text).text
        assert "gameplay/player_session_days: the table cannot be read" in page
        found = client.get("/health.json").json()
        assert found["tables"]["gameplay/player_sessions"]["rows"] == 6
        assert found["status"] == "critical"


def test_merging_small_files_makes_nothing_stale(filled: Home) -> None:
    lake, day = filled.lake, DAYS[0]
    for _ in range(8):
        lake.append(PlayerSessionDays, session_parts(day))
    time.sleep(0.01)
    lake.replace(PlayerSessions, day_of_sessions(day), [day])
    time.sleep(0.01)
    assert compact(lake, PlayerSessionDays) >= 8
    with serving(filled) as (client, _):
        tables = client.get("/health.json").json()["tables"]
        assert tables["gameplay/player_sessions"]["days"] == {
            "ok": 1, "warned": 0, "failed": 1, "stale": 1, "missing": 2,
        }  # fmt: skip
        assert tables["gameplay/player_session_days"]["days"]["ok"] == 5


class SlowLake(Lake):
    """A lake whose answers can be held back."""

    open_gate = threading.Event()

    def exists(self, table: type[Table]) -> bool:
        self.open_gate.wait(30)
        return super().exists(table)


def test_requests_never_wait_for_a_look_at_the_lake(filled: Home) -> None:
    lake = SlowLake(filled.lake.root)
    lake.open_gate.set()
    with serving(filled, lake=lake) as (client, collector):
        client.get("/")
        lake.open_gate.clear()
        refreshing = threading.Thread(target=collector.refresh)
        refreshing.start()
        try:
            began = time.monotonic()
            assert client.get("/").status_code == 200
            assert time.monotonic() - began < 5
            assert refreshing.is_alive()
        finally:
            lake.open_gate.set()
            refreshing.join(30)


# ------------------------------------------------------------------------------------------------- pure parts
MOMENTS = st.lists(st.integers(0, 4), min_size=1, max_size=12)


@given(own=MOMENTS, other=MOMENTS, start=st.integers(-6, 6), data=st.data())
def test_the_states_of_days_are_what_looking_at_each_pair_of_days_says(
    own: list[int], other: list[int], start: int, data: st.DataObject
) -> None:
    first = data.draw(st.one_of(st.none(), st.integers(-4, 2)))
    last = data.draw(st.integers(first if first is not None else -2, 3))
    broken = data.draw(st.lists(st.booleans(), min_size=len(own), max_size=len(own)))
    day = dt.date(2026, 3, 1)
    mine = written(day, own, broken)
    theirs = written(day + dt.timedelta(start), other, [False] * len(other))
    expected = []
    for place, moment in enumerate(own):
        needed = [
            at
            for offset, at in enumerate(other)
            if (first is None or offset + start >= place + first) and offset + start <= place + last
        ]
        if broken[place]:
            expected.append(DayState.FAILED)
        elif moment == 0:
            expected.append(DayState.MISSING)
        else:
            expected.append(DayState.STALE if max(needed, default=0) > moment else DayState.OK)
    assert day_states(mine, [NeededDays(theirs, first, last)]) == expected


def written(first: dt.date, moments: list[int], broken: list[bool]) -> WrittenDays:
    none = np.zeros(len(moments), dtype=bool)
    return WrittenDays(first, np.array(moments), np.array(moments), np.array(broken), none)


def test_charts_have_a_bar_for_each_day_with_rows() -> None:
    drawn = str(sparkline([0, 5, 10, 0], "five and <ten>"))
    assert drawn.count("M") == 2
    assert "five and &lt;ten&gt;" in drawn
    assert "<path" in str(bar_chart([1, 2], [False, True], "x"))
    assert "M" not in str(sparkline([], "none"))


def test_first_steps_lead_to_headings_of_the_runbook() -> None:
    anchors = set(sections())
    assert UNREADABLE_STEP[1] in anchors
    missing = {heading for _, heading in [*FIRST_STEPS.values(), *FIRST_STEPS_BY_RULE.values()]} - anchors
    assert not missing, f"docs/runbook.md has no heading for {missing}"
