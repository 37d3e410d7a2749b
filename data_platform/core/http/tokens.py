"""Bearer tokens with rate limits, from one TOML file of hashes that is looked at again while the server runs.
Not here: what a token is good for (each API says so in a subclass of Token), what is answered."""

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
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_platform.core.errors import PlatformError
from data_platform.core.http.problems import Problem
from data_platform.core.private_files import warn_if_others_may_read

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""How often the file is looked at: a token that is taken out of it is refused after that time."""


class Token(BaseModel):
    """One `[[tokens]]` of the file. The token itself is nowhere: it has 256 random bits, so its SHA-256 is enough."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    requests_per_second: float = Field(default=100.0, gt=0)
    burst: int = Field(default=200, ge=1)


T = TypeVar("T", bound=Token)


class _File(BaseModel, Generic[T]):
    model_config = ConfigDict(extra="forbid")

    tokens: list[T] = []


@dataclass
class Bucket(Generic[T]):
    """A token bucket: holds `burst` requests, refilled at a steady rate."""

    token: T
    left: float
    filled_at: float

    def take(self) -> None:
        """Take one request. Raises Problem 429, saying when to come back, if there is none."""
        now, rate = time.monotonic(), self.token.requests_per_second
        self.left = min(float(self.token.burst), self.left + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.left < 1:
            seconds = str(math.ceil((1 - self.left) / rate))
            detail = f"More than {rate:g} requests per second."
            raise Problem(429, "too-many-requests", detail, f"Retry after {seconds} s.", {"retry-after": seconds})
        self.left -= 1


@dataclass(frozen=True)
class TokensFile:
    """Where an API's tokens are written, and how a person is told of it."""

    path: Path | None
    setting: str
    """The variable that names the file."""
    command: str
    """What prints an entry for it."""


class Tokens(Generic[T]):
    """Without a file an API has no tokens: then it answers this machine alone, if `open_here`, and nobody otherwise.

    Raises PlatformError for a file that cannot be read. One that breaks later is logged, and the last good one holds.
    """

    def __init__(self, file: TokensFile, kind: type[T], open_here: bool) -> None:
        self._file, self._open_here = file, open_here
        self._shape: type[_File[T]] = _File[kind]  # type: ignore[valid-type]
        self._buckets: dict[str, Bucket[T]] = {}
        self._signature: tuple[int, int] | None = None
        self._looked_at = 0.0
        if file.path is not None:
            self._read(file.path)

    def bucket(self, authorization: bytes, host_is_here: bool) -> Bucket[T] | None:
        """Of whoever asks; None where there are no tokens and this machine asks. Raises Problem 401 or 421."""
        path = self._file.path
        if path is None:
            if not self._open_here:
                raise unauthorized("This server has no tokens yet.", f"Set {self._file.setting}.")
            if not host_is_here:
                raise Problem(421, "misdirected", "Without tokens the API answers this machine alone.")
            return None
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            try:
                self._read(path)
            except PlatformError as error:
                logger.error("%s The tokens read before stay in force.", error)
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise unauthorized("No token.", "Send `Authorization: Bearer TOKEN`.")
        bucket = self._buckets.get(hashlib.sha256(token.strip()).hexdigest())
        if bucket is None:
            raise unauthorized("The token is not known here.", "Ask the data platform team for one.")
        return bucket

    def _read(self, path: Path) -> None:
        try:
            found = path.stat()
            signature = (found.st_mtime_ns, found.st_size)
            if signature == self._signature:
                return
            warn_if_others_may_read(path, self._file.setting)
            tokens = self._shape.model_validate(tomllib.loads(path.read_text())).tokens
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise PlatformError(f"{path} cannot be read: {_reason(error)}.", f"Correct {self._file.setting}.") from None
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise PlatformError(
                f"{path}: {where}: {first['msg']}.", f"`{self._file.command}` prints an entry."
            ) from None
        now = time.monotonic()
        kept = self._buckets
        self._buckets = {
            token.sha256: kept[token.sha256]
            if token.sha256 in kept and kept[token.sha256].token == token
            else Bucket(token, float(token.burst), now)
            for token in tokens
        }
        self._signature = signature


def unauthorized(detail: str, remedy: str) -> Problem:
    return Problem(401, "unauthorized", detail, remedy, {"www-authenticate": "Bearer"})


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def new_token(name: str, rights: Mapping[str, str | list[str]]) -> tuple[str, str]:
    """A new random token, and the entry of the tokens file that lets it in with these rights."""
    token = secrets.token_urlsafe(32)
    # TOML's basic strings and arrays of them are written as JSON writes its own.
    given = {
        "name": json.dumps(name),
        "sha256": json.dumps(hashlib.sha256(token.encode()).hexdigest()),
        **{field: json.dumps(value) for field, value in rights.items()},
        "requests_per_second": "100",
        "burst": "200",
    }
    return token, "[[tokens]]\n" + "\n".join(f"{field} = {value}" for field, value in given.items())
