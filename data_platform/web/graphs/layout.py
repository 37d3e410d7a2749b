"""Where the nodes of a graph are put: ends of heavy edges near each other, all others apart. The same graph is laid out
the same. Not here: which nodes are shown (pictures), what they look like (drawing)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
ROUNDS = 150
"""Fruchterman and Reingold's picture of 200 nodes stands still after some 100; all take 0.2 s."""
GOLDEN = math.pi * (3 - math.sqrt(5))
GRAVITY = 0.6
"""Draws pieces that nothing holds together to the middle."""
CLOSE = 1e-3


def laid_out(groups: Places, ends: Places, weights: Points) -> Points:
    """(nodes, 2), each between 0 and 1. `groups`: of each node, `ends`: (edges, 2) of places, `weights`: (edges,) > 0.

    It starts with the groups side by side on a spiral, so that chance has no part in it."""
    count = len(groups)
    if count < 2:
        return np.full((count, 2), 0.5)
    order = np.lexsort((np.arange(count), groups))
    place = np.empty(count)
    place[order] = np.arange(count)
    angle, radius = place / count * 2 * math.pi, 0.3 + 0.2 * (place * GOLDEN % 1)
    at = np.stack([np.cos(angle) * radius, np.sin(angle) * radius], axis=1)
    apart = math.sqrt(1 / count)
    pull = _pull(count, ends, weights)
    for step in range(ROUNDS):
        between = at[:, None, :] - at[None, :, :]
        distance = np.maximum(np.sqrt((between**2).sum(axis=2)), CLOSE)
        force = (apart / distance) ** 2 - pull * distance / apart
        moved = (between * force[:, :, None]).sum(axis=1) - at * GRAVITY
        length = np.maximum(np.sqrt((moved**2).sum(axis=1)), CLOSE)
        most = 0.1 * (1 - step / ROUNDS)
        at = at + moved / length[:, None] * np.minimum(length, most)[:, None]
    return _between_zero_and_one(at)


def _pull(count: int, ends: Places, weights: Points) -> Points:
    """(nodes, nodes): how much two draw each other, the heaviest edge with 1."""
    pull = np.zeros((count, count))
    if len(ends):
        share = weights / weights.max()
        pull[ends[:, 0], ends[:, 1]] = pull[ends[:, 1], ends[:, 0]] = share
    return pull


def _between_zero_and_one(at: Points) -> Points:
    low, high = at.min(axis=0), at.max(axis=0)
    spread = np.where(high - low > CLOSE, high - low, 1)
    found: Points = np.where(high - low > CLOSE, (at - low) / spread, 0.5)
    return found
