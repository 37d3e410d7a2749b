"""One request to the collector, what its answer means, and when to try again. Not here: what is sent when (client)."""

from __future__ import annotations

import email.utils
import gzip
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

SECONDS = 10.0
"""For one request."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
NEVER_TAKEN = (400, 413, 415, 422)
"""Answers that say of these events that sending them again has no use. All others may pass: also a wrong token, which
somebody may put right before the spool is full."""
PACK_FROM = 1_000
"""Bytes."""


@dataclass(frozen=True)
class Outcome:
    """What became of a batch."""

    done: bool
    """Not to be sent again."""
    sent: int = 0
    rejected: int = 0
    reason: str = ""
    retry_after: float = 0.0


class Sender:
    """Raises ValueError for an address that is none of HTTP."""

    def __init__(self, url: str, token: str | None, source: str | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no address of a collector, for example https://collector.example")
        query = f"?{urllib.parse.urlencode({'source': source})}" if source else ""
        self._url = f"{url.rstrip('/')}/v1/events{query}"
        self._headers = {"content-type": "application/x-ndjson", "user-agent": "data-platform-sdk"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        # Without redirects: a token is for the host that it was given for.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def send(self, lines: bytes) -> Outcome:
        """Never raises."""
        events = lines.count(b"\n")
        try:
            with self._opener.open(self._request(lines), timeout=SECONDS) as answer:
                return _stored(answer.read(), events)
        except urllib.error.HTTPError as error:
            with error:
                return _refused(error, events)
        except (
            Exception
        ) as error:  # no connection, no name, no certificate, half an answer: whatever it is, it may pass
            return Outcome(False, reason=f"{type(error).__name__}: {error}"[:200])

    def _request(self, lines: bytes) -> urllib.request.Request:
        headers = self._headers
        if len(lines) >= PACK_FROM:
            lines, headers = gzip.compress(lines, 1), headers | {"content-encoding": "gzip"}
        return urllib.request.Request(self._url, lines, headers, method="POST")


def _stored(body: bytes, events: int) -> Outcome:
    told = json.loads(body)
    reasons = sorted({str(one["reason"]) for one in told["rejected"]})
    return Outcome(True, int(told["accepted"]), len(told["rejected"]), ", ".join(reasons)[:200])


def _refused(error: urllib.error.HTTPError, events: int) -> Outcome:
    reason = f"{error.code} {error.read(300).decode(errors='replace')}"
    if error.code in NEVER_TAKEN:
        return Outcome(True, rejected=events, reason=reason)
    return Outcome(False, reason=reason, retry_after=_seconds(error.headers.get("retry-after")))


def _seconds(told: str | None) -> float:
    """Of a Retry-After header: seconds, also with a fraction, or a date."""
    try:
        return max(0.0, min(float(told or 0), 3600.0))
    except ValueError:
        pass
    try:
        return max(0.0, min(email.utils.parsedate_to_datetime(str(told)).timestamp() - time.time(), 3600.0))
    except (ValueError, TypeError):
        return 0.0


def pause(failures: int, retry_after: float) -> float:
    """Seconds before the next attempt, after so many in a row (from 1): doubling, and anywhere below that, so that a
    thousand servers do not come back at the same moment."""
    grown = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))
    return retry_after + random.uniform(0.1, 1.0) * grown
