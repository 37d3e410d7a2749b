"""Who may ask for what, and how often: bearer tokens with scopes and rate limits, from one TOML file of hashes.
Not here: what is answered."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import secrets
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_platform.core.errors import PlatformError
from data_platform.core.private_files import warn_if_others_may_read
from data_platform.features.api.problems import Problem

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""How often the file is looked at: a token that is taken out of it is refused after that time."""


class Scope(StrEnum):
    """What a token is good for. The catalogue and the OpenAPI document are open to every token."""

    READ = "features:read"
    HISTORICAL = "features:historical"


class Token(BaseModel):
    """One `[[tokens]]` of the file. The token itself is nowhere: it has 256 random bits, so its SHA-256 is enough."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: frozenset[Scope]
    requests_per_second: float = Field(default=100.0, gt=0)
    burst: int = Field(default=200, ge=1)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: list[Token] = []


@dataclass
class _Bucket:
    """A token bucket: holds `burst` requests, refilled at a steady rate."""

    token: Token
    left: float
    filled_at: float

    def take(self, now: float) -> float:
        """Take one request; seconds to wait when there is none."""
        rate = self.token.requests_per_second
        self.left = min(float(self.token.burst), self.left + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.left < 1:
            return (1 - self.left) / rate
        self.left -= 1
        return 0.0


class Access:
    """Without a file the API has no tokens: then it answers this machine alone, if `open_here`, and nobody otherwise.

    Raises PlatformError for a file that cannot be read. One that breaks later is logged, and the last good one holds.
    """

    def __init__(self, path: Path | None, open_here: bool) -> None:
        self._path, self._open_here = path, open_here
        self._buckets: dict[str, _Bucket] = {}
        self._signature: tuple[int, int] | None = None
        self._looked_at = 0.0
        if path is not None:
            self._read(path)

    def admit(self, authorization: bytes, host_is_here: bool, scope: Scope | None) -> None:
        """Raise a Problem unless the request may go on: 401, 403, 421 or 429. `scope` None is any token's right."""
        if self._path is None:
            if not self._open_here:
                raise _unauthorized("This server has no tokens yet.", "Set DATA_PLATFORM_API_TOKENS.")
            if not host_is_here:
                raise Problem(421, "misdirected", "Without tokens the API answers this machine alone.")
            return
        bucket = self._bucket(authorization)
        if scope is not None and scope not in bucket.token.scopes:
            headers = {"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
            raise Problem(403, "missing-scope", f"The token has no scope {scope}.", headers=headers)
        wait = bucket.take(time.monotonic())
        if wait:
            seconds = str(math.ceil(wait))
            rate = f"{bucket.token.requests_per_second:g}"
            told = f"More than {rate} requests per second."
            raise Problem(429, "too-many-requests", told, f"Retry after {seconds} s.", {"retry-after": seconds})

    def _bucket(self, authorization: bytes) -> _Bucket:
        assert self._path is not None
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            try:
                self._read(self._path)
            except PlatformError as error:
                logger.error("%s The tokens read before stay in force.", error)
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise _unauthorized("No token.", "Send `Authorization: Bearer TOKEN`.")
        bucket = self._buckets.get(hashlib.sha256(token.strip()).hexdigest())
        if bucket is None:
            raise _unauthorized("The token is not known here.", "Ask the data platform team for one.")
        return bucket

    def _read(self, path: Path) -> None:
        try:
            found = path.stat()
            signature = (found.st_mtime_ns, found.st_size)
            if signature == self._signature:
                return
            warn_if_others_may_read(path, "DATA_PLATFORM_API_TOKENS")
            tokens = _File.model_validate(tomllib.loads(path.read_text())).tokens
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise PlatformError(
                f"{path} cannot be read: {_reason(error)}.", "Correct DATA_PLATFORM_API_TOKENS."
            ) from None
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise PlatformError(
                f"{path}: {where}: {first['msg']}.", "`data-platform api-token` prints an entry."
            ) from None
        now = time.monotonic()
        kept = self._buckets
        self._buckets = {
            token.sha256: kept[token.sha256]
            if token.sha256 in kept and kept[token.sha256].token == token
            else _Bucket(token, float(token.burst), now)
            for token in tokens
        }
        self._signature = signature


def _unauthorized(detail: str, remedy: str) -> Problem:
    return Problem(401, "unauthorized", detail, remedy, {"www-authenticate": "Bearer"})


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def new_token(name: str, scopes: frozenset[Scope]) -> tuple[str, str]:
    """A new random token, and the entry of the tokens file that lets it in."""
    token = secrets.token_urlsafe(32)
    given: Mapping[str, str] = {
        "name": json.dumps(name),
        "sha256": f'"{hashlib.sha256(token.encode()).hexdigest()}"',
        "scopes": "[" + ", ".join(f'"{scope}"' for scope in sorted(scopes)) + "]",
        "requests_per_second": "100",
        "burst": "200",
    }
    return token, "[[tokens]]\n" + "\n".join(f"{field} = {value}" for field, value in given.items())
