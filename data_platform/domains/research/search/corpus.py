"""The index of the lake's newest texts, kept in memory and made anew when the table has another version.
Not here: the index itself (index)."""

from __future__ import annotations

import functools
import logging
import threading
import time

from data_platform.core.lake.store import Lake
from data_platform.core.settings import Settings
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.configured import configured_model
from data_platform.domains.research.search.index import Index, indexed
from data_platform.domains.research.search.models import EmbeddingModel, NoModel

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
"""How often the table's version is looked at: opening a table with a year of days takes 5 to 20 ms."""


class Corpus:
    """What can be searched just now. Safe to use from several threads.

    The first question waits for the index (about 4 s for 100,000 texts). When the table has another version the next
    index is made aside, and questions are answered from the one there is until it is ready.
    """

    def __init__(self, lake: Lake, settings: Settings, approximate_above: int | None = None) -> None:
        self._lake, self._settings, self._approximate_above = lake, settings, approximate_above
        self._index: Index | None = None
        self._looked_at = 0.0
        self._turn, self._making = threading.Lock(), threading.Lock()

    @functools.cached_property
    def _loaded(self) -> tuple[EmbeddingModel | None, NoModel | None]:
        try:
            return configured_model(self._settings), None
        except NoModel as missing:
            return None, missing

    def model(self) -> EmbeddingModel | None:
        """None where there is none: then texts are found by their words. Raises PlatformError for a wrong setting."""
        with self._turn:
            return self._loaded[0]

    @property
    def no_model(self) -> NoModel | None:
        """Why there is none."""
        return self._loaded[1]

    def index(self) -> Index:
        """The newest there is. Raises PlatformError when the table cannot be read the first time."""
        model = self.model()
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
            if self._lake.snapshot(Embeddings).version != now.version:
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
