"""What a domain answers over HTTP itself: a JSON object is posted, a JSON object comes back, tenant by tenant.
Belongs here: the declaration. Not here: answering (the domain), tokens and addresses (web/query)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_platform.core.http.tenants import Reach

if TYPE_CHECKING:
    from data_platform.core.lake.store import Lake

Handler = Callable[[Mapping[str, Any], Reach], Mapping[str, Any]]
"""The object that was posted, and whose rows may be seen → the answer. Raises Problem. Called by several threads."""


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One address: `POST /v1/NAME`. A domain names its own in `ENDPOINTS` of a module called `endpoints`."""

    name: str
    description: str
    request: Mapping[str, Any]
    """JSON schema of what is posted, for the OpenAPI document: the handler judges what it is given."""
    response: Mapping[str, Any]
    handler: Callable[[Lake], Handler]
    """Called once, when the server starts: must not take long."""
    by_project: bool = False
    """Whether the handler heeds `Reach.projects`; where not, who sees some projects alone is refused."""
