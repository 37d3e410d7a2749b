"""A model in one picture, as Markdown with an inline SVG that Dagster shows beside a materialisation.
Not here: what is measured."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import polars as pl

from data_platform.domains.churn.transforms.churn_model import Term

ROW, LABELS, BAR, PLOT = 22, 260, 150, 200


def picture(strongest: Sequence[Term], calibration: pl.DataFrame) -> str:
    """Left: the strongest terms, towards staying (blue) or leaving (red). Right: foretold against observed churn."""
    height = max(ROW * (len(strongest) + 1), PLOT + 60)
    parts = [*_bars(strongest), *_calibration(calibration, LABELS + 2 * BAR + 80)]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + 2 * BAR + PLOT + 110}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )
    return f"![features and calibration](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _bars(strongest: Sequence[Term]) -> list[str]:
    longest = max((abs(term.weight) for term in strongest), default=0) or 1
    middle = LABELS + BAR
    drawn = [_text(LABELS - 8, 14, "weight per standard deviation", "end", "bold")]
    for number, term in enumerate(strongest, 1):
        length = abs(term.weight) / longest * (BAR - 10)
        left, colour = (middle, "#c0392b") if term.weight > 0 else (middle - length, "#2471a3")
        drawn.append(_text(LABELS - 8, ROW * number + 15, term.name[:40], "end"))
        drawn.append(f'<rect x="{left:.1f}" y="{ROW * number + 4}" width="{length:.1f}" height="14" fill="{colour}"/>')
        drawn.append(_text(middle + (-6 if term.weight > 0 else 6), ROW * number + 15, f"{term.weight:+.2f}",
                           "end" if term.weight > 0 else "start"))  # fmt: skip
    return drawn


def _calibration(bins: pl.DataFrame, left: int) -> list[str]:
    x = [left + share * PLOT for share in bins["foretold"]]
    y = [20 + PLOT - share * PLOT for share in bins["observed"]]
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return [
        _text(left + PLOT / 2, 14, "observed over foretold churn", "middle", "bold"),
        f'<path d="M{left} 20v{PLOT}h{PLOT}M{left} {20 + PLOT}l{PLOT} {-PLOT}" stroke="#999" fill="none"/>',
        f'<polyline points="{line}" stroke="#c0392b" stroke-width="2" fill="none"/>',
        *[f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="#c0392b"/>' for a, b in zip(x, y, strict=True)],
        _text(left, 36 + PLOT, "0", "middle"),
        _text(left + PLOT, 36 + PLOT, "1", "middle"),
    ]


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
