"""A server that speaks Stripe's list API as it is documented, with whatever goes wrong on the way injected. Its own
table of objects is the oracle. Not here: any assertion, anything of the platform."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

KEY = "sk_test_of_the_stand_in"
Row = dict[str, Any]
PREFIXES = {"charges": "ch", "refunds": "re", "payouts": "po", "customers": "cus", "subscriptions": "sub"}


@dataclass
class Faults:
    """Share of the answers that something happens to."""

    limited: float = 0.0
    """429 with a fractional Retry-After."""
    broken: float = 0.0
    """500 with a page of HTML."""
    torn: float = 0.0
    """A body that ends too early, in half of the cases without saying how long it was to be."""
    slow: float = 0.0
    repeated: float = 0.0
    """An object twice on a page."""
    shuffled: float = 0.0
    """A page in another order."""
    expired: float = 0.0
    """A cursor that is not known any more."""
    late: float = 0.0
    """After a page of charges, an object appears that was made in the last minutes."""
    slow_seconds: float = 1.0


@dataclass
class StripeServer:
    """Objects by kind and id, and events of what happened to them."""

    faults: Faults = field(default_factory=Faults)
    seed: int = 1
    objects: dict[str, dict[str, Row]] = field(default_factory=lambda: {kind: {} for kind in (*PREFIXES, "events")})
    transactions: dict[str, list[Row]] = field(default_factory=dict)
    """Balance transactions by payout."""
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    queries: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._number = 0

    # ------------------------------------------------------------------ what happens at Stripe
    def make(self, kind: str, created: int, told: bool = True, **fields: Any) -> Row:
        """A new object; `told=False`: without an event, as of one whose event is long forgotten."""
        made = {"id": self._id(PREFIXES[kind]), "object": kind.removesuffix("s"), "created": created, **fields}
        self.objects[kind][made["id"]] = made
        if told:
            self.tell(f"{made['object']}.created" if kind != "charges" else "charge.succeeded", made, created)
        return made

    def charge(self, created: int, **fields: Any) -> Row:
        paid = {
            "amount": self.random.randrange(99, 99_999),
            "currency": "usd",
            "status": "succeeded",
            "disputed": False,
        }
        return self.make("charges", created, **paid | {"metadata": {"order_id": f"o-{created}"}} | fields)

    def change(self, kind: str, object_id: str, event: str, at: int, **fields: Any) -> None:
        self.objects[kind][object_id] = changed = {**self.objects[kind][object_id], **fields}
        self.tell(event, changed, at)

    def tell(self, event: str, about: Mapping[str, Any], at: int) -> Row:
        told: Row = {"id": self._id("evt"), "object": "event", "created": at, "type": event}
        told["data"] = {"object": dict(about)}
        self.objects["events"][told["id"]] = told
        return told

    def _id(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}_{self._number:08d}"

    def shown(self, kind: str) -> dict[str, Row]:
        """Every object as the platform is to hold it: refunds with their charge, payouts with what they pay out."""
        return {object_id: self._expanded(kind, one, "") for object_id, one in self.objects[kind].items()}

    def _expanded(self, kind: str, one: Row, asked: str | None) -> Row:
        if asked is None:
            return one
        if kind == "refunds":
            return {**one, "charge": self.objects["charges"].get(one["charge"], one["charge"])}
        if kind == "payouts" and asked == "" and one.get("automatic", True):
            return {**one, "balance_transactions": {"object": "list", "data": self.transactions.get(one["id"], [])}}
        return one

    # ------------------------------------------------------------------------- the API
    @property
    def app(self) -> ASGIApp:
        return Starlette(
            routes=[
                Route("/v1/balance_transactions", self._balance),
                Route("/v1/{kind}", self._list),
                Route("/v1/{kind}/{object_id}", self._one),
            ]
        )

    async def _balance(self, request: Request) -> ASGIApp:
        payout = self.objects["payouts"][request.query_params["payout"]]
        if not payout.get("automatic", True):
            return refused(400, "Balance transaction history can only be filtered on automatic transfers, not manual.")
        return await self._page(request, self.transactions.get(payout["id"], []), "balance_transactions")

    async def _one(self, request: Request) -> ASGIApp:
        kind, object_id = request.path_params["kind"], request.path_params["object_id"]
        if (fault := await self._fault(request)) is not None:
            return fault
        if object_id not in self.objects[kind]:
            return refused(404, "No such object", code="resource_missing", param="id")
        expand = request.query_params.get("expand[]")
        return self._answer(self._expanded(kind, self.objects[kind][object_id], expand))

    async def _list(self, request: Request) -> ASGIApp:
        kind, asked = request.path_params["kind"], request.query_params
        rows = [one for one in self.objects[kind].values() if _in_window(one, asked)]
        if kind == "events" and (types := asked.getlist("types[]")):
            if len(types) > 20:
                return refused(400, "types: at most 20")
            rows = [one for one in rows if one["type"] in types]
        rows.sort(key=_newest_first, reverse=True)
        return await self._page(request, rows, kind)

    async def _page(self, request: Request, rows: list[Row], kind: str) -> ASGIApp:
        if (fault := await self._fault(request)) is not None:
            return fault
        asked = request.query_params
        limit = int(asked.get("limit", 10))
        if not 1 <= limit <= 100:
            return refused(400, "limit", param="limit")
        after = asked.get("starting_after")
        if after is not None:
            known = {one["id"]: number for number, one in enumerate(rows) if "id" in one}
            if after not in known or self._happens(self.faults.expired):
                return refused(400, f"No such object: {after}", code="resource_missing", param="starting_after")
            rows = rows[known[after] + 1 :]
        page = [self._expanded(kind, one, asked.get("expand[]")) for one in rows[:limit]]
        if page and self._happens(self.faults.repeated):
            page.insert(self.random.randrange(len(page)), self.random.choice(page))
        if self._happens(self.faults.shuffled):
            self.random.shuffle(page)
        if kind == "charges" and self._happens(self.faults.late):
            self.charge(int(time.time()) - self.random.randrange(30, 600))
        return self._answer({"object": "list", "url": request.url.path, "has_more": len(rows) > limit, "data": page})

    async def _fault(self, request: Request) -> ASGIApp | None:
        """What is answered instead, if something is to go wrong."""
        self.asked[request.url.path] += 1
        self.queries.append((request.url.path, dict(request.query_params)))
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return refused(401, f"Invalid API Key provided: {request.headers.get('authorization')}")
        if self._happens(self.faults.limited):
            self.answered["429"] += 1
            wait = self.random.choice(["0.05", "0.1"])
            return refused(429, "Too many requests", headers={"Retry-After": wait})
        if self._happens(self.faults.broken):
            self.answered["500"] += 1
            return Response("<html>Internal Server Error</html>", 500)
        if self._happens(self.faults.slow):
            self.answered["slow"] += 1
            await asyncio.sleep(self.faults.slow_seconds)
        return None

    def _answer(self, told: Row) -> ASGIApp:
        body = json.dumps(told, indent=2).encode()  # Stripe's bodies are of many lines
        if self._happens(self.faults.torn):
            self.answered["torn"] += 1
            return Torn(body, says_length=self.random.random() < 0.5)
        self.answered["200"] += 1
        return Response(body, media_type="application/json")

    def _happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share


class Torn:
    """An answer whose body ends in the middle."""

    def __init__(self, body: bytes, says_length: bool) -> None:
        self.body, self.says_length = body, says_length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", str(len(self.body)).encode())] if self.says_length else []
        headers = [(b"content-type", b"application/json"), *length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": False})


def refused(status: int, message: str, headers: Mapping[str, str] | None = None, **more: str) -> Response:
    told = {"error": {"type": "invalid_request_error", "message": message, **more}}
    return Response(json.dumps(told), status, {"Request-Id": "req_1", **(headers or {})}, "application/json")


def _newest_first(one: Row) -> tuple[int, str]:
    return (one["created"] if isinstance(one["created"], int) else 0, str(one.get("id")))


def _in_window(one: Row, asked: Mapping[str, str]) -> bool:
    """Oddly dated objects are in every window: what an API shows is not for us to choose."""
    created = one["created"]
    if not isinstance(created, int):
        return True
    return int(asked.get("created[gte]", 0)) <= created < int(asked.get("created[lt]", 1 << 40))
