"""Payloads of usage in other shapes than ours, read as the platform reads them; streams framed as providers frame them.
Not here: any assertion but of what is refused."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import pytest

from data_platform.domains.metering.transforms.read_payloads import report_in
from data_platform.domains.metering.usage_report import Refused, UsageReport

Body = dict[str, Any]


def read(form: str, payload: Body) -> UsageReport:
    return report_in(form, json.dumps(payload))


def tokens(form: str, payload: Body) -> Body:
    """The classes that are not zero."""
    return {name: count for name, count in read(form, payload).tokens.items() if count}


def reason(form: str, payload: Body) -> str:
    with pytest.raises(Refused) as refused:
        read(form, payload)
    return refused.value.reason


def sse(*events: Body, end: str = "\n\n") -> Body:
    return {
        "stream": "".join(f"event: x{end[:1]}data: {json.dumps(event)}{end}" for event in events) + "data: [DONE]\n\n"
    }


def event_stream(*events: Body) -> Body:
    """As AWS frames them."""
    content = b""
    for event in events:
        payload = json.dumps(event).encode()
        prelude = struct.pack(">II", 16 + len(payload), 0)
        message = prelude + struct.pack(">I", zlib.crc32(prelude)) + payload
        content += message + struct.pack(">I", zlib.crc32(message))
    return {"base64": base64.b64encode(content).decode()}


def chunk(event: Body) -> Body:
    return {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}
