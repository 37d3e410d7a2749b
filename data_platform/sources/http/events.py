"""What of an event can be judged before it is received, cheaply: the rest is ingestion's, which judges all of it again.
Not here: reading bodies (bodies), tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.core.http.problems import Problem
from data_platform.sources.grammar import MOMENT
from data_platform.sources.http.bodies import Event, NoEvent
from data_platform.sources.landing_source import LandingSource

TENANT = "tenant_id"
MOST_EVENTS = 20_000
"""Of one request; 5 MB of them have 250 bytes each."""
_moment = re.compile(MOMENT, re.ASCII)


@dataclass(frozen=True)
class Judged:
    """Lines to be received, each with its line break, and what is wrong with the others."""

    lines: bytes
    events: int
    rejected: list[tuple[int, str]]
    """(index in the request, reason), the reasons being those of rejected lines."""


class Rules:
    """What the events of a landing source must hold: an object, with its required fields."""

    def __init__(self, source: LandingSource) -> None:
        required = [field for field in source.fields() if not field.nullable]
        self._moments = [field.name for field in required if field.dtype == UTC_MICROSECONDS]
        self._texts = [field.name for field in required if field.dtype == pl.String() and not field.is_json]
        of_other_types = {field.name for field in required} - {*self._moments, *self._texts}
        self._others = sorted(of_other_types)

    def reason(self, event: Any, tenant: str | None) -> str | None:
        """Why an event is refused, or None."""
        if type(event) is not dict:
            return event.reason if isinstance(event, NoEvent) else "not_an_object"
        for name in self._texts:
            value = event.get(name)
            if type(value) is not str:
                return f"missing_{name}" if value is None else f"wrong_type_{name}"
            if not value or value.isspace():
                return f"missing_{name}"
        for name in self._moments:
            value = event.get(name)
            if type(value) is not str or not _moment.fullmatch(value):
                return f"missing_{name}" if value is None else f"wrong_type_{name}"
        for name in self._others:
            if event.get(name) is None:
                return f"missing_{name}"
        return None if tenant is None or event.get(TENANT, tenant) == tenant else "another_tenant"

    def judge(self, events: Iterable[Event], tenant: str | None) -> Judged:
        """Each by itself: one that is wrong holds back no other. An event without a tenant gets the producer's."""
        lines: list[str] = []
        rejected: list[tuple[int, str]] = []
        for index, (text, event) in enumerate(events):
            if index == MOST_EVENTS:
                raise Problem(413, "too-many-events", f"More than {MOST_EVENTS:,} events.", "Send them in parts.")
            reason = self.reason(event, tenant)
            if reason:
                rejected.append((index, reason))
            elif tenant is None or TENANT in event:
                lines.append(text)
            else:
                lines.append(f'{text[: text.rindex("}")]},"{TENANT}":{json.dumps(tenant)}}}')
        lines.append("")
        return Judged("\n".join(lines).encode(), len(lines) - 1, rejected)
