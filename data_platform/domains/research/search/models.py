"""Models that turn texts into vectors: what one can do, what it is shown of a text.
Not here: any one model (local_model, endpoint_model), which one is configured (configured)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_platform.core.errors import PlatformError

Vectors = npt.NDArray[np.float32]
LONGEST_INPUT = 2_000
"""Characters of a text that a model is shown: about the 512 tokens that models of this size read."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


class EmbeddingModel(Protocol):
    """Texts → vectors of length 1, alike for texts that mean alike. The same text has the same vector, in whatever
    company it comes."""

    name: str
    version: str
    """Vectors of one name and version compare with each other."""
    dimensions: int

    def passages(self, texts: Sequence[str]) -> Vectors:
        """(texts, dimensions) of texts to be found."""
        ...

    def query(self, text: str) -> Vectors:
        """(dimensions,) of what is looked for."""
        ...


class NoModel(PlatformError):
    """There is no model: texts are found by their words alone."""


def readable(text: str) -> str:
    """What a model is shown of a text: no control characters (C strings end at NUL), whole characters, not too long."""
    shown = _CONTROLS.sub(" ", text[:LONGEST_INPUT])
    return shown.encode("utf-8", "replace").decode()
