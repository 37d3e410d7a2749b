"""Plots as inline SVG, made on the server: bars over days. Colours come from the stylesheet, by class.
Not here: which numbers are shown."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

SPARK_WIDTH, SPARK_HEIGHT = 120, 28
CHART_WIDTH, CHART_HEIGHT = 720, 140
GAP = 0.2
"""Share of a bar's place that stays empty."""


def sparkline(values: Sequence[int], label: str) -> Markup:
    """Small bars, one per value, zero for a day without rows. The label says it in words."""
    return _drawing("spark", SPARK_WIDTH, SPARK_HEIGHT, label, [("bars", values)])


def bar_chart(values: Sequence[int], marked: Sequence[bool], label: str) -> Markup:
    """Large bars; marked ones in a second colour, and with a tick under them for those who do not see colours."""
    plain = [0 if mark else value for value, mark in zip(values, marked, strict=True)]
    special = [value if mark else 0 for value, mark in zip(values, marked, strict=True)]
    layers = [("bars", plain), ("bars marked", special)]
    return _drawing("chart", CHART_WIDTH, CHART_HEIGHT, label, layers, [i for i, mark in enumerate(marked) if mark])


def _drawing(
    kind: str,
    width: int,
    height: int,
    label: str,
    layers: Sequence[tuple[str, Sequence[int]]],
    ticks: Sequence[int] = (),
) -> Markup:
    count = max((len(values) for _, values in layers), default=0)
    most = max((value for _, values in layers for value in values), default=0)
    paths = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(name, _bars(values, width, height, most)) for name, values in layers
    )
    step = width / max(count, 1)
    marks = "".join(f"M{i * step:.1f} {height + 2}h{max(step * (1 - GAP), 2):.1f}v3h-{step * 0.8:.1f}z" for i in ticks)
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<title>{}</title>{}<path class="ticks" d="{}"/></svg>'
    ).format(kind, width, height + (6 if ticks else 0), label, label, paths, marks)


def _bars(values: Sequence[int], width: int, height: int, most: int) -> str:
    """One path for all bars: 365 elements of their own would be ten times the text."""
    if most <= 0:
        return ""
    step = width / len(values)
    return "".join(
        # A day with any rows stays visible beside a day with a million.
        f"M{i * step:.1f} {height}v-{max(value / most * height, 1):.1f}h{step * (1 - GAP):.2f}"
        f"v{max(value / most * height, 1):.1f}z"
        for i, value in enumerate(values)
        if value > 0
    )
