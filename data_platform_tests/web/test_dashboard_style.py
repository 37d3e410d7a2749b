"""Colours of the dashboards: numbers on the heat map can be read, lines and layers told from what is behind them.
Not here: the stylesheet of all pages (test_health_style)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_platform import web
from data_platform.core.contract.panels import MOST_SERIES
from data_platform.web.dashboards.words import HEAT_STEPS
from data_platform_tests.observability.test_health_style import READABLE, contrast
from data_platform_tests.observability.test_health_style import palette as palette_of_all

CSS = (Path(web.__file__).parent / "static" / "dashboards.css").read_text()
VISIBLE = 3.0
"""Contrast of what is drawn, by WCAG 2.2 (1.4.11)."""


def palette(dark: bool) -> dict[str, str]:
    light, _, rest = CSS.partition("@media (prefers-color-scheme: dark)")
    colours = palette_of_all(dark) | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return colours | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rest)) if dark else {})


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_on_the_heat_map_can_be_read(dark: bool) -> None:
    colours = palette(dark)
    cells = dict(re.findall(r"\.(h\d) \{ background: var\(--h\d\); color: var\(--([\w-]+)\)", CSS))
    assert set(cells) == {f"h{step}" for step in range(HEAT_STEPS)}
    found = {cell: contrast(colours[text], colours[cell]) for cell, text in cells.items()}
    assert not {cell: round(ratio, 2) for cell, ratio in found.items() if ratio < READABLE}


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_drawn_can_be_told_from_the_card(dark: bool) -> None:
    colours = palette(dark)
    found = {
        f"{kind}{n}": contrast(colours[f"{kind}{n}"], colours["card"]) for kind in "sb" for n in range(MOST_SERIES)
    }
    assert not {name: round(ratio, 2) for name, ratio in found.items() if ratio < VISIBLE}


def test_lines_are_told_apart_without_colours() -> None:
    dashes = re.findall(r"\.line\.s\d \{ stroke: var\(--s\d\);(?: stroke-dasharray: ([\d ]+);)? \}", CSS)
    assert len(dashes) == len(set(dashes)) == MOST_SERIES
