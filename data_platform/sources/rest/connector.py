"""`[rest.NAME]`: an API that a domain declares, read endpoint by endpoint.
Belongs here: what can be configured, and taking turns. Not here: one endpoint (streams), one request (client)."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from data_platform.core.contract.calendar import midnight
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.hosts import is_this_machine
from data_platform.sources.connectors import (
    ExternalTable,
    StreamState,
    Ways,
    checked,
    known_source,
    require_library,
)
from data_platform.sources.rest.declarations import Api, ApiUnusable, Endpoint, apis
from data_platform.sources.rest.windows import MICROSECOND, Pace

if TYPE_CHECKING:
    from data_platform.sources.rest.client import ApiClient
    from data_platform.sources.rest.streams import EndpointStream

TURN_SECONDS = 3.0
SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _span(value: object) -> object:
    """`90s`, `5m`, `1h`, `2d`."""
    if isinstance(value, str) and (found := SPAN.fullmatch(value)):
        return dt.timedelta(**{UNITS[found[2]]: float(found[1])})
    raise ValueError("Write a number and s, m, h or d, for example 1h")


Span = Annotated[dt.timedelta, BeforeValidator(_span), Field(ge=dt.timedelta(0))]


class Options(BaseModel):
    """What stands in a section."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api: str
    key: SecretStr
    start: dt.date
    """What was made before this day is not read."""
    endpoints: tuple[str, ...] = ()
    """All, when none are named."""
    every: Span = dt.timedelta(hours=1)
    settle: Span = dt.timedelta(minutes=5)
    """A window is read so long after its end."""
    reread: tuple[dt.date, ...] = ()
    """Each further date has everything read again from that day on, once."""
    base_url: str | None = None
    requests_per_second: float | None = Field(default=None, gt=0)
    webhook_key: str | None = None
    """The public key that the API's webhook is verified with (base64)."""


def external_tables(title: str, options: Mapping[str, Any]) -> list[ExternalTable]:
    """One per endpoint, and the webhook where its key is given."""
    chosen = checked(Options, title, options)
    api = known_api(title, chosen)
    name = title.partition(".")[2]
    found = [
        ExternalTable(("rest", name, one.name), api.name, one.source, one.description, _most_lag(chosen, one))
        for one in endpoints(title, chosen, api)
    ]
    if chosen.webhook_key and api.webhook:
        hook = api.webhook
        found.append(ExternalTable(("rest", name, hook.name), api.name, hook.source, hook.description))
    return found


def _most_lag(options: Options, endpoint: Endpoint) -> int:
    """Microseconds: twice missed."""
    return 3 * max(options.every, endpoint.step) // MICROSECOND


def connect(title: str, options: Mapping[str, Any], ways: Ways) -> RestConnector:
    chosen = checked(Options, title, options)
    for library in ("httpx", "tenacity"):
        require_library(library, "rest")
    return RestConnector(title, chosen, ways)


class RestConnector:
    """The endpoints of a section, in turn, a window each."""

    def __init__(
        self, title: str, options: Options, ways: Ways, clock: Callable[[], dt.datetime] | None = None
    ) -> None:
        from data_platform.sources.rest.client import ApiClient

        api = known_api(title, options)
        self.idle_seconds = min(30.0, max(0.2, options.every.total_seconds() / 10))
        rate = options.requests_per_second or api.requests_per_second
        base_url = _safe_url(title, options.base_url or api.base_url)
        chosen = endpoints(title, options, api)
        for endpoint in chosen:
            known_source(title, endpoint.source, ways.sources)
        self._streams = [_stream(title, options, endpoint, ways, clock or _now) for endpoint in chosen]
        self._client: ApiClient = ApiClient(title, base_url, options.key.get_secret_value(), api.headers, rate)
        self._turn = 0

    def advance(self, stop: threading.Event) -> bool:
        """A window of each endpoint that has one, for some seconds. One endpoint's fault keeps no other from being
        read and is raised at the end; a fault of all of them at once."""
        from data_platform.sources.rest.client import Stopped

        self._client.stop = stop
        more = False
        faults: list[PlatformError] = []
        until = time.monotonic() + TURN_SECONDS
        for _ in self._streams:
            stream = self._streams[self._turn]
            self._turn = (self._turn + 1) % len(self._streams)
            try:
                more |= stream.advance(self._client)
            except Stopped:
                return False
            except ApiUnusable:
                raise
            except PlatformError as fault:
                faults.append(fault)
            if stop.is_set():
                return False
            if time.monotonic() > until:
                more = True
                break
        if faults:
            raise faults[0]
        return more

    def states(self) -> Sequence[StreamState]:
        return [stream.state() for stream in self._streams]

    def close(self) -> None:
        self._client.close()


def known_api(title: str, options: Options) -> Api:
    """The API that a section names. Raises PlatformError for one that no domain declares."""
    if options.api not in apis():
        known = f"{did_you_mean(options.api, apis())}There are {', '.join(sorted(apis()))}."
        raise PlatformError(f"[{title}] api: no domain declares an API {options.api}.", known)
    return apis()[options.api]


def endpoints(title: str, options: Options, api: Api) -> list[Endpoint]:
    """The chosen endpoints. Raises PlatformError for an unknown one, and for one that is of no use by itself."""
    known = {one.name: one for one in api.endpoints}
    chosen = options.endpoints or tuple(known)
    for name in chosen:
        if name not in known:
            raise PlatformError(
                f"[{title}] endpoints: {api.name} has no {name}.",
                f"{did_you_mean(name, known)}There are {', '.join(known)}.",
            )
        needed = known[name].completes
        if needed and needed not in chosen:
            raise PlatformError(
                f"[{title}] endpoints: {name} tells what changed in {needed} and is of no use without it.",
                f"Add {needed}.",
            )
    return [known[name] for name in dict.fromkeys(chosen)]


def _stream(
    title: str, options: Options, endpoint: Endpoint, ways: Ways, clock: Callable[[], dt.datetime]
) -> EndpointStream:
    from data_platform.sources.rest.streams import Beginning, EndpointStream

    name = title.partition(".")[2]
    first = options.reread[-1] if options.reread else options.start
    beginning = Beginning(midnight(options.start), midnight(first), len(options.reread))
    every = max(options.every, endpoint.step)
    pace = Pace(every, options.settle, endpoint.overlap, endpoint.step, max(endpoint.longest, endpoint.step))
    return EndpointStream(f"rest:{name}/{endpoint.name}", endpoint, beginning, pace, ways, clock)


def _safe_url(title: str, url: str) -> str:
    """Raises PlatformError for an address to which the key would travel for all to read."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(host)):
        return url
    raise PlatformError(f"[{title}] base_url: the key is sent to https addresses only.", "Write https://….")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
