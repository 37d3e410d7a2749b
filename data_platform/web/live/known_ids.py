"""Ids of events that were counted in closed windows, so that a copy that comes hours later is known for one.
Belongs here: remembering them in 16 bytes each. Not here: what follows from it (counting)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_IDS = 20_000_000
"""320 MB. Past that the oldest half is forgotten: of those, a late copy is told as a late event."""
KNOWN = np.dtype([("id", np.uint64), ("window", np.int32), ("content", np.uint32)])
NOWHERE = -1


class KnownIds:
    """Id → (number of the window it was counted in, digest of what it said). Ids are hashes of 64 bits: of 100 million,
    two agree once in 4,000 times."""

    def __init__(self, most: int = MOST_IDS) -> None:
        self.most = most
        self._sorted: npt.NDArray[Any] = np.empty(0, KNOWN)
        self._late: dict[int, tuple[int, int]] = {}

    def look_up(self, ids: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
        """Of each id its window and digest when its window was closed; (NOWHERE, 0) where it is not known."""
        found = [(NOWHERE, 0)] * len(ids)
        if len(self._sorted):
            at = np.minimum(np.searchsorted(self._sorted["id"], ids), len(self._sorted) - 1)
            for number in np.flatnonzero(self._sorted["id"][at] == ids).tolist():
                known = self._sorted[at[number]]
                found[number] = int(known["window"]), int(known["content"])
        return found

    def came_late(self, one: int) -> tuple[int, int] | None:
        """The same of an id that came since, for a closed window."""
        return self._late.get(one)

    def add_late(self, one: int, window: int, content: int) -> None:
        """One that came for a closed window; from now on it counts as known there."""
        self._late[one] = window, content

    def add(self, window: int, contents: Mapping[int, int]) -> None:
        """All of a window that is closed: the digest of each id."""
        self._merge(contents.keys(), window, contents.values())
        if self._late:
            late, self._late = self._late, {}
            others = np.isin(self._sorted["id"], np.fromiter(late, np.uint64, len(late)), invert=True)
            self._sorted = self._sorted[others]
            for number in {window for window, _ in late.values()}:
                of_window = {one: content for one, (window, content) in late.items() if window == number}
                self._merge(of_window.keys(), number, of_window.values())
        if len(self._sorted) > self.most:
            self._sorted = self._sorted[self._sorted["window"] > np.median(self._sorted["window"])]

    def _merge(self, ids: Collection[int], window: int, contents: Collection[int]) -> None:
        new = np.empty(len(ids), KNOWN)
        new["id"], new["content"] = np.fromiter(ids, np.uint64), np.fromiter(contents, np.uint32)
        new["window"] = window
        new.sort(order="id")
        self._sorted = np.insert(self._sorted, np.searchsorted(self._sorted["id"], new["id"]), new)
