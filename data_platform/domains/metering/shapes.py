"""Files of usage that other tools write → lines of `llm_usage`, each entry with its format and payload.
Not here: what a payload says (adapters), how a file lands (sources/files/shapes)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from data_platform.domains.metering.adapters import adapter_module, formats
from data_platform.domains.metering.contracts.usage import Caller
from data_platform.domains.metering.sources import LLM_USAGE
from data_platform.domains.metering.spans import span_of
from data_platform.domains.metering.transforms.read_payloads import report_in
from data_platform.domains.metering.usage_report import NO_MODEL_CALL, SPAN_AROUND_CALLS, Refused, UsageReport, moment
from data_platform.sources.files.shapes import LeftOut, Line, Shape

NO_REPORTS = (NO_MODEL_CALL, SPAN_AROUND_CALLS)
"""What files of traces hold beside calls. What reports a call and cannot be read does land, and is rejected with its
reason by the cleaning."""
TIMES = ("startTime", "date", "created_at", "createTime", "created")


def _entries_of(form: str) -> Any:
    module = adapter_module(form)
    own = getattr(module, "entries", None)
    return own or _listed


def _listed(document: Any) -> Iterator[Any]:
    yield from document if isinstance(document, list) else [document]


def _line(form: str, entry: Any) -> Line:
    """The line of one entry: what dates and names it; the payload says the rest."""
    if not isinstance(entry, Mapping):
        raise LeftOut("not_an_object")
    payload = json.dumps(entry, sort_keys=True)
    report = UsageReport({})
    try:
        report = report_in(form, payload)
    except Refused as refusal:
        if refusal.reason in NO_REPORTS:
            raise LeftOut(refusal.reason) from None
    began = report.started_at or _began(entry)
    return {
        "usage_id": report.report_id or hashlib.blake2b(payload.encode(), digest_size=16).hexdigest(),
        **{name: getattr(report, name) for name in ("tenant_id", *Caller.columns)},
        "started_at": began and began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "format": form,
        "payload": entry,
    }


def _began(entry: Mapping[str, Any]) -> dt.datetime | None:
    return span_of(entry).begin or next(filter(None, (moment(entry.get(name)) for name in TIMES)), None)


def _shape(form: str) -> Shape:
    return Shape(form, LLM_USAGE, _entries_of(form), lambda entry: _line(form, entry))


SHAPES = tuple(_shape(form) for form in formats())
