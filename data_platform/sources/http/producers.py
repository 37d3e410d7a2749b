"""Who may post what: bearer tokens of producers. Not here: the tokens file and limits of rates (core/http)."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from pydantic import Field

from data_platform.core.http.problems import Problem
from data_platform.core.http.tokens import Token, Tokens, TokensFile, new_token

SETTING = "DATA_PLATFORM_COLLECTOR_TOKENS"


class Producer(Token):
    """A token of the collector."""

    sources: frozenset[str] = Field(min_length=1)
    """Landing sources it may post to."""
    tenant: str | None = Field(default=None, min_length=1)
    """Whose events these are, and no other tenant's: an event that names none gets this one."""

    def require(self, source: str) -> None:
        """Raise Problem 403 unless it may post to a landing source."""
        if source not in self.sources:
            headers = {"www-authenticate": 'Bearer error="insufficient_scope"'}
            raise Problem(403, "another-source", "The token is not for this source.", headers=headers)


def producers(path: Path | None, open_here: bool) -> Tokens[Producer]:
    """From the file of tokens; without one this machine may post, if `open_here`. Raises PlatformError."""
    return Tokens(TokensFile(path, SETTING, "data-platform collector-token"), Producer, open_here)


def new_producer(name: str, sources: list[str], tenant: str | None) -> tuple[str, str]:
    """A new random token, and the entry of the tokens file that lets it in."""
    return new_token(name, {"sources": sources, **({"tenant": tenant} if tenant else {})})


def as_bearer(authorization: bytes) -> bytes:
    """Analytics SDKs send their key as the user of `Basic`, without a password: the same as a bearer token."""
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return authorization
    try:
        return b"Bearer " + base64.b64decode(value.strip(), validate=True).partition(b":")[0]
    except binascii.Error:
        return b""
