"""Packages that may declare something, and their modules by name: the rooms of this package, its domains, and those of
packages installed beside it, which name themselves in the entry-point group `data_platform.domains`.
Belongs here: finding and importing them. Not here: any list of them, what their modules declare (discovery)."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import data_platform
from data_platform.core.errors import PlatformError
from data_platform.core.importing import importing

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
    if name in sys.modules:
        return sys.modules[name]
    with importing():
        return importlib.import_module(name)
