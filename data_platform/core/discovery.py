"""What domains and rooms declare: tables, landing sources, assets, panels, notices, queries, endpoints, graphs.
Belongs here: collecting it by the name of a module. Not here: where modules are (packages), what is made of it."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

from data_platform.core.contract.graphs import GraphView
from data_platform.core.contract.notices import Notice
from data_platform.core.contract.panels import Dashboard
from data_platform.core.contract.queries import Query
from data_platform.core.contract.table import Table, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake import bitemporal
from data_platform.core.packages import by_name, declared_in, modules_called

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from data_platform.core.http.endpoints import Endpoint
    from data_platform.sources.landing_source import LandingSource
    from data_platform.sources.live_spend import LiveSpend
    from data_platform.sources.live_view import LiveView


@functools.cache
def know_contracts() -> None:
    """Import every module of contracts, and know the histories that are kept of tables. Without Dagster, whose import
    alone takes longer than a glance at the lake. Raises PlatformError for two tables of one key: one would hide the
    other."""
    for kept_by_core in ("lake.moved_rows", "quality.profile_store", "quality.verdict_ledger"):
        importlib.import_module(f"data_platform.core.{kept_by_core}")
    by_name("tables", _tables(), lambda table: table.key)
    for table in list(contracts().values()):
        if table.bitemporal:
            bitemporal.history_of(table)


def _tables() -> Iterator[tuple[ModuleType, type[Table]]]:
    """The tables that modules of contracts declare, not those that they import."""
    for module in modules_called("contracts"):
        for table in vars(module).values():
            is_table = isinstance(table, type) and issubclass(table, Table) and hasattr(table, "key")
            if is_table and table.__module__ == module.__name__:
                yield module, table


@functools.cache
def know_assets() -> None:
    """Import every module of assets: what each table is computed from is declared there, with Dagster."""
    know_contracts()
    for _ in modules_called("assets"):
        pass


def known_contracts() -> dict[str, type[Table]]:
    """Every contract there is, by key."""
    know_contracts()
    return contracts()


@functools.cache
def landing_sources() -> tuple[LandingSource, ...]:
    """The landing folders of every domain. Raises PlatformError for two of one name: it is their folder."""
    return tuple(by_name("landing sources", declared_in("sources", "SOURCES"), lambda source: source.name).values())


@functools.cache
def dashboards() -> tuple[Dashboard, ...]:
    """The panels of every domain that declares some. Raises PlatformError for two of one title: it is their address."""
    declared = ((module, module.DASHBOARD) for module in modules_called("panels"))
    found = by_name("dashboards", declared, lambda shown: shown.slug, lambda shown: f"“{shown.title}”")
    return tuple(sorted(found.values(), key=lambda shown: (shown.position, shown.title)))


@functools.cache
def notices() -> tuple[Notice, ...]:
    """Rows of whose tables somebody is to be told, of every domain that declares some. Raises PlatformError for two of
    one kind: it is what their episodes, mutes and routes go by."""
    return tuple(by_name("notices", declared_in("notices", "NOTICES"), lambda notice: notice.kind).values())


@functools.cache
def queries() -> tuple[Query, ...]:
    """What can be asked of every domain's tables. Raises PlatformError for two of one name: it is their address."""
    return tuple(by_name("queries", declared_in("queries", "QUERIES"), lambda query: query.name).values())


@functools.cache
def endpoints() -> tuple[Endpoint, ...]:
    """What domains answer themselves. Raises PlatformError for a name that is taken: it is the address."""
    found: dict[str, Endpoint] = {}
    for module, endpoint in declared_in("endpoints", "ENDPOINTS"):
        if endpoint.name in found or any(query.name == endpoint.name for query in queries()):
            raise PlatformError(f"Two addresses are /v1/{endpoint.name}.", f"Rename that of {module.__name__}.")
        found[endpoint.name] = endpoint
    return tuple(found.values())


@functools.cache
def graph_views() -> tuple[GraphView, ...]:
    """The graphs of every domain that declares some. Raises PlatformError for two of one title: it is their address."""
    graphs = declared_in("graph_views", "GRAPHS")
    return tuple(by_name("graphs", graphs, lambda view: view.slug, lambda view: f"“{view.title}”").values())


def live_views() -> tuple[LiveView, ...]:
    """What domains show live."""
    return tuple(module.LIVE for module in modules_called("live_view") if hasattr(module, "LIVE"))


def live_spends() -> tuple[LiveSpend, ...]:
    """What domains show of spending."""
    return tuple(module.SPEND for module in modules_called("live_spend") if hasattr(module, "SPEND"))
