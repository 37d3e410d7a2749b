"""The query API: which address is answered by what, for whom, and what every answer has in common.
Not here: reading requests (questions), the answers (answering, export), who else answers (web/app)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.exceptions import PanicException
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.types import Receive, Scope, Send

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.queries import Query, Statement
from data_platform.core.errors import PlatformError
from data_platform.core.http.endpoints import Endpoint
from data_platform.core.http.problems import Answer, Problem
from data_platform.core.http.requests import Disconnected, header
from data_platform.core.http.tenants import Reach, whole_tenants_alone
from data_platform.core.lake.store import Lake
from data_platform.web.query import openapi
from data_platform.web.query.access import Access
from data_platform.web.query.answering import answer
from data_platform.web.query.export import STREAMED, streamed
from data_platform.web.query.formats import chosen_format, encoded
from data_platform.web.query.posted import posted
from data_platform.web.query.questions import FORMATS, asked, asked_month, asked_rows
from data_platform.web.query.tables import TenantTables

log = logging.getLogger(__name__)
EXPORTS_AT_ONCE = 4
RETRY_SECONDS = "5"


class QueryApi:
    """An ASGI application for the addresses of the declared queries, and of what domains answer themselves."""

    def __init__(
        self, queries: Sequence[Query], lake: Lake, access: Access, endpoints: Sequence[Endpoint] = ()
    ) -> None:
        self.queries = {query.name: query for query in queries}
        self._handlers = {endpoint.name: endpoint.handler(lake) for endpoint in endpoints}
        self._by_project = {endpoint.name for endpoint in endpoints if endpoint.by_project}
        self.access, self.tables = access, TenantTables(lake)
        self._exports = 0
        self._document = json.dumps(openapi.document(queries, endpoints)).encode()

    def answers(self, scope: Scope) -> bool:
        """Whether a request is for this API; the OpenAPI document is, for those whose token is of its file."""
        parts = scope["path"].split("/")
        if parts[1:2] != ["v1"]:
            return False
        if parts[2] in self.queries or parts[2] in self._handlers:
            return True
        return parts[2:] == ["openapi.json"] and self.access.knows(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reach = self.access.admit(scope)
            await self._route(scope, receive, send, reach)
        except Disconnected:
            return
        except Problem as problem:
            await problem.answer().send(send)
        except PlatformError as error:
            log.error("%s", error)
            detail = "The tables cannot be read at the moment."
            await Problem(503, "unavailable", detail, "Try again later.").answer().send(send)
        except BrokenOff:
            raise
        except (Exception, PanicException):  # the latter is Polars' own, and no Exception
            log.exception("A request to the query API failed.")
            defect = Problem(500, "internal-error", "This is a defect of the server; its log has the details.")
            await defect.answer().send(send)

    async def _route(self, scope: Scope, receive: Receive, send: Send, reach: Reach) -> None:
        path = scope["path"].split("/")[2:]
        handler = self._handlers.get(path[0])
        allowed = "POST" if handler else "GET"
        if scope["method"] != allowed:
            raise Problem(405, "method-not-allowed", f"Only {allowed} works here.", headers={"allow": allowed})
        today = today_utc()
        match path:
            case [_, *deeper] if handler:
                if deeper:
                    raise _nothing_here()
                if reach.projects is not None and path[0] not in self._by_project:
                    raise whole_tenants_alone()
                found = await posted(handler, scope, receive, reach)
                await found.send(send)
            case ["openapi.json"]:
                await Answer(self._document).send(send)
            case [name]:
                found = await run_in_threadpool(self._answered, self.queries[name], scope, reach, today)
                await found.send(send)
            case [name, "export"]:
                exported = await run_in_threadpool(self._exported, self.queries[name], scope, reach, today)
                await self._stream(exported, receive, send)
            case [name, stated] if statement := _statement(self.queries[name], stated):
                made = await run_in_threadpool(self._stated, self.queries[name], statement, scope, reach, today)
                await self._stream(made, receive, send)
            case _:
                raise _nothing_here()

    def _answered(self, query: Query, scope: Scope, reach: Reach, today: dt.date) -> Answer:
        question, named = asked(query, scope, reach, today)
        form = chosen_format(named, header(scope, b"accept"), tuple(FORMATS))
        found = answer(question, self.tables, reach, today)
        headers = {"etag": _etag(scope, reach, form, found.versions), "x-as-of": _as_of(found.versions)}
        headers["vary"] = "authorization, accept"
        if headers["etag"].encode() in [one.strip() for one in header(scope, b"if-none-match").split(b",")]:
            return Answer(b"", 304, FORMATS[form], headers)
        envelope = {
            "query": query.name,
            "from": question.period.first.isoformat(),
            "to": question.period.last.isoformat(),
            "as_of": found.versions,
            "truncated": found.truncated,
        }
        if found.truncated:
            headers["x-truncated"] = "true"
        return Answer(encoded(found.rows, form, envelope), 200, FORMATS[form], headers)

    def _exported(self, query: Query, scope: Scope, reach: Reach, today: dt.date) -> _Export:
        question, named = asked_rows(query, scope, reach, today)
        form = chosen_format(named, header(scope, b"accept"), tuple(STREAMED))
        rows = self.tables.scan(query.rows, reach, question.period, question.filters)
        name = f"{query.name}-{question.period.first}-{question.period.last}.{form}"
        return _Export(rows, form, name, {query.rows.key: self.tables.version(query.rows)})

    def _stated(self, query: Query, statement: Statement, scope: Scope, reach: Reach, today: dt.date) -> _Export:
        question, named = asked_month(query, scope, reach, today)
        form = chosen_format(named, header(scope, b"accept"), tuple(STREAMED))
        period = question.period
        parts = [self.tables.scan(table, reach, None, question.filters) for table in statement.tables]
        versions = {table.key: self.tables.version(table) for table in statement.tables}
        name = f"{statement.name}-{period.first:%Y-%m}.{form}"
        return _Export(statement.rows(parts, period.first), form, name, versions)

    async def _stream(self, export: _Export, receive: Receive, send: Send) -> None:
        if self._exports >= EXPORTS_AT_ONCE:
            detail = f"{EXPORTS_AT_ONCE} exports are being written."
            raise Problem(503, "busy", detail, f"Retry after {RETRY_SECONDS} s.", {"retry-after": RETRY_SECONDS})
        self._exports += 1
        headers = {
            "x-as-of": _as_of(export.versions),
            "content-disposition": f'attachment; filename="{export.name}"',
        }
        try:
            parts = await run_in_threadpool(streamed, export.rows, export.form)
            await stream(parts, STREAMED[export.form], headers, receive, send)
        finally:
            self._exports -= 1


@dataclass(frozen=True)
class _Export:
    """Rows that are sent as a stream, and what is said of them."""

    rows: pl.LazyFrame
    form: str
    name: str
    versions: dict[str, int | None]


def _statement(query: Query, name: str) -> Statement | None:
    return next((one for one in query.statements if one.name == name), None)


def _nothing_here() -> Problem:
    return Problem(404, "no-such-address", "There is nothing at this address.", "See /v1/openapi.json.")


class BrokenOff(Exception):
    """An answer that had begun when it failed: the connection is cut, so that nobody takes it for whole."""


async def stream(
    parts: Iterator[bytes], media_type: str, headers: dict[str, str], receive: Receive, send: Send
) -> None:
    """Send parts as they are made, no faster than the client takes them, until it goes. Raises BrokenOff."""
    sent = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
    sent += [(b"x-content-type-options", b"nosniff"), *((k.encode(), v.encode()) for k, v in headers.items())]
    gone = asyncio.create_task(_gone(receive))
    try:
        first = await run_in_threadpool(next, parts, b"")
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        try:
            async for part in iterate_in_threadpool(parts):
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except (Exception, PanicException) as error:
            log.exception("An export broke off.")
            raise BrokenOff from error
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _as_of(versions: dict[str, int | None]) -> str:
    return ", ".join(f"{key}@{'none' if version is None else version}" for key, version in versions.items())


def _etag(scope: Scope, reach: Reach, form: str, versions: dict[str, int | None]) -> str:
    """Of what the answer is made of: the request, whose it is, and the commits it was read from."""
    today = today_utc()  # a period without an end goes on to today
    asked = scope["path"], scope["query_string"].decode("latin-1")
    of: list[Any] = [*asked, reach.tenant, reach.projects, form, versions, str(today)]
    return f'"{hashlib.blake2b(json.dumps(of).encode(), digest_size=12).hexdigest()}"'
