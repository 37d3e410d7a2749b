"""What a domain says of an API: its address, its endpoints, how each is read (`domains/*/apis`: modules with an `API`).
Belongs here: these declarations and finding them. Not here: asking (client), writing what is found (streams). No client
library is imported: the lineage shows endpoints where none is installed."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from data_platform.core.errors import PlatformError
from data_platform.core.packages import by_name, modules_called
from data_platform.sources.rest.windows import EPOCH, Window
from data_platform.sources.rest.written import Written

Parameters = Mapping[str, str | int | Sequence[str]]


class ApiUnusable(PlatformError):
    """Nothing can be had of the API just now: it is not reached, or does not know the key."""


class ApiRefusal(PlatformError):
    """The API refused one request, and would again."""

    def __init__(self, problem: str, remedy: str, status: int) -> None:
        super().__init__(problem, remedy)
        self.status = status


class CursorLost(Exception):
    """A list cannot be read on from where it was: the window is read anew."""


@dataclass(frozen=True)
class Answer:
    body: Written
    asked_at: dt.datetime
    """By our clock, before the question was sent: the object was like this then, or is newer."""


class Asks(Protocol):
    """A client of an API."""

    def get(self, path: str, parameters: Parameters) -> Answer:
        """Raises ApiRefusal and ApiUnusable."""
        ...


@dataclass(frozen=True)
class ApiObject:
    """An object of an API in its envelope: one line of a landing source whose contract has these four fields.

    What is missing or odd is handed on as it is, so that the contract rejects the line and nothing stops.
    """

    object_id: object
    created_at: str | None
    observed_at: str
    payload: str

    @property
    def line(self) -> bytes:
        head = json.dumps({"object_id": self.object_id, "created_at": self.created_at, "observed_at": self.observed_at})
        return f'{head[:-1]}, "payload": {self.payload}}}\n'.encode()


Read = Callable[[Asks, Window], Iterator[ApiObject]]


@dataclass(frozen=True)
class Endpoint:
    """One list of an API, read window by window into a landing source."""

    name: str
    source: str
    read: Read
    """The objects of a window; some may come twice."""
    description: str
    step: dt.timedelta = dt.timedelta(seconds=1)
    longest: dt.timedelta = dt.timedelta(days=7)
    overlap: dt.timedelta = dt.timedelta(minutes=15)
    kept: dt.timedelta | None = None
    """The API forgets what is older."""
    completes: str | None = None
    """The endpoint without which this one is not enough: it tells what changed in what that one listed."""


@dataclass(frozen=True)
class Webhook:
    """What an API sends by itself, signed with a key whose public half we hold (ECDSA over timestamp and body)."""

    name: str
    source: str
    signature_header: str
    timestamp_header: str
    read: Callable[[bytes, dt.datetime], Iterable[ApiObject]]
    """The objects in a body, received at a moment. Raises ValueError for a body that cannot be read."""
    description: str


@dataclass(frozen=True)
class Api:
    """A system that is asked over HTTP with a bearer token."""

    name: str
    base_url: str
    requests_per_second: float
    """That it takes for long; what it allows in a burst may be more."""
    endpoints: tuple[Endpoint, ...]
    webhook: Webhook | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def apis() -> dict[str, Api]:
    """The APIs that domains declare, by name. Raises PlatformError for two of one name."""
    return by_name("APIs", ((module, module.API) for module in modules_called("apis")), lambda api: api.name)


def utc_text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def text_of_seconds(value: object) -> str | None:
    """Seconds since 1970, a number or its text, as UTC; what is no such number as it is."""
    if value is None:
        return None
    try:
        return utc_text(EPOCH + dt.timedelta(seconds=int(str(value))))
    except (ValueError, OverflowError):
        return str(value)
