"""What declares tables, landing sources, assets, schedules, panels and notices: the rooms of this package, its domains,
and the domains of packages installed beside it, which name themselves in the entry-point group `data_platform.domains`.
Belongs here: finding these modules by name. Not here: any list of them, what definitions make of them."""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import data_platform
from data_platform.core.contract.graphs import GraphView
from data_platform.core.contract.notices import Notice
from data_platform.core.contract.panels import Dashboard
from data_platform.core.contract.queries import Query
from data_platform.core.contract.table import Table, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake import bitemporal

if TYPE_CHECKING:
    from data_platform.core.http.endpoints import Endpoint
    from data_platform.sources.landing_source import LandingSource
    from data_platform.sources.live_spend import LiveSpend
    from data_platform.sources.live_view import LiveView

DOMAINS = "data_platform.domains"
"""Package of our domains, and entry-point group of everybody else's: `name = "package"`."""


@functools.cache
def packages() -> dict[str, Path]:
    """Packages that may declare anything, with their folders: rooms, domains, installed domains, each in order of name.

    Raises PlatformError for an entry point that names no package."""
    here = Path(data_platform.__path__[0])
    found = dict(_within(data_platform.__name__, here)) | dict(_within(DOMAINS, here / "domains"))
    for entry in sorted(entry_points(group=DOMAINS), key=lambda entry: entry.name):
        spec = importlib.util.find_spec(entry.value)
        if spec is None or not spec.submodule_search_locations:
            raise PlatformError(
                f"The domain “{entry.name}” of {entry.dist.name if entry.dist else 'an installed package'} is to be in "
                f"{entry.value}, which is no package.",
                f"Correct the entry point of group {DOMAINS} in its pyproject.toml.",
            )
        found[entry.value] = Path(spec.submodule_search_locations[0])
    return found


def _within(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    return ((f"{package}.{one.name}", folder / one.name) for one in pkgutil.iter_modules([str(folder)]) if one.ispkg)


def modules_called(name: str) -> Iterator[ModuleType]:
    """The module `name` of each package that has one; of a package of that name, its modules."""
    for package, folder in packages().items():
        if (folder / f"{name}.py").is_file():
            yield _imported(f"{package}.{name}")
        elif (folder / name / "__init__.py").is_file():
            for module in pkgutil.iter_modules([str(folder / name)]):
                yield _imported(f"{package}.{name}.{module.name}")


def _imported(name: str) -> ModuleType:
    """The module. What importing makes stays: looking through it for garbage took 0.4 of 2.6 s of a start."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collecting:
            gc.enable()


@functools.cache
def know_contracts() -> None:
    """Import every module of contracts, and know the histories that are kept of tables. Without Dagster, whose import
    alone takes longer than a glance at the lake."""
    for kept_by_core in ("lake.moved_rows", "quality.profile_store", "quality.verdict_ledger"):
        importlib.import_module(f"data_platform.core.{kept_by_core}")
    for _ in modules_called("contracts"):
        pass
    for table in list(contracts().values()):
        if table.bitemporal:
            bitemporal.history_of(table)


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
    """The landing folders of every domain."""
    return tuple(source for module in modules_called("sources") for source in module.SOURCES)


@functools.cache
def dashboards() -> tuple[Dashboard, ...]:
    """The panels of every domain that declares some. Raises PlatformError for two of one title: it is their address."""
    found: dict[str, Dashboard] = {}
    for module in modules_called("panels"):
        shown: Dashboard = module.DASHBOARD
        if shown.slug in found:
            raise PlatformError(f"Two dashboards are called “{shown.title}”.", f"Rename that of {module.__name__}.")
        found[shown.slug] = shown
    return tuple(sorted(found.values(), key=lambda shown: (shown.position, shown.title)))


@functools.cache
def notices() -> tuple[Notice, ...]:
    """Rows of whose tables somebody is to be told, of every domain that declares some."""
    return tuple(notice for module in modules_called("notices") for notice in module.NOTICES)


@functools.cache
def queries() -> tuple[Query, ...]:
    """What can be asked of every domain's tables. Raises PlatformError for two of one name: it is their address."""
    found: dict[str, Query] = {}
    for module in modules_called("queries"):
        for query in module.QUERIES:
            if query.name in found:
                raise PlatformError(f"Two queries are called {query.name}.", f"Rename that of {module.__name__}.")
            found[query.name] = query
    return tuple(found.values())


@functools.cache
def endpoints() -> tuple[Endpoint, ...]:
    """What domains answer themselves. Raises PlatformError for a name that is taken: it is the address."""
    found: dict[str, Endpoint] = {}
    for module in modules_called("endpoints"):
        for endpoint in module.ENDPOINTS:
            if endpoint.name in found or any(query.name == endpoint.name for query in queries()):
                raise PlatformError(f"Two addresses are /v1/{endpoint.name}.", f"Rename that of {module.__name__}.")
            found[endpoint.name] = endpoint
    return tuple(found.values())


@functools.cache
def graph_views() -> tuple[GraphView, ...]:
    """The graphs of every domain that declares some. Raises PlatformError for two of one title: it is their address."""
    found: dict[str, GraphView] = {}
    for module in modules_called("graph_views"):
        for view in module.GRAPHS:
            if view.slug in found:
                raise PlatformError(f"Two graphs are called “{view.title}”.", f"Rename that of {module.__name__}.")
            found[view.slug] = view
    return tuple(found.values())


def live_views() -> tuple[LiveView, ...]:
    """What domains show live."""
    return tuple(module.LIVE for module in modules_called("live_view") if hasattr(module, "LIVE"))


def live_spends() -> tuple[LiveSpend, ...]:
    """What domains show of spending."""
    return tuple(module.SPEND for module in modules_called("live_spend") if hasattr(module, "SPEND"))
