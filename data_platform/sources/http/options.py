"""What a section `[http.NAME]` of the sources file may say of a collector. Not here: what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from data_platform.core.errors import PlatformError
from data_platform.sources.connectors import checked, sections

KIND = "http"
NAME = "collector"
"""Of a collector that no section configures."""


class BatchOptions(BaseModel):
    """How a message of an analytics SDK (`/v1/batch`) becomes an event: for each field the places to look for its
    value, the first that has one counts; dots lead into objects."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    types: frozenset[str] = frozenset({"track", "identify", "page", "screen"})
    fields: Mapping[str, tuple[str, ...]] = {
        "event_id": ("messageId",),
        "player_id": ("userId", "anonymousId"),
        "event_type": ("event", "type"),
        "event_data": ("properties", "traits"),
        "session_id": ("context.sessionId", "properties.session_id"),
        "campaign_id": ("properties.campaign_id",),
        "timestamp": ("timestamp", "originalTimestamp"),
        "client_timestamp": ("originalTimestamp",),
        "device_info": ("context.device",),
    }


class Options(BaseModel):
    """All of a section, with what holds where nothing is said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = "player_events"
    """Landing source of events whose address names none, and of `/v1/batch`."""
    seal_seconds: float = Field(default=0.2, ge=0.05, le=60)
    """From an event to its segment, at most: ingestion and the live view see it then. Under steady load each is a file,
    and a row of the ledger."""
    batch: BatchOptions = Field(default_factory=BatchOptions)

    @staticmethod
    def of(title: str, options: Mapping[str, Any]) -> Options:
        """Raises PlatformError naming section and field."""
        return checked(Options, title, options)


def stream_of(name: str) -> str:
    """The stream that a collector of this name writes, in each landing folder."""
    return f"{KIND}:{name}"


def chosen_collector(path: Path | None, name: str | None) -> tuple[str, Options]:
    """(name, options) of the collector to run: the one that the sources file configures, or the one of this name. A
    name without a section has the defaults. Raises PlatformError when there are several and none is named."""
    found = {one.name: one for one in sections(path) if one.kind == KIND}
    if name is None and len(found) > 1:
        raise PlatformError(f"{path} has {len(found)} collectors.", f"Choose one with --name: {', '.join(found)}.")
    chosen = name or next(iter(found), NAME)
    return chosen, Options.of(f"{KIND}.{chosen}", found[chosen].options if chosen in found else {})
