"""Pictures as inline SVG, stretched to any width: text stands beside them, colours come from the stylesheet by class.
Belongs here: coordinates. Not here: which numbers (series), how they read (pages)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from data_platform.core.contract.panels import Chart
from data_platform.web.dashboards.series import Picture, Series

WIDTH, HEIGHT = 720, 200
GAP = 0.18
"""Share of a bar's place that stays empty."""
STEPS = (1, 2, 2.5, 5, 10)
FLAT = 1e-9
"""Values that differ by less are one value."""
MOST_ZONES = 92
"""Places that tell their values to a mouse; of a longer period each tells a few days."""
Tell = Callable[[int], str]


def axis(low: float, high: float) -> list[float]:
    """Round values at equal distances, from at most `low` to at least `high`: four to six of them."""
    if high - low < FLAT:
        high = low + 1
    raw = (high - low) / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * one for one in STEPS if power * one >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def ticks(chart: Chart, picture: Picture) -> list[float]:
    """Values of the grid, from below upwards; zero is one of them."""
    up = [one.values for one in picture.series if not one.below]
    down = [one.values for one in picture.series if one.below]
    tops = [_total(values) for values in zip(*up, strict=True)] if chart != Chart.LINES else [v for s in up for v in s]
    bottoms = [_total(values) for values in zip(*down, strict=True)] if down else []
    most, least = (
        max((v for v in tops if v is not None), default=0),
        max((v for v in bottoms if v is not None), default=0),
    )
    lowest = min((v for values in up for v in values if v is not None), default=0)
    return axis(min(0, lowest, -least), max(0, most))


def draw(chart: Chart, picture: Picture, label: str, description: str, name: str, tell: Tell) -> Markup:
    """The picture; `tell` says in words what stands at a point, `name` is unique on the page."""
    grid = ticks(chart, picture)
    y = _scale(grid[0], grid[-1])
    lines = "".join(f"M0 {y(value):.1f}H{WIDTH}" for value in grid)
    layers = {Chart.LINES: _lines, Chart.BARS: _bars, Chart.BANDS: _layers, Chart.LAYERS: _layers}[chart](
        picture.series, y
    )
    paths = Markup("").join(Markup('<path class="{}" d="{}"/>').format(*layer) for layer in layers)
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>'
        '<path class="grid" d="{}"/>{}<path class="zero" d="M0 {:.1f}H{}"/>{}</svg>'
    ).format(
        WIDTH, HEIGHT, name, name, name, label, name, description, lines, paths, y(0), WIDTH,
        _zones(len(picture.points), tell),
    )  # fmt: skip


def bar(value: float, most: float) -> Markup:
    """A horizontal bar beside a number that is written anyway."""
    share = 0 if most <= 0 else max(value / most * 100, 0.5)
    return Markup(
        '<svg class="rank" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="s0" d="M0 0H{:.1f}V10H0Z"/></svg>'
    ).format(share)


def _scale(low: float, high: float) -> Callable[[float], float]:
    return lambda value: HEIGHT - (value - low) / (high - low) * HEIGHT


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _lines(series: Sequence[Series], y: Callable[[float], float]) -> list[tuple[str, str]]:
    """A day without a value interrupts its line."""
    found = []
    for number, one in enumerate(series):
        step, path, drawing = WIDTH / max(len(one.values), 1), [], False
        for place, value in enumerate(one.values):
            if value is not None:
                at = f"{(place + 0.5) * step:.1f} {y(value):.1f}"
                # A single day is a line without length: its round ends are a dot.
                path.append(f"L{at}" if drawing else f"M{at}h0")
            drawing = value is not None
        found.append((f"line s{number}", "".join(path)))
    return found


def _bars(series: Sequence[Series], y: Callable[[float], float]) -> list[tuple[str, str]]:
    """Columns on top of each other from zero; those that go down hang below it."""
    count = max((len(one.values) for one in series), default=0)
    step, width = WIDTH / max(count, 1), WIDTH / max(count, 1) * (1 - GAP)
    reached = {True: [0.0] * count, False: [0.0] * count}
    found = []
    for number, one in enumerate(series):
        path, base = [], reached[one.below]
        for place, value in enumerate(one.values):
            if value:
                start, end = base[place], base[place] + (-value if one.below else value)
                path.append(f"M{(place + GAP / 2) * step:.1f} {y(start):.1f}V{y(end):.1f}h{width:.1f}V{y(start):.1f}z")
                base[place] = end
        found.append((f"fill s{number}", "".join(path)))
    return found


def _layers(series: Sequence[Series], y: Callable[[float], float]) -> list[tuple[str, str]]:
    """Steps on top of each other, a day wide each; a day without rows is a hole down to zero."""
    count = max((len(one.values) for one in series), default=0)
    step, below, found = WIDTH / max(count, 1), [0.0] * count, []
    for number, one in enumerate(series):
        above = [base + (value or 0) for base, value in zip(below, one.values, strict=True)]
        upper = "".join(f"V{y(value):.1f}H{(place + 1) * step:.1f}" for place, value in enumerate(above))
        lower = "".join(f"V{y(below[place]):.1f}H{place * step:.1f}" for place in range(count - 1, -1, -1))
        found.append((f"fill band b{number}", f"M0 {y(below[0] if count else 0):.1f}{upper}{lower}z"))
        below = above
    return found


def _zones(count: int, tell: Tell) -> Markup:
    width = math.ceil(count / MOST_ZONES)
    step = WIDTH / max(count, 1)
    return Markup("").join(
        Markup('<rect class="zone" x="{:.1f}" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
            place * step, min(width, count - place) * step, HEIGHT, tell(min(place + width // 2, count - 1))
        )
        for place in range(0, count, width)
    )
