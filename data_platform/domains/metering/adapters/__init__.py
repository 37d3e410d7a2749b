"""One module for each shape that usage is reported in, found by its name: `read` makes a UsageReport of a payload, or
raises Refused with the reason. Belongs here: what a provider or tool calls things, and what it counts within what.
Not here: lines, tables, which of several reports counts."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from data_platform.domains.metering.usage_report import UsageReport

Adapter = Callable[[Mapping[str, Any]], UsageReport]


@functools.cache
def formats() -> tuple[str, ...]:
    """The shapes there are an adapter for, which are the names of this package's modules."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@functools.cache
def adapter_module(name: str) -> ModuleType | None:
    """The module of a format; None for a shape that nobody reads."""
    return importlib.import_module(f"{__name__}.{name}") if name in formats() else None


def adapter_of(name: str) -> Adapter | None:
    """What reads payloads of a format; None for a shape that nobody reads."""
    module = adapter_module(name)
    return module.read if module else None
