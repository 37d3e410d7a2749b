"""A home with something broken in it, the health page over it on a real server, and a page as a browser sees it.
Not here: any assertion about the page."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

import httpx
import polars as pl
from pydantic import SecretStr

from data_platform.core.contract.table import Severity, Table
from data_platform.core.discovery import landing_sources
from data_platform.core.lake.store import Lake
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import Status, Verdict
from data_platform.domains.gameplay.contracts.activity import PlayerSessionDays, PlayerSessions
from data_platform.observability.health.facts import Collector
from data_platform.web.app import application
from data_platform.web.query.application import QueryApi
from data_platform_tests.support.homes import Home, all_tables
from data_platform_tests.support.http_server import served

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202egnp.exe\u2066",
    "'\" onmouseover='alert(1)",
    "\x00\x1b[31m\x07",
    "{{ 7 * 7 }}",
    "</bdi></td>",
    "\U000e0041",
    "Z\u0300\u0301\u0302\u0303\u0304",
    "x" * 5_000,
)
TODAY = dt.datetime.now(dt.UTC).date()
DAYS = [TODAY - dt.timedelta(back) for back in range(4, -1, -1)]


def day_of_sessions(day: dt.date, rows: int = 2) -> pl.DataFrame:
    started = dt.datetime.combine(day, dt.time(10), dt.UTC)
    return pl.DataFrame(
        [
            {
                "session_date": day, "player_id": f"p-{n}", "session_id": f"s-{n}", "is_derived": False,
                "started_at": started, "ended_at": started, "duration_minutes": 0.0, "events": 1,
            }
            for n in range(rows)
        ],
        schema=PlayerSessions.schema(),
    )  # fmt: skip


def session_parts(day: dt.date) -> pl.DataFrame:
    started = dt.datetime.combine(day, dt.time(10), dt.UTC)
    row = {
        "activity_date": day, "player_id": "p-0", "session_id": "s-0", "is_derived": False, "started_at": started,
        "ended_at": started, "events": 1,
    }  # fmt: skip
    return pl.DataFrame([row], schema=PlayerSessionDays.schema())


def record(lake: Lake, table: type[Table], *verdicts: Verdict, run: str = "run-1") -> None:
    verdict_ledger.record(lake, table, [("contract", verdict) for verdict in verdicts], run)


def verdict(day: dt.date, status: Status = Status.PASSED, rule: str = "ended_after_started", **more: object) -> Verdict:
    failed = 1 if status == Status.FAILED else 0
    made = {"severity": Severity.ERROR, "failed_rows": failed, "rows": 2, "status": status} | more
    return Verdict(rule=rule, partition=day.isoformat(), **made)  # type: ignore[arg-type]


def fill(home: Home) -> Home:
    """Session days and sessions of five days: one failed, one without rows, one older than what it is computed from."""
    all_tables()
    for day in DAYS:
        home.lake.replace(PlayerSessionDays, session_parts(day), [day])
    time.sleep(0.01)
    for day in (DAYS[0], DAYS[1], DAYS[4]):
        home.lake.replace(PlayerSessions, day_of_sessions(day), [day])
    time.sleep(0.01)
    home.lake.replace(PlayerSessionDays, session_parts(DAYS[4]), [DAYS[4]])
    keys = tuple({"player_id": text, "session_id": "s"} for text in ("p-77", "\ud800", *HOSTILE[:3]))
    record(
        home.lake, PlayerSessions, verdict(DAYS[0]), verdict(DAYS[1]),
        verdict(DAYS[1], Status.FAILED, "duration_short", sample=keys, message=" ".join(HOSTILE)),
    )  # fmt: skip
    return home


@contextlib.contextmanager
def serving(
    home: Home,
    token: str | None = None,
    lake: Lake | None = None,
    tables: Sequence[type[Table]] = (),
    query: QueryApi | None = None,
) -> Iterator[tuple[httpx.Client, Collector]]:
    """The pages behind a real server on a free port."""
    collector = Collector(lake or home.lake, tables or all_tables(), landing_sources(), every=3600)
    app = application(collector, SecretStr(token) if token else None, query=query)
    with served(app) as client:
        yield client, collector


class Reader(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())
