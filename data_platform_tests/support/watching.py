"""A home that is watched for alerts: a channel that is a real HTTP server, routes to it, verdicts to find.
Not here: any assertion about the platform."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Severity, Table
from data_platform.core.discovery import landing_sources
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import Status, Verdict
from data_platform.domains.gameplay.contracts.activity import PlayerEngagementMetrics
from data_platform.observability.alerts.delivery import read_routes
from data_platform.observability.alerts.messages import Message
from data_platform.observability.alerts.problems import look
from data_platform.observability.alerts.sensor import watch
from data_platform.observability.alerts.store import AlertStore
from data_platform_tests.support.homes import Home

SECRET = "tOkEn-123/sEcReT"
MINUTE = dt.timedelta(minutes=1)
HOUR = 60 * MINUTE


@dataclass
class Inbox:
    """A channel: an HTTP server that keeps what is posted to it, and can be out of order."""

    port: int = 0
    posts: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200

    @property
    def url(self) -> str:
        return f"json://user:{SECRET.replace('/', '')}@127.0.0.1:{self.port}/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [post["title"] for post in self.posts]


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    found = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.status == 200:
                found.posts.append(json.loads(body))
                found.paths.append(self.path)
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@dataclass
class Watch:
    """The watch of a home, minute by minute."""

    home: Home
    routes: Path | None = None
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    logged: list[str] = field(default_factory=list)

    @property
    def store(self) -> AlertStore:
        return AlertStore(self.home.path)

    def look(self, after: dt.timedelta = MINUTE) -> list[Message]:
        self.now += after
        routes = read_routes(self.routes)
        return watch(self.home.lake, self.instance, landing_sources(), self.store, routes, self.now, self.logged.append)

    def problems(self) -> Mapping[str, Any]:
        return {p.key: p for p in look(self.home.lake, self.instance, landing_sources(), self.now).problems}


def routes_file(home: Home, *routes: str) -> Path:
    file = home.path / "alerts.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(routes))
    return file


def route(url: str, at_least: str = "warning", owner: str = "*", name: str = "on call") -> str:
    return f'[[route]]\nname = "{name}"\nowner = "{owner}"\nat_least = "{at_least}"\nurls = ["{url}"]\n'


def verdict(rule: str = "score_at_least_0", day: str = "2026-03-01", **changes: Any) -> Verdict:
    given: dict[str, Any] = {"severity": Severity.ERROR, "failed_rows": 0, "rows": 50, "status": Status.PASSED}
    return Verdict(rule, partition=day, **(given | changes))


def failing(rule: str = "score_at_least_0", day: str = "2026-03-01", **changes: Any) -> Verdict:
    keys = tuple({"player_id": f"p-{n}"} for n in range(5))
    return verdict(rule, day, **({"failed_rows": 12, "status": Status.FAILED, "sample": keys} | changes))


def judge(watched: Watch, *verdicts: Verdict, table: type[Table] = PlayerEngagementMetrics, run_id: str = "r") -> None:
    verdict_ledger.record(watched.home.lake, table, [("contract", one) for one in verdicts], run_id)
