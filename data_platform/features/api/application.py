"""The feature API: which address is answered by what, and what every answer has in common.
Not here: the health page (app.py), how tokens, requests and answers look in detail."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from polars.exceptions import PanicException
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.hosts import host_name, is_this_machine
from data_platform.core.http.problems import Answer, Problem, unknown
from data_platform.core.http.requests import Disconnected, header
from data_platform.core.http.tenants import Reach
from data_platform.features.api import access, openapi, requests, vectors
from data_platform.features.api.historical import ARROW, Historical
from data_platform.features.online.store import OnlineSnapshot, OnlineStore
from data_platform.features.online.vectors import feature_names
from data_platform.features.skew.served_log import ServedLog

logger = logging.getLogger(__name__)
PREFIX = "/v1/"
Handler = Callable[[Reach], Awaitable[Answer]]


class FeatureApi:
    """An ASGI application for every path under `/v1/`. Start and stop it with the server."""

    def __init__(
        self,
        tables: Mapping[str, type[Table]],
        store: OnlineStore,
        admission: access.Access,
        served: ServedLog,
        historical: Historical | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> None:
        self.tables, self.store, self.access, self.served, self.historical = (
            tables,
            store,
            admission,
            served,
            historical,
        )
        self._openapi = json.dumps(openapi.document(tables, historical is not None, beside or {})).encode()

    def start(self) -> None:
        self.served.start()

    def stop(self) -> None:
        self.served.stop()
        self.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        except Problem as problem:
            answer = problem.answer()
        except PlatformError as error:
            logger.error("%s", error)
            detail = "The features cannot be read at the moment."
            answer = Problem(503, "unavailable", detail, "Try again later.").answer()
        except (Exception, PanicException):  # the latter is Polars' own, and no Exception
            logger.exception("A request to the feature API failed.")
            answer = Problem(500, "internal-error", "This is a defect of the server; its log has the details.").answer()
        await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = requests.segments(scope)
        allowed, right, handler = self._route(path, scope, receive)
        # Who may not ask learns nothing, not even which addresses there are.
        here = is_this_machine(host_name(header(scope, b"host").decode("latin-1")))
        reach = self.access.admit(header(scope, b"authorization"), here, right)
        if handler is None:
            raise Problem(404, "no-such-address", "There is nothing at this address.", "See /v1/openapi.json.")
        if scope["method"] != allowed:
            raise Problem(405, "method-not-allowed", f"Only {allowed} works here.", headers={"allow": allowed})
        return await handler(reach)

    def _route(
        self, path: list[str], scope: Scope, receive: Receive
    ) -> tuple[str, access.Scope | None, Handler | None]:
        """Method, right and handler of an address."""
        read, historical = access.Scope.READ, access.Scope.HISTORICAL
        match path:
            case ["v1", "openapi.json"]:
                return "GET", None, self._document
            case ["v1", "features"]:
                return "GET", read, lambda reach: self._catalogue(scope, reach)
            case ["v1", "features", named] if named.endswith(":batch"):
                return "POST", read, lambda reach: self._batch(named.removesuffix(":batch"), scope, receive, reach)
            case ["v1", "features", named] if named.endswith(":historical") and self.historical:
                name = named.removesuffix(":historical")
                return "POST", historical, lambda reach: self._history(name, scope, receive, reach)
            case ["v1", "features", named, player] if player:
                return "GET", read, lambda reach: self._one(named, player, scope, reach)
        return "GET", None, None

    def _table(self, name: str, reach: Reach) -> type[Table]:
        visible = self._visible(reach)
        if name not in visible:
            raise unknown(404, "feature set", name, visible)
        return visible[name]

    def _visible(self, reach: Reach) -> Mapping[str, type[Table]]:
        """The feature sets that tell this tenant's vectors from others': whose the rest are, nobody can say."""
        if reach.tenant is None:
            return self.tables
        return {name: table for name, table in self.tables.items() if table.tenant in feature_names(table)}

    async def _look_up(self, name: str, players: list[str], reach: Reach) -> tuple[OnlineSnapshot, list[bytes | None]]:
        """Another tenant's vector is not found."""
        if self.store.in_process:
            found = self.store.look_up(name, players)
        else:
            found = await run_in_threadpool(self.store.look_up, name, players)
        if found is None:
            detail = f"{name} has not been put into the online store."
            raise Problem(404, "not-served", detail, "GET /v1/features lists what is served, under `online`.")
        snapshot, texts = found
        tenant = self.tables[name].tenant
        if reach.tenant is None or tenant is None:
            return found
        return snapshot, [vectors.own(snapshot, text, tenant, reach.tenant) for text in texts]

    async def _document(self, _reach: Reach) -> Answer:
        return Answer(self._openapi)

    async def _catalogue(self, scope: Scope, reach: Reach) -> Answer:
        requests.parameters(scope, ())
        now = dt.datetime.now(dt.UTC)
        sets = [await self._described(name, table, now) for name, table in self._visible(reach).items()]
        return Answer(json.dumps({"feature_sets": sets}).encode())

    async def _described(self, name: str, table: type[Table], now: dt.datetime) -> dict[str, Any]:
        if self.store.in_process:
            snapshot = self.store.current(name)
        else:
            snapshot = await run_in_threadpool(self.store.current, name)
        document = openapi.described(table)
        if snapshot is None:
            return document | {"online": None}
        provenance = json.loads(f"{{{vectors.provenance(table, snapshot, now)}}}")
        return document | {"online": provenance | {"players": snapshot.rows}}

    async def _one(self, name: str, player: str, scope: Scope, reach: Reach) -> Answer:
        table = self._table(name, reach)
        named = requests.listed(requests.parameters(scope, ("features",)).get("features"))
        names = requests.chosen_features(table, named)
        snapshot, (text,) = await self._look_up(name, [requests.entity_id(player)], reach)
        if text is None:
            detail = f"{name} of {snapshot.snapshot_date} has no such player."
            raise Problem(404, "unknown-player", detail, snapshot_date=snapshot.snapshot_date.isoformat())
        features = vectors.features_object(snapshot, names or snapshot.features, text)
        if self.served.chosen():
            sent = json.loads(features)
            self.served.offer(snapshot, list(sent), [player], [json.dumps(list(sent.values())).encode()])
        return Answer(vectors.one(table, snapshot, player, features, dt.datetime.now(dt.UTC)))

    async def _batch(self, name: str, scope: Scope, receive: Receive, reach: Reach) -> Answer:
        table = self._table(name, reach)
        requests.parameters(scope, ())
        players, chosen = await requests.batch_request(scope, receive, table)
        snapshot, texts = await self._look_up(name, players, reach)
        names = chosen or snapshot.features
        texts = vectors.picked(snapshot, names, texts)
        if self.served.chosen():
            self.served.offer(snapshot, names, players, texts)
        return Answer(vectors.many(table, snapshot, players, names, texts, dt.datetime.now(dt.UTC)))

    async def _history(self, name: str, scope: Scope, receive: Receive, reach: Reach) -> Answer:
        table = self._table(name, reach)
        assert self.historical is not None
        if reach.tenant is not None:
            raise Problem(403, "operators-alone", "Features of the past are for tokens without a tenant.")
        return Answer(await self.historical.answer(table, scope, receive), media_type=ARROW)
