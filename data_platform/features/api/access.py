"""Who may ask the feature API for what. Not here: tokens and their limits (core/http), what is answered."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from data_platform.core.http import tokens
from data_platform.core.http.problems import Problem
from data_platform.core.http.tenants import EVERYBODY, Reach


class Scope(StrEnum):
    """What a token is good for. The catalogue and the OpenAPI document are open to every token."""

    READ = "features:read"
    HISTORICAL = "features:historical"


class Token(tokens.Token):
    """A token of the feature API."""

    scopes: frozenset[Scope]
    tenant: str | None = Field(default=None, min_length=1)
    """Whose vectors it reads, and no others; without it everybody's."""


class Access:
    """Whoever holds a token of the file; without a file this machine alone, if `open_here`.

    Raises PlatformError for a file that cannot be read. One that breaks later is logged, and the last good one holds.
    """

    def __init__(self, path: Path | None, open_here: bool) -> None:
        file = tokens.TokensFile(path, "DATA_PLATFORM_API_TOKENS", "data-platform api-token")
        self._tokens = tokens.Tokens(file, Token, open_here)

    def admit(self, authorization: bytes, host_is_here: bool, scope: Scope | None) -> Reach:
        """Whose vectors the request may see. Raises Problem unless it may go on: 401, 403, 421 or 429. `scope` None is
        any token's right."""
        bucket = self._tokens.bucket(authorization, host_is_here)
        if bucket is None:
            return EVERYBODY
        if scope is not None and scope not in bucket.token.scopes:
            headers = {"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
            raise Problem(403, "missing-scope", f"The token has no scope {scope}.", headers=headers)
        bucket.take()
        return Reach(bucket.token.tenant)


def new_token(name: str, scopes: frozenset[Scope]) -> tuple[str, str]:
    """A new random token, and the entry of the tokens file that lets it in."""
    return tokens.new_token(name, {"scopes": sorted(scopes)})
