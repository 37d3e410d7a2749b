"""Whose rows a page may show, as the guard (app) leaves it in the scope of a request.
Not here: tokens (query/access)."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from data_platform.core.http.tenants import Reach

REACH = "data_platform.reach"
"""In the scope; without it nothing is shown."""


def reach_of(connection: HTTPConnection) -> Reach:
    found: Reach = connection.scope[REACH]
    return found
