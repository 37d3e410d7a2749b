"""Models that turn texts into vectors: what one can do, what it is shown of a text.
Not here: any one model (local_model, endpoint_model), which one is configured (configured)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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


class ModelFails(PlatformError):
    """The model that is configured does not answer as one: it is away, refuses, or is another than it was."""


@dataclass(frozen=True)
class Patience:
    """How long one waits for a model that is away."""

    attempts: int
    first_wait: float
    """Seconds, of which each further wait is about the double."""
    longest_wait: float
    timeout: float


PATIENT = Patience(6, 1.0, 60.0, 60.0)
"""Of a step, whose day waits for its vectors: about two minutes for a model that is away."""
HURRIED = Patience(2, 0.2, 1.0, 5.0)
"""Of somebody who asks: some ten seconds, then the answer is by words."""


def readable(text: str) -> str:
    """What a model is shown of a text: no control characters (C strings end at NUL), whole characters, not too long."""
    shown = _CONTROLS.sub(" ", text[:LONGEST_INPUT])
    return shown.encode("utf-8", "replace").decode()
