"""Addresses that a domain answers itself: what is posted is read with bounds, what comes back is JSON.
Not here: the answers (a domain's `endpoints`), who may ask (access)."""

from __future__ import annotations

import json

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope

from data_platform.core.http.endpoints import Handler
from data_platform.core.http.problems import JSON, Answer, Problem
from data_platform.core.http.requests import read_body
from data_platform.core.http.tenants import Reach

MOST_BYTES = 256 * 1024


async def posted(handler: Handler, scope: Scope, receive: Receive, reach: Reach) -> Answer:
    """The answer to a request. Raises Problem, and Disconnected for a client that is gone."""
    if scope["query_string"]:
        raise Problem(422, "unknown-parameter", "This address has no parameters.", "Put them into the body.")
    body = await read_body(scope, receive, JSON, MOST_BYTES)
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "malformed-json", "The body is not JSON.") from None
    if not isinstance(asked, dict):
        raise Problem(422, "malformed-request", "The body must be a JSON object.")
    found = await run_in_threadpool(handler, asked, reach)
    return Answer(json.dumps(found).encode(), headers={"vary": "authorization"})
