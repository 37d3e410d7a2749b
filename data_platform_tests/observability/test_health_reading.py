"""The health page as a person reads it: search, folds, checks, columns, runbook, units, what to type.
Not here: which facts it tells (test_health_page), who may look (test_health_access)."""

from __future__ import annotations

import datetime as dt

import pytest

from data_platform.core.contract.table import Severity
from data_platform.core.quality.validation import WHOLE_TABLE, Status, Verdict
from data_platform.domains.commerce.contracts.star import FctOrders
from data_platform.domains.gameplay.contracts.activity import PlayerSessions
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents
from data_platform.observability.alerts.problems import Level, Problem, failed_checks, first_step
from data_platform.observability.alerts.store import AlertStore, Findings
from data_platform.observability.health.words import measured, size, span
from data_platform.observability.runbook import Section, rendered, sections
from data_platform.sources.schema_drift import INCOMING_FIELDS, in_words
from data_platform_tests.support.health_home import DAYS, Reader, fill, record, serving, verdict
from data_platform_tests.support.homes import Home, all_tables, event

RUN = "0a1b2c3d-0000-4000-8000-000000000001"
DIFF = "+ fps (number, 812 lines); - campaign_id; ~ event_data.damage (combat_end): number -> string"


@pytest.fixture
def filled(home: Home) -> Home:
    return fill(home)


def test_a_search_and_a_filter_leave_what_was_asked_for(filled: Home) -> None:
    with serving(filled) as (client, _):
        whole, found = client.get("/").text, client.get("/?q=Session+player_sessions").text
        assert "/tables/gameplay/player_session_days" in whole
        assert "/tables/gameplay/player_session_days" not in found
        assert "gameplay/player_sessions: duration_short failed" in found
        assert "No open problem matches" in client.get("/?q=no+such+table").text
        broken = client.get("/?show=broken").text
        assert 'href="/tables/gameplay/player_sessions"' in broken
        assert 'href="/tables/gameplay/daily_metrics"' not in broken
        hostile = Reader(client.get("/?q=%22%3E%3Cscript%3E%E2%80%AE").text)
        assert not [tag for tag, _ in hostile.tags if tag == "script"]
        assert client.get("/").text == whole, "a search is not kept for the next reader"


def test_it_refreshes_by_itself_until_that_is_switched_off(filled: Home) -> None:
    with serving(filled) as (client, _):
        assert '<meta http-equiv="refresh" content="60">' in client.get("/").text
        assert "http-equiv" not in client.get("/?refresh=off").text
        assert "http-equiv" not in client.get("/tables/gameplay/player_sessions").text


def test_a_problem_has_its_run_its_section_of_the_runbook_and_the_commands(filled: Home) -> None:
    record(filled.lake, PlayerSessions, verdict(DAYS[4], Status.FAILED, "it's late"), run=RUN)
    with serving(filled) as (client, _):
        page = Reader(client.get("/").text)
        links = {attributes.get("href") for tag, attributes in page.tags if tag == "a"}
        assert f"http://127.0.0.1:3000/runs/{RUN}" in links
        assert "http://127.0.0.1:3000/runs/run-1" not in links, "not the id of a run of Dagster"
        assert "/runbook/alert-a-check-failed" in links
        assert "alerts mute check:gameplay/player_sessions:duration_short --for 2h" in page.text
        assert """alerts mute 'check:gameplay/player_sessions:it'"'"'s late' --for 2h""" in page.text


def test_changed_fields_are_reported_in_words_with_their_own_remedy(filled: Home) -> None:
    drift = Verdict(
        INCOMING_FIELDS, Severity.WARNING, WHOLE_TABLE, 0, 900, status=Status.FAILED, value=3.0, threshold=0.0,
        message=DIFF,
    )  # fmt: skip
    record(filled.lake, RawPlayerEvents, drift)
    (problem,) = [p for p in failed_checks(filled.lake, now() - dt.timedelta(7)) if INCOMING_FIELDS in p.key]
    words = (
        "fps is new (number, in 812 lines); campaign_id no longer comes; "
        "event_data.damage (combat_end) was number and now comes as string too."
    )
    assert problem.what.endswith(words)
    assert (first_step(problem) or ("", ""))[1] == "alert-incoming-fields-changed"
    with serving(filled) as (client, _):
        assert words in Reader(client.get("/tables/raw/player_events").text).text
        assert "/runbook/alert-incoming-fields-changed" in client.get("/").text
    assert in_words("a line of another form") == ["a line of another form"]


def test_problems_that_are_over_are_reported_with_how_long_they_lasted(filled: Home) -> None:
    began = now() - dt.timedelta(hours=12)
    problem = Problem(
        "check:gameplay/player_sessions:gone", Level.CRITICAL, "gameplay/player_sessions: gone failed", "It failed.",
        "team:gameplay", began, "gameplay/player_sessions",
    )  # fmt: skip
    store = AlertStore(filled.path)
    take = {"message_of": message_of, "channels": lambda _m: []}
    store.take_in(Findings((problem,)), began, **take)  # type: ignore[arg-type]
    for minutes in (588, 600):
        store.take_in(Findings(()), began + dt.timedelta(minutes=minutes), **take)  # type: ignore[arg-type]
    with serving(filled) as (client, _):
        for path in ("/", "/tables/gameplay/player_sessions"):
            page = Reader(client.get(path).text).text
            assert "1 problem ended in the last 30 days" in page
            assert "gameplay/player_sessions: gone failed" in page
            assert "9.8 h team:gameplay" in page


def message_of(said: object) -> object:
    from data_platform.observability.alerts.messages import of_test

    return of_test(str(said)[:5], now())


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def test_a_check_is_a_sentence_its_days_and_a_table_of_keys(filled: Home) -> None:
    with serving(filled) as (client, _):
        read = Reader(client.get("/tables/gameplay/player_sessions").text)
        assert f"Failing days: {DAYS[1]}" in read.text
        assert "Failing rows player_id session_id p-77 s" in read.text
        assert "Columns and types are as declared, one row per" in read.text
        assert f"✓ passed {DAYS[1]} error" in read.text


def test_columns_lead_to_those_they_come_from_and_those_they_feed(filled: Home) -> None:
    with serving(filled) as (client, _):
        sessions = client.get("/tables/gameplay/player_sessions").text
        assert 'href="/tables/gameplay/player_session_days#player_id"' in sessions
        days = client.get("/tables/gameplay/player_session_days").text
        assert 'href="/tables/gameplay/player_sessions#player_id"' in days
        assert '<tr id="player_id">' in days


def test_a_home_without_a_shop_shows_no_tables_of_a_shop(filled: Home) -> None:
    filled.lake.replace(FctOrders, FctOrders.empty(), [DAYS[0]])
    tables = [*all_tables(), FctOrders]
    with serving(filled, tables=tables) as (client, _):
        page = client.get("/").text
        listed = page[page.index("<h2>Tables</h2>") : page.index("without data")]
        assert "/tables/gameplay/player_sessions" in listed
        assert "/tables/commerce/" not in listed
        assert f'href="/tables/{FctOrders.key}"' in page, "folded, not gone"


def test_what_nothing_was_ever_received_for_is_not_late(home: Home) -> None:
    fill(home)
    with serving(home) as (_, collector):
        facts = collector.current().tables[PlayerSessions.key]
        assert (facts.connected, facts.quiet, facts.freshness.state) == (False, True, None)
        home.drop("a.ndjson", [event(event_id="e-1", timestamp=f"{DAYS[0]}T00:00:00Z")])
        home.build(["raw/player_events"])
        facts = collector.refresh().tables[PlayerSessions.key]
        assert (facts.connected, facts.quiet) == (True, False)
        assert facts.freshness.state is not None


def test_the_runbook_is_pages_whose_links_lead_to_pages(filled: Home) -> None:
    with serving(filled) as (client, _):
        contents = Reader(client.get("/runbook").text)
        pages = [a["href"] for tag, a in contents.tags if tag == "a" and str(a.get("href")).startswith("/runbook/")]
        assert len(pages) == len(sections())
        for path in pages:
            answer = client.get(str(path))
            assert answer.status_code == 200
            for tag, attributes in Reader(answer.text).tags:
                target = str(attributes.get("href") or "")
                assert tag != "a" or target.startswith(("/", "http")), (path, target)
        assert client.get("/runbook/nothing").status_code == 404


def test_html_and_foreign_links_in_markdown_stay_text() -> None:
    known = {"there": Section("There", 2, "", "runbook.md")}
    text = "<script>x</script> [a](#there) [b](javascript:alert) [c](other.md) [d](https://e.example) ![e](f.png)"
    html = rendered(text, lambda path: path, known)
    assert "<script>" not in html
    assert '<a href="/runbook/there">a</a>' in html
    assert '<a href="https://e.example">d</a>' in html
    assert html.count("<a ") == 2
    assert "<img" not in html


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (90, "90 s"), (35_400, "9.8 h"), (7_200, "2 h"), (302_400, "3.5 days")]
)
def test_spans_have_one_digit_where_it_matters(seconds: int, text: str) -> None:
    assert span(dt.timedelta(seconds=seconds)) == text


def test_sizes_and_measures_keep_the_exact_value_in_their_title() -> None:
    assert size(55_712_345) == '<span title="55,712,345 bytes">55.7 MB</span>'
    assert size(999_999) == '<span title="999,999 bytes">1 MB</span>'
    assert measured(35_400.0, "s") == '<span title="35,400.0 s">9.8 h</span>'
    assert measured(0.99813, "share") == '<span title="0.99813">99.81%</span>'
    assert measured(None) == ""
