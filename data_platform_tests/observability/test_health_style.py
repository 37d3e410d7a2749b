"""How the health page looks, where that can be said without a browser: colours that can be read, names that break where
a reader would break them, nothing open that passed. Not here: what the page says (test_health_page)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_platform.domains.gameplay.contracts.activity import PlayerSessionDays, PlayerSessions
from data_platform.observability.health import pages
from data_platform.observability.health.markup import breakable, sentence
from data_platform_tests.support.health_home import DAYS, TODAY, Reader, fill, record, serving, verdict
from data_platform_tests.support.homes import Home, event

CSS = (Path(pages.__file__).parent / "static" / "health.css").read_text()
READABLE = 4.5
"""Contrast of text and what is behind it, by WCAG 2.2 (level AA, text of any size)."""
BEHIND = ("page", "card")


def palette(dark: bool) -> dict[str, str]:
    light, _, rest = CSS.partition("@media (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return colours | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rest)) if dark else {})


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def pairs() -> set[tuple[str, str]]:
    """Text and background that meet, found in the stylesheet: those of one rule, and each text on page and cards."""
    met = set()
    for body in re.findall(r"\{([^{}]*)\}", CSS):
        text = re.search(r"(?<![\w-])color: var\(--([\w-]+)\)", body)
        behind = re.search(r"background: var\(--([\w-]+)\)", body)
        if behind and behind[1].endswith(("-soft", *BEHIND)):
            met.add((text[1] if text else "text", behind[1]))
        elif text:
            met |= {(text[1], place) for place in BEHIND}
    return met


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read_on_what_is_behind_it(dark: bool) -> None:
    colours = palette(dark)
    assert {("ok", "ok-soft"), ("failed", "failed-soft"), ("dim", "missing-soft"), ("link", "card")} <= pairs()
    found = {(text, behind): contrast(colours[text], colours[behind]) for text, behind in pairs()}
    assert not {pair: round(ratio, 2) for pair, ratio in found.items() if ratio < READABLE}


def test_names_break_after_words_and_stay_names() -> None:
    assert breakable("features/player_churn.avg_2d") == "features/<wbr>player_<wbr>churn.<wbr>avg_<wbr>2d"
    assert Reader(str(breakable("a__b_"))).text == "a__b_"
    assert breakable("<b>_x\u202e") == "&lt;b&gt;_<wbr>x⟨U+202E⟩"
    assert len(Reader(str(breakable("x" * 5_000))).text) == 200


def test_code_in_a_contract_is_code_and_nothing_else_is_markup() -> None:
    assert sentence("Day of `ordered_at`, <b>or</b> `a`.") == (
        "Day of <code>ordered_at</code>, &lt;b&gt;or&lt;/b&gt; <code>a</code>."
    )
    assert sentence("`one backtick") == "`one backtick"


def test_what_passed_is_folded_and_a_search_opens_it(home: Home) -> None:
    home.drop("a.ndjson", [event(timestamp=f"{TODAY}T00:00:01Z")])
    home.ingest()
    record(fill(home).lake, PlayerSessionDays, verdict(DAYS[0]))
    with serving(home) as (client, _):
        front, found = client.get("/").text, client.get("/?q=gameplay").text
        page, long = (
            client.get(f"/tables/{key}").text for key in (PlayerSessions.key, "features/player_churn_features")
        )
    open_ones, _, folded = front.partition('<details class="well"><summary>✓ 1 table without a problem</summary>')
    assert f'<th scope="row"><a href="/tables/{PlayerSessions.key}">' in open_ones
    assert f'<th scope="row"><a href="/tables/{PlayerSessionDays.key}">' in folded
    assert 'class="well"' not in found, "whoever searches sees what was found"
    assert re.search(r'<details class="card"><summary>\d+ checks? without a failure', page)
    assert '<details class="card" open><summary>8 columns' in page
    assert '<details class="card"><summary>36 columns' in long, "eight screens of a phone"
