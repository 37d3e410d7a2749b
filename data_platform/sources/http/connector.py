"""A collector as worker and lineage see it: a stream that another process writes. Not here: receiving."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from data_platform.sources.connectors import Connector, ExternalTable, StreamState, Ways, known_source
from data_platform.sources.http.options import KIND, Options, stream_of
from data_platform.sources.positions import positions


def external_tables(name: str, options: Mapping[str, Any]) -> list[ExternalTable]:
    """The events that producers post, by default to one landing source."""
    source = Options.of(name, options).source
    told = "Events that producers post to `data-platform serve collector`."
    return [ExternalTable((KIND, name.removeprefix(f"{KIND}.")), KIND, source, told)]


def connect(name: str, options: Mapping[str, Any], ways: Ways) -> Connector:
    """Raises PlatformError for wrong options."""
    source = Options.of(name, options).source
    known_source(name, source, ways.sources)
    return Posted(source, stream_of(name.removeprefix(f"{KIND}.")), ways)


class Posted:
    """What a collector has received: it writes its segments by itself, whether a worker runs or not."""

    idle_seconds = 5.0

    def __init__(self, source: str, stream: str, ways: Ways) -> None:
        self._source, self._stream, self._ways = source, stream, ways
        self._end: int | None = None
        self._newest: dt.datetime | None = None

    def advance(self, stop: threading.Event) -> bool:
        return False

    def states(self) -> Sequence[StreamState]:
        standing = positions(self._ways.lake, self._ways.folder(self._source)).get(self._stream)
        end = standing.end if standing else 0
        if self._end is not None and end > self._end:
            self._newest = dt.datetime.now(dt.UTC)  # received since the last look: the collector is its own clock
        self._end = end
        return [StreamState(self._source, self._stream, end, watermark=self._newest)] if standing else []

    def close(self) -> None:
        return
