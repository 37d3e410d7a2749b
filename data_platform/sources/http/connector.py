"""A collector as worker and lineage see it: a stream that another process writes. Not here: receiving."""

from __future__ import annotations

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

    def advance(self, stop: threading.Event) -> bool:
        return False

    def states(self) -> Sequence[StreamState]:
        standing = positions(self._ways.lake, self._ways.folder(self._source)).get(self._stream)
        return [StreamState(self._source, self._stream, standing.end)] if standing else []

    def close(self) -> None:
        return
