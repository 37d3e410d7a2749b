"""The picture of a graph as inline SVG, in its own shape at any width; colours come from the stylesheet by class.
Not here: where nodes are (layout), which (pictures)."""

from __future__ import annotations

import math

from markupsafe import Markup

from data_platform.observability.health.text import visible_start
from data_platform.web.graphs.pictures import GraphPicture

WIDTH, HEIGHT = 960, 620
MARGINS = 76, 36
"""At the sides, where labels reach out, and above and below."""
SMALLEST, LARGEST = 12.0, 24.0
"""Radius of the least and the greatest node."""
COLOURS = 5
"""Groups with a colour of their own; the others share the last. Each node has its group's number written in it."""
NO_GROUP = "–"
LABELLED = 60
"""Nodes with their label below them at most."""
LABELLED_ON_PHONES = 10
LONGEST_LABEL = 18
LONGEST_TOLD = 60
LETTER, LINE = 7.5, 14.0
"""About the width of a letter of a label, and its height."""
Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def swatch(group: int | None) -> str:
    """The class of a group's colour; a node without one has that of all the small ones."""
    return f"c{min(group or COLOURS + 1, COLOURS + 1)}"


def number_of(group: int | None) -> str:
    """What is written in a node."""
    return NO_GROUP if group is None else str(group)


def draw(picture: GraphPicture, label: str, description: str) -> Markup:
    """Edges, then nodes from the smallest up, then labels: what is larger lies above."""
    side, above = MARGINS
    points = [(side + x * (WIDTH - 2 * side), above + y * (HEIGHT - 2 * above)) for x, y in picture.at.tolist()]
    parts = [*_edges(picture, points), *_nodes(picture, points), *_labels(picture, points)]
    return Markup(
        '<svg class="graph" viewBox="0 0 {} {}" role="img" aria-labelledby="graph-t graph-d">'
        '<title id="graph-t">{}</title><desc id="graph-d">{}</desc>{}</svg>'
    ).format(WIDTH, HEIGHT, label, description, Markup("").join(parts))


def _edges(picture: GraphPicture, points: list[Point]) -> list[Markup]:
    """Two paths: the half of the heavier edges, and the others, fainter."""
    half = len(picture.ends) // 2
    found = []
    for kind, ends in (("faint", picture.ends[half:]), ("strong", picture.ends[:half])):
        path = "".join(
            f"M{points[one][0]:.0f} {points[one][1]:.0f}L{points[other][0]:.0f} {points[other][1]:.0f}"
            for one, other in ends.tolist()
        )
        if path:
            found.append(Markup('<path class="edge {}" d="{}"/>').format(kind, path))
    return found


def _nodes(picture: GraphPicture, points: list[Point]) -> list[Markup]:
    found = []
    for node, radius, (x, y) in reversed(list(zip(picture.nodes, _radii(picture), points, strict=True))):
        number = number_of(node.group)
        told = f"{visible_start(node.label, LONGEST_TOLD)} ({visible_start(node.name, LONGEST_TOLD)}), {number}"
        found.append(
            Markup(
                '<g class="node {}"><title>{}</title><circle cx="{:.0f}" cy="{:.0f}" r="{:.1f}"/>'
                '<text x="{:.0f}" y="{:.0f}">{}</text></g>'
            ).format(swatch(node.group), told, x, y, radius, x, y, number)
        )
    return found


def _labels(picture: GraphPicture, points: list[Point]) -> list[Markup]:
    """Those of the largest nodes that lie on no other label and no other node."""
    found: list[Markup] = []
    radii = _radii(picture)
    taken = [(x - radius, y - radius, x + radius, y + radius) for radius, (x, y) in zip(radii, points, strict=True)]
    for node, radius, (x, y) in zip(picture.nodes, radii, points, strict=True):
        text = visible_start(node.label, LONGEST_LABEL)
        half, top = LETTER * len(text) / 2, y + radius + 2
        box = x - half, top, x + half, top + LINE
        if len(found) < LABELLED and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            kind = "label" if len(found) < LABELLED_ON_PHONES else "label minor"
            found.append(Markup('<text class="{}" x="{:.0f}" y="{:.0f}">{}</text>').format(kind, x, top + 11, text))
    return found


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _radii(picture: GraphPicture) -> list[float]:
    """Areas grow with the size."""
    sizes = [max(node.size, 0.0) for node in picture.nodes]
    low, high = min(sizes, default=0.0), max(sizes, default=0.0)
    spread = high - low
    return [SMALLEST + (LARGEST - SMALLEST) * (math.sqrt((size - low) / spread) if spread > 0 else 0) for size in sizes]
