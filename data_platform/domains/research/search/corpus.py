"""The index of the lake's newest texts, kept in memory and made anew when the table has another version.
Not here: the index itself (index)."""

from __future__ import annotations

import logging
import math
import threading
import time

from data_platform.core.lake.store import Lake
from data_platform.core.settings import Settings
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.configured import configured_model
from data_platform.domains.research.search.index import Index, indexed, space_of
from data_platform.domains.research.search.models import HURRIED, EmbeddingModel, ModelFails, NoModel

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
"""How often the table's version is looked at: opening a table with a year of days takes 5 to 20 ms."""
ASKS_AGAIN_SECONDS = 30.0
"""How long a model that failed is left alone."""


class Corpus:
    """What can be searched just now. Safe to use from several threads.

    The first question waits for the index (about 4 s for 100,000 texts). When the table has another version, or another
    model is there, the next index is made aside, and questions are answered from the one there is until it is ready.
    """

    def __init__(self, lake: Lake, settings: Settings, approximate_above: int | None = None) -> None:
        self._lake, self._settings, self._approximate_above = lake, settings, approximate_above
        self._index: Index | None = None
        self._looked_at = 0.0
        self._model: EmbeddingModel | None = None
        self._missing: NoModel | ModelFails | None = None
        self._asks_again_at = 0.0
        self._turn, self._loading, self._making = threading.Lock(), threading.Lock(), threading.Lock()

    def model(self) -> tuple[EmbeddingModel | None, NoModel | ModelFails | None]:
        """The model, or why there is none: then texts are found by their words. One that failed is not asked again for
        some seconds, so that not every question waits for it. Raises PlatformError for a wrong setting."""
        with self._loading:
            if self._model is None and time.monotonic() >= self._asks_again_at:
                try:
                    self._model, self._missing = configured_model(self._settings, HURRIED), None
                except NoModel as missing:
                    self._missing, self._asks_again_at = missing, math.inf
                except ModelFails as fails:
                    self._give_up(fails)
            return self._model, self._missing

    def give_up(self, fails: ModelFails) -> None:
        """Do without the model for some seconds, and load it anew then."""
        with self._loading:
            self._give_up(fails)

    def _give_up(self, fails: ModelFails) -> None:
        log.warning("%s", fails)
        self._model, self._missing, self._asks_again_at = None, fails, time.monotonic() + ASKS_AGAIN_SECONDS

    def index(self, model: EmbeddingModel | None) -> Index:
        """The newest there is, of this model's vectors where it is the first or made by now; while there is no model
        that of the last. Raises PlatformError when the table cannot be read the first time."""
        with self._turn:
            if self._index is None:
                self._index, self._looked_at = self._made(model), time.monotonic()
            elif time.monotonic() - self._looked_at > LOOK_SECONDS:
                self._looked_at = time.monotonic()
                threading.Thread(target=self._look_again, args=(model, self._index), daemon=True).start()
            return self._index

    def _look_again(self, model: EmbeddingModel | None, now: Index) -> None:
        if not self._making.acquire(blocking=False):
            return
        try:
            is_of_another = model is not None and space_of(model) != now.space
            if is_of_another or self._lake.snapshot(Embeddings).version != now.version:
                found = self._made(model)
                with self._turn:
                    self._index = found
        except Exception:
            log.exception("The search index could not be made anew; the one before it stays.")
        finally:
            self._making.release()

    def _made(self, model: EmbeddingModel | None) -> Index:
        snapshot = self._lake.snapshot(Embeddings)
        rows = snapshot.scan().collect()
        return indexed(rows, snapshot.version, model, self._approximate_above)
