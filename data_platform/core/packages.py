"""Packages that may declare something, and their modules by name: the rooms of this package, its domains, and those of
packages installed beside it, which name themselves in the entry-point group `data_platform.domains`.
Belongs here: finding and importing them. Not here: any list of them, what their modules declare (discovery)."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import data_platform
from data_platform.core.errors import PlatformError
from data_platform.core.importing import importing

D = TypeVar("D")
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
    """The module `name` of each package that has one; of a package of that name, its modules.

    Raises PlatformError for one of an installed domain that cannot be imported."""
    for package, folder in packages().items():
        if (folder / f"{name}.py").is_file():
            yield _imported(f"{package}.{name}")
        elif (folder / name / "__init__.py").is_file():
            for module in pkgutil.iter_modules([str(folder / name)]):
                yield _imported(f"{package}.{name}.{module.name}")


def declared_in(module_name: str, attribute: str) -> Iterator[tuple[ModuleType, Any]]:
    """What each module of that name lists under an attribute, with the module, one after the other.

    Raises PlatformError for a module that lists nothing there."""
    for module in modules_called(module_name):
        listed = getattr(module, attribute, None)
        if not isinstance(listed, tuple | list):
            raise PlatformError(
                f"{module.__name__} has no {attribute} that is a tuple.",
                f"Write {attribute} = (…,) there, with a comma also behind a single one, or remove the module.",
            )
        yield from ((module, one) for one in listed)


def by_name(
    what: str,
    declared: Iterable[tuple[ModuleType, D]],
    name: Callable[[D], str],
    told: Callable[[D], str] | None = None,
) -> dict[str, D]:
    """What modules declare, by a name that two of them may not have. Raises PlatformError where they do."""
    found: dict[str, D] = {}
    for module, one in declared:
        if name(one) in found:
            raise PlatformError(f"Two {what} are called {(told or name)(one)}.", f"Rename that of {module.__name__}.")
        found[name(one)] = one
    return found


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    try:
        with importing():
            return importlib.import_module(name)
    except Exception as error:
        installed = [one for one in entry_points(group=DOMAINS) if name.startswith(f"{one.value}.")]
        if not installed or isinstance(error, PlatformError):
            raise
        entry = installed[0]
        raise PlatformError(
            f"The domain “{entry.name}” cannot be loaded: {name} stops with {type(error).__name__}: {error}.",
            "Correct it (--debug shows the line), or take it out with `pip uninstall "
            f"{entry.dist.name if entry.dist else entry.name}`: its tables stay, and the platform runs without it.",
        ) from error
