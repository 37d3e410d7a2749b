"""Who may ask the query API, and whose rows they see.
Not here: tokens and their limits (core/http), what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.types import Scope

from data_platform.core.hosts import host_name, is_this_machine
from data_platform.core.http.problems import Problem
from data_platform.core.http.requests import header
from data_platform.core.http.tenants import EVERYBODY, Reach, TenantToken
from data_platform.core.http.tokens import Tokens, TokensFile, new_token

SETTING, COMMAND = "DATA_PLATFORM_QUERY_TOKENS", "data-platform query-token"


class Access:
    """Whoever holds a token of the file; without a file this machine alone, if `open_here`, and then as an operator.

    Raises PlatformError for a file that cannot be read. One that breaks later is logged, and the last good one holds.
    """

    def __init__(self, path: Path | None, open_here: bool) -> None:
        self._tokens = Tokens(TokensFile(path, SETTING, COMMAND), TenantToken, open_here)

    def admit(self, scope: Scope) -> Reach:
        """Whose rows the request may see. Raises Problem: 401, 421 or 429."""
        here = is_this_machine(host_name(header(scope, b"host").decode("latin-1")))
        bucket = self._tokens.bucket(header(scope, b"authorization"), here)
        if bucket is None:
            return EVERYBODY
        bucket.take()
        return bucket.token.reach

    def reach_of(self, token: bytes) -> Reach | None:
        """Of a token of the file; None where there is no file. Raises Problem: 401 or 429."""
        bucket = self._tokens.bucket(b"Bearer " + token, host_is_here=True)
        if bucket is None:
            return None
        bucket.take()
        return bucket.token.reach

    def knows(self, scope: Scope) -> bool:
        """Whether the request carries a token of the file; takes nothing of its rate."""
        try:
            return self._tokens.bucket(header(scope, b"authorization"), host_is_here=False) is not None
        except Problem:
            return False


def new_query_token(name: str, tenant: str | None, projects: Sequence[str] = ()) -> tuple[str, str]:
    """A new random token for one tenant, or some of its projects, or for operators (None), and the entry of the tokens
    file that lets it in."""
    if tenant is None:
        return new_token(name, {"tenants": "*"})
    return new_token(name, {"tenant": tenant, **({"projects": list(projects)} if projects else {})})
