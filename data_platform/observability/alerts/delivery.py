"""Messages to people: routes from configuration, channels by apprise URL, or the log where none is configured.
Belongs here: who gets what, and sending. Not here: what is said (messages), what waits (store).

A URL is a secret: it is kept in memory only. Elsewhere a channel is called by a digest and shown as `slack://***`."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from data_platform.core.errors import PlatformError, counted
from data_platform.core.private_files import warn_if_others_may_read
from data_platform.observability.alerts.messages import Message
from data_platform.observability.alerts.problems import Level
from data_platform.observability.alerts.store import AlertStore

SEND_SECONDS = 15.0
"""Most a channel may take for one message."""
TICK_SECONDS = 30.0
"""Most one round of sending takes; what is left waits for the next. A sensor tick must end within a minute."""

Log = Callable[[str], None]


class RouteSettings(BaseModel):
    """One `[[route]]` of the file DATA_PLATFORM_ALERTS names."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = ""
    owner: str = "*"
    """Pattern of the owners of tables, for example `team:gameplay`."""
    at_least: Literal["info", "warning", "critical"] = "warning"
    urls: list[SecretStr] = Field(min_length=1)


@dataclass(frozen=True)
class Channel:
    """One place messages go to."""

    id: str
    route: str
    shown: str
    service: Any


@dataclass(frozen=True)
class Route:
    name: str
    owner: str
    at_least: Level
    channels: tuple[Channel, ...]

    def wants(self, message: Message) -> bool:
        return message.level >= self.at_least and fnmatchcase(message.owner, self.owner)


def read_routes(file: Path | None) -> list[Route]:
    """The routes of a TOML file; none without a file. Raises PlatformError naming the route that is wrong, no URL."""
    if file is None:
        return []
    file = file.expanduser()
    try:
        warn_if_others_may_read(file, "DATA_PLATFORM_ALERTS")
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlatformError(
            f"The alert routes {file} cannot be read: {error.strerror}.", "Correct DATA_PLATFORM_ALERTS or unset it."
        ) from None
    except ValueError:  # its text may quote the line, and so a secret
        raise PlatformError(
            f"The alert routes {file} are no valid TOML.", "See docs/runbook.md#alerts for an example."
        ) from None
    routes = document.get("route")
    if set(document) != {"route"} or not isinstance(routes, list):
        raise PlatformError(
            f"The alert routes {file} must consist of [[route]] sections.", "See docs/runbook.md#alerts for an example."
        )
    return [_route(found, number, file) for number, found in enumerate(routes, 1)]


def _route(found: Any, number: int, file: Path) -> Route:
    name = str(found.get("name") or f"route {number}") if isinstance(found, dict) else f"route {number}"
    try:
        checked = RouteSettings.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlatformError(
            f"{name!r} in {file} is wrong: {where}: {first['msg']}.", "See docs/runbook.md#alerts for an example."
        ) from None
    channels = tuple(_channel(name, url.get_secret_value(), n, file) for n, url in enumerate(checked.urls, 1))
    return Route(name, checked.owner, Level[checked.at_least.upper()], channels)


def _channel(route: str, url: str, number: int, file: Path) -> Channel:
    service = _apprise().instantiate(url)
    if service is None:
        raise PlatformError(
            f"URL {number} of {route!r} in {file} ({masked(url)}) is no apprise URL that can be used.",
            "Compare it with the page of the service at https://appriseit.com/services.",
        )
    digest = hashlib.blake2b(url.encode(), digest_size=8, person=b"alert-channel").hexdigest()
    return Channel(digest, route, masked(url), service)


def masked(url: str) -> str:
    """`slack://***`: in many services even the host is a token."""
    scheme, found, _ = url.partition("://")
    return f"{scheme}://***" if found and scheme.isalnum() and len(scheme) <= 12 else "***"


def channels_for(message: Message, routes: Sequence[Route]) -> list[Channel]:
    """The channels of every route that wants the message, each once."""
    found = {channel.id: channel for route in routes if route.wants(message) for channel in route.channels}
    return list(found.values())


def deliver(store: AlertStore, routes: Sequence[Route], now: dt.datetime, log: Log) -> int:
    """Send what waits and is due; messages sent. A channel that fails is left alone until its next attempt.

    A message is marked as sent right after the channel took it. Only a process killed between the two makes it come
    twice; a message is never lost short of three days of failing attempts.
    """
    known = {channel.id: channel for route in routes for channel in route.channels}
    dropped = store.drop_other_channels(list(known), now)
    if dropped:
        log(f"Given up, because their channel is configured no more: {counted(dropped, 'message')}")
    sent = 0
    began = time.monotonic()
    for channel in known.values():
        while time.monotonic() - began < TICK_SECONDS and (delivery := store.claim(channel.id, now)):
            if send(channel, delivery.message):
                store.sent(delivery, now)
                sent += 1
                continue
            outcome = "it will be tried again" if store.failed(delivery, now) else "it is given up after three days"
            log(f"{channel.route} ({channel.shown}) did not take {delivery.message.title!r}; {outcome}")
            break
    return sent


def send(channel: Channel, message: Message) -> bool:
    """Whether the channel took the message. Never raises: what a service raises may quote its URL."""
    import apprise

    kinds = {Level.CRITICAL: apprise.NotifyType.FAILURE, Level.WARNING: apprise.NotifyType.WARNING}
    kind = apprise.NotifyType.SUCCESS if message.good_news else kinds.get(message.level, apprise.NotifyType.INFO)
    try:
        result = apprise.Apprise(channel.service).notify(
            body=message.body,
            title=message.title,
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
            interpret_escapes=False,
            timeout=SEND_SECONDS,
        )
    except Exception:
        return False
    return bool(result)


def _apprise() -> Any:
    """apprise, with its own logging and that of the HTTP client off: both write URLs."""
    try:
        import apprise
    except ImportError:
        raise PlatformError(
            "Alert routes are configured and apprise is not installed.", "Run `pip install 'data-platform[alerts]'`."
        ) from None
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return apprise.Apprise
