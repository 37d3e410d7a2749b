"""Spans of traces, and events that tell of them, as they are exported → one shape: OTLP's JSON of traces and of logs,
what SDKs print (Python, JavaScript), bare attributes.
Not here: what attributes mean (adapters otel, openinference, vercel)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data_platform.domains.metering.usage_report import SEVERAL_CALLS, Refused, first_text, moment, part

EXPORTED = ("resourceSpans", "resourceLogs")
SCOPES = ("scopeSpans", "scopeLogs", "instrumentationLibrarySpans")
ERROR_CODES = (2, "2", "ERROR", "STATUS_CODE_ERROR")


@dataclass(frozen=True)
class Span:
    """A span: its attributes by name, those of its resource below them."""

    attributes: Mapping[str, Any]
    name: str | None
    """Of a span, or of an event."""
    span_id: str | None
    trace_id: str | None
    begin: dt.datetime | None
    end: dt.datetime | None
    status: str

    def texts(self, *names: str) -> str | None:
        """The first of these attributes that is a text."""
        return first_text(self.attributes.get(name) for name in names)


def span_of(payload: Mapping[str, Any]) -> Span:
    """A span of any of these shapes. What is no span at all is one of attributes that nobody knows."""
    own = payload.get("attributes")
    context = part(payload, "spanContext") or part(payload, "context")
    attributes = _attributes(own) if own is not None else payload
    around = {**_attributes(part(payload, "resource").get("attributes")), **attributes}
    code = part(payload, "status").get("code", part(payload, "status").get("status_code"))
    failed = first_text([around.get("error.type")]) or ("error" if code in ERROR_CODES else None)
    return Span(
        around,
        first_text([payload.get("name"), payload.get("eventName"), around.get("event.name")]),
        first_text([payload.get("spanId"), context.get("spanId"), context.get("span_id")]),
        first_text([payload.get("traceId"), context.get("traceId"), context.get("trace_id")]),
        _time(payload, "startTimeUnixNano", "startTime", "start_time", "timeUnixNano", "observedTimeUnixNano"),
        _time(payload, "endTimeUnixNano", "endTime", "end_time"),
        failed or "ok",
    )


def the_span_in(payload: Mapping[str, Any]) -> Span:
    """Of a payload that may be all that was exported at once. Raises Refused for several: each is a report."""
    if not any(name in payload for name in EXPORTED):
        return span_of(payload)
    exported = list(spans_in(payload))
    if len(exported) > 1:
        raise Refused(SEVERAL_CALLS)
    return span_of(exported[0] if exported else {})


def spans_in(document: Any) -> Iterator[Mapping[str, Any]]:
    """Every span or event of a file: of OTLP's nested lists with its resource, of a list, of lists by name."""
    if isinstance(document, list):
        for one in document:
            yield from spans_in(one)
    elif isinstance(document, Mapping):
        exported = [document[name] for name in EXPORTED if isinstance(document.get(name), list)]
        if exported:
            for resource in exported[0]:
                yield from _of_resource(part(resource))
        elif document and all(isinstance(value, list) for value in document.values()):
            for listed in document.values():
                yield from spans_in(listed)
        else:
            yield document


def _of_resource(exported: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    scopes: list[Any] = next((exported[name] for name in SCOPES if isinstance(exported.get(name), list)), [])
    for scope in scopes:
        for span in part(scope).get("spans") or part(scope).get("logRecords") or []:
            yield {**part(span), "resource": part(exported, "resource")}


def _attributes(stated: Any) -> Mapping[str, Any]:
    """By name, from an object or from OTLP's list of keys and typed values."""
    if isinstance(stated, Mapping):
        return stated
    listed = [part(one) for one in stated] if isinstance(stated, list) else []
    return {str(one.get("key")): _value(part(one, "value")) for one in listed}


def _value(typed: Mapping[str, Any]) -> Any:
    """OTLP writes whole numbers of 64 bits as text."""
    for kind, value in typed.items():
        if kind == "intValue":
            return int(value) if str(value).lstrip("-").isdecimal() else value
        if kind == "arrayValue":
            return [_value(part(one)) for one in part(value).get("values") or []]
        return value
    return None


def _time(payload: Mapping[str, Any], *names: str) -> dt.datetime | None:
    """Nanoseconds since 1970, `[seconds, nanoseconds]`, or a time as text."""
    for name in names:
        value = payload.get(name)
        if name.endswith("UnixNano") and (nanoseconds := str(value)).isdecimal():
            return moment(int(nanoseconds) // 1000 / 1e6)
        if isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) for one in value):
            found = moment(value[0])
            return found + dt.timedelta(microseconds=value[1] // 1000) if found else None
        if value is not None and (found := moment(value)):
            return found
    return None
