"""A patient client of one API: bounded pace, retries with growing pauses, errors that name no key.
Belongs here: one request and what its answer means for the next. Not here: pages, windows."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential_jitter,
)

from data_platform.sources.rest.declarations import Answer, ApiRefusal, ApiUnusable, Parameters
from data_platform.sources.rest.written import written

logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request otherwise

ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds. Eight attempts take about a minute; the worker comes again after that."""
LONGEST_ASKED_WAIT = 60.0
"""An API that asks for more patience than this is asked again earlier: it can say so again."""
CONNECT_SECONDS, READ_SECONDS, ANSWER_SECONDS = 5.0, 30.0, 120.0
"""ANSWER_SECONDS bounds a server that sends a byte now and then."""
MOST_BYTES = 256 << 20
PASSING = (408, 409, 425, 429)
"""What may be gone at the next attempt, besides all from 500 on."""


class Stopped(Exception):
    """Whoever runs the client wants it to stop."""


class _Passing(Exception):
    """A failure that may be gone at the next attempt; `wait` is what the API asks for, in seconds."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class TokenBucket:
    """At most `rate` takings a second, one second's worth of them at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.most = max(1.0, rate)
        self._clock = clock
        self._tokens, self._at = self.most, clock()

    def take(self) -> float:
        """Seconds to wait before doing what this was taken for."""
        now = self._clock()
        self._tokens = min(self.most, self._tokens + (now - self._at) * self.rate) - 1
        self._at = now
        return max(0.0, -self._tokens / self.rate)


class ApiClient:
    """Asks one API, one question at a time. `stop` ends its waiting."""

    def __init__(self, title: str, base_url: str, key: str, headers: Mapping[str, str], rate: float) -> None:
        self.title = title
        self.stop = threading.Event()
        self.told_time: dt.datetime | None = None
        """The API's clock at its last answer."""
        self._pace = TokenBucket(rate)
        self._http = httpx.Client(
            base_url=base_url,
            headers={**headers, "Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        )
        self._grow = wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT)

    def get(self, path: str, parameters: Parameters) -> Answer:
        """The answer to a question, asked again while that may help. Raises ApiRefusal, ApiUnusable, Stopped."""
        attempts = Retrying(
            retry=retry_if_exception_type(_Passing),
            wait=self._wait,
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(self.stop),
            sleep=sleep_using_event(self.stop),
            reraise=True,
        )
        try:
            return attempts(self._once, path, parameters)
        except _Passing as failure:
            if self.stop.is_set():
                raise Stopped from None
            problem = f"[{self.title}] GET {path} failed {ATTEMPTS} times; at last {failure}."
            raise ApiUnusable(problem, "It is tried again; nothing is lost meanwhile.") from None

    def close(self) -> None:
        self._http.close()

    def _wait(self, state: RetryCallState) -> float:
        """The API's word first, ours otherwise; never the same for two clients."""
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, _Passing) and failure.wait is not None:
            return min(failure.wait, LONGEST_ASKED_WAIT) + random.uniform(0, FIRST_WAIT / 5)
        return self._grow(state)

    def _once(self, path: str, parameters: Parameters) -> Answer:
        if self.stop.wait(self._pace.take()):
            raise Stopped
        asked_at = dt.datetime.now(dt.UTC)
        given: dict[str, Any] = dict(parameters)
        try:
            with self._http.stream("GET", path, params=given) as response:
                body = self._body(response)
        except httpx.RequestError as error:
            raise _Passing(f"{type(error).__name__}") from None
        self._note_time(response)
        if response.status_code in PASSING or response.status_code >= 500:
            raise _Passing(f"it answered {response.status_code}", _asked_wait(response))
        if response.status_code != 200:
            raise self._refusal(path, response, body)
        try:
            return Answer(written(body), asked_at)
        except ValueError as error:
            raise _Passing(f"its answer cannot be read: {error}") from None

    def _body(self, response: httpx.Response) -> bytes:
        """All of it, within bounds."""
        until = time.monotonic() + ANSWER_SECONDS
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if self.stop.is_set():
                raise Stopped
            if len(body) > MOST_BYTES or time.monotonic() > until:
                raise _Passing(f"its answer is longer than {MOST_BYTES >> 20} MB or {ANSWER_SECONDS:.0f} s")
        return bytes(body)

    def _note_time(self, response: httpx.Response) -> None:
        try:
            self.told_time = email.utils.parsedate_to_datetime(response.headers["date"]).astimezone(dt.UTC)
        except (KeyError, ValueError):
            self.told_time = None

    def _refusal(self, path: str, response: httpx.Response, body: bytes) -> Exception:
        """What it says in words may repeat what it was sent; codes do not."""
        status = response.status_code
        if status == 401:
            return ApiUnusable(
                f"[{self.title}] The API does not accept the key (401).",
                "Is it whole, of this account, and still valid? Correct the variable that `key` names.",
            )
        told = [f"{status}", *_codes(body)]
        if "request-id" in response.headers:
            told.append(f"request {response.headers['request-id'][:80]}")
        remedy = "Let the key read it, or leave the endpoint out of `endpoints`." if status == 403 else "See its docs."
        return ApiRefusal(f"[{self.title}] GET {path} is refused: {', '.join(told)}.", remedy, status)


def _codes(body: bytes) -> list[str]:
    """`code` and `param` of an error as Stripe tells it, where it does."""
    try:
        told = json.loads(body)["error"]
        return [str(told[name])[:80] for name in ("code", "param") if told.get(name)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _asked_wait(response: httpx.Response) -> float | None:
    """Seconds by `Retry-After`, whole, with a fraction or as a date; else by the time at which a limit is reset."""
    after, reset = response.headers.get("retry-after"), response.headers.get("x-ratelimit-reset")
    try:
        if after is not None:
            return max(0.0, float(after))
        return max(0.0, float(reset) - time.time()) if reset is not None else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(str(after)).timestamp() - time.time())
    except ValueError:
        return None
