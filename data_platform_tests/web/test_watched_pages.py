"""The live page as a reader has it: in a real browser, by its charts, on a desk and on a phone, light and dark, with
pointer or keyboard, with little motion, without scripts, and when the server goes and comes back.
Not here: what is told over the WebSocket (test_live_page), the page of costs (test_costs_page)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx

from data_platform import web
from data_platform.core.discovery import landing_sources, live_views
from data_platform.observability.health.facts import Collector
from data_platform.sources.segments import write_segment
from data_platform.web.app import application
from data_platform.web.live.pages import LivePages
from data_platform_tests.observability.test_health_style import contrast, palette
from data_platform_tests.support.browser import PHONE, Browser
from data_platform_tests.support.homes import Home, all_tables, event
from data_platform_tests.support.http_server import served

LIVE = "document.getElementById('connection').textContent === '● live'"
DRAWN = f"{LIVE} && document.querySelectorAll('.drawing canvas').length === 2"
CELLS = "[...document.querySelectorAll('.values tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
TOLD = "[...document.querySelectorAll('.legend-of')].map(one => [...one.children].map(part => part.textContent))"
BOTH = f"[{CELLS}, {TOLD}]"
PAINTED = """(() => {
  const canvas = document.querySelectorAll('.drawing canvas')[%d];
  const style = getComputedStyle(document.documentElement).getPropertyValue('--bar').trim();
  const [red, green, blue] = [1, 3, 5].map(at => parseInt(style.slice(at, at + 2), 16));
  // The upper half: below it are axes, and the line while nothing happens.
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height / 2);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    count += data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255;
  }
  return count;
})()"""
"""Pixels in the colour of the line as the stylesheet has it now."""


@contextlib.contextmanager
def live(home: Home, port: int = 0) -> Iterator[str]:
    """The address of a live page."""
    collector = Collector(home.lake, all_tables(), landing_sources(), every=3600)
    pages = LivePages(live_views(), home.landing, home.lake)
    with served(application(collector, None, live=pages), port) as client:
        yield f"{client.base_url}/live"


def play(home: Home, begin: int, count: int, ago: float = 60, players: int = 4) -> dt.datetime:
    """A segment of events of one second; that second."""
    moment = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)).replace(microsecond=0)
    rows = [
        event(event_id=f"e-{n}", player_id=f"p-{n % players}", timestamp=moment.isoformat())
        for n in range(begin, begin + count)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    write_segment(home.landing / "player_events", "http:1", begin, begin + count, text)
    return moment


def step_of(moment: dt.datetime) -> str:
    return f"{moment.replace(second=moment.second // 5 * 5):%H:%M:%S}"


def point_at(browser: Browser, step: str) -> list[list[str]]:
    """What is told with the pointer on this step of the first chart."""
    rows = browser.value(CELLS)
    share = 1 - next(place for place, row in enumerate(rows) if row[0] == step) / (len(rows) - 1)
    box = browser.value("JSON.parse(JSON.stringify(document.querySelector('.u-over').getBoundingClientRect()))")
    browser.point(box["x"] + box["width"] * share, box["y"] + 40)
    told: list[list[str]] = browser.value(TOLD)
    return told


def test_events_are_drawn_and_every_value_above_the_charts_is_one_of_the_table(home: Home, browser: Browser) -> None:
    with live(home) as address:
        browser.open(address)
        browser.until(DRAWN)
        assert browser.value(PAINTED % 0) == browser.value(PAINTED % 1) == 0
        step = step_of(play(home, 0, 120, players=4))
        browser.until(f"{CELLS}.some(row => row[0] === '{step}' && row[1] === '24' && row[2] === '4')")
        assert browser.until(PAINTED % 0) > 20
        assert browser.until(PAINTED % 1) > 20
        cells, told = browser.value(BOTH)
        assert told == [["Events per second", "0", cells[0][0]], ["Active players", "4", cells[0][0]]]

        # The pointer on the step: both charts tell of it.
        told = [point_at(browser, step) for _ in range(2)]
        wanted = [["Events per second", "24", step], ["Active players", "4", step]]
        assert wanted in told, "the second, where a step ended between looking and pointing"
        browser.point(1, 1)

        # The keyboard: along the chart from the newest to the oldest.
        browser.value("document.querySelector('.drawing').focus()")
        for key, row in (("ArrowLeft", 1), ("ArrowLeft", 2), ("Home", 59), ("ArrowRight", 58), ("End", 0)):
            browser.press(key)
            cells, told = browser.value(BOTH)
            assert [one[1:] for one in told] == [[cells[row][1], cells[row][0]], [cells[row][2], cells[row][0]]]
        said = browser.value("document.activeElement.getAttribute('aria-valuetext')")
        assert re.fullmatch(r"\d\d:\d\d:\d\d: 0", said)
        browser.press("Home")
        browser.press("Escape")
        cells, told = browser.value(BOTH)
        assert told[0][2] == cells[0][0]


def test_colours_follow_the_system_while_the_page_is_open(home: Home, browser: Browser) -> None:
    """At once, not with the next step."""
    play(home, 0, 100)
    shown = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    with live(home) as address:
        browser.open(address)
        browser.until(DRAWN)
        browser.until(f"({PAINTED % 0}) > 20")
        held = []
        for scheme in ("dark", "light", "dark", "light"):
            newest = browser.value(f"{CELLS}[0][0]")
            browser.look(scheme)
            now, painted = browser.value(f"{shown}.then(() => [{CELLS}[0][0], {PAINTED % 0}])")
            assert painted > 20
            held.append(now == newest)
            colours = palette(scheme == "dark")
            assert contrast(colours["bar"], colours["card"]) >= 3
        assert any(held), "each time a step ended meanwhile, and all was drawn anyway"


def test_a_phone_shows_it_all_without_scrolling_sideways(home: Home, browser: Browser) -> None:
    play(home, 0, 100, players=100)
    fits = "document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll('.drawing')].every("
    fits += "one => one.querySelector('.uplot').offsetWidth === one.clientWidth && one.clientWidth > 200)"
    with live(home) as address:
        browser.open(address)
        browser.until(DRAWN)
        wide = browser.until(f"{fits} && document.querySelector('.drawing').clientWidth")
        browser.resize(PHONE)
        browser.until(f"innerWidth === 390 && {fits}")
        assert browser.value("document.querySelector('.drawing').clientWidth") < wide
        browser.open(address)
        browser.until(f"{DRAWN} && {fits}")
        browser.value("document.querySelector('.values summary').click()")
        assert browser.value(fits), "the table too"


def test_what_a_reader_opened_stays_open_while_numbers_come(home: Home, browser: Browser) -> None:
    with live(home) as address:
        browser.open(address)
        browser.until(DRAWN)
        browser.value("document.querySelector('.values summary').click()")
        browser.value("window.canvas = document.querySelector('.drawing canvas')")
        play(home, 0, 7)
        browser.until("document.body.innerText.includes('Events, each once\\n7')")
        assert browser.value("document.querySelector('.values').open")
        assert browser.value("window.canvas.isConnected"), "it was drawn on, not drawn anew"


def test_little_motion_is_a_drawing_that_changes_once_a_step(home: Home, browser: Browser) -> None:
    """Late events change a step that is long over: the table at once, the drawing with the next step."""
    seen = f"[{CELLS}[0][0], document.querySelector('.drawing canvas').toDataURL()]"
    with live(home) as address:
        for motion, begin, ago in (("no-preference", 0, 280), ("reduce", 1000, 150)):
            browser.look(motion=motion)
            browser.open(address)
            browser.until(DRAWN)
            for attempt in range(8):  # a step may end meanwhile
                newest, before = browser.value(seen)
                step = step_of(play(home, begin + 100 * attempt, 100, ago=ago - 10 * attempt))
                browser.until(f"{CELLS}.some(row => row[0] === '{step}' && Number(row[1]) >= 20)")
                now, after = browser.value(seen)
                if now == newest:
                    break
            assert now == newest
            assert (after == before) == (motion == "reduce")
        browser.until(f"{CELLS}[0][0] !== '{newest}' && document.querySelector('canvas').toDataURL() !== '{after}'")


def test_it_comes_back_by_itself_when_the_server_does(home: Home, browser: Browser) -> None:
    with live(home) as address:
        browser.open(address)
        browser.until(LIVE)
    browser.until("document.getElementById('connection').textContent.includes('not live')")
    play(home, 0, 9)
    with live(home, httpx.URL(address).port or 0):
        browser.until(f"{LIVE} && document.body.innerText.includes('Events, each once\\n9')")


def test_without_scripts_it_is_a_table_that_reloads(home: Home, browser: Browser) -> None:
    browser.look(scripts=False)
    with live(home) as address:
        browser.open(address)
        browser.until("document.body.innerText.includes('As of')")
        step = step_of(play(home, 0, 50))
        browser.until(f"document.body.innerText.includes('{step}\\t10\\t4')", 20)
        assert browser.value("document.querySelectorAll('canvas').length") == 0
        assert "reloads every 5 s" in browser.value("document.getElementById('connection').innerText")


def test_the_vendored_charts_say_their_version_and_licence() -> None:
    folder = Path(web.__file__).parent / "static" / "uplot"
    assert {path.name for path in folder.iterdir()} == {"uPlot.iife.min.js", "uPlot.min.css", "LICENSE"}
    assert re.match(r"/\*! \S+/uPlot \(v\d+\.\d+\.\d+\) \*/", (folder / "uPlot.iife.min.js").read_text())
    assert "MIT License" in (folder / "LICENSE").read_text()
