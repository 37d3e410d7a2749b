"""The definitions, loaded while the screen says so. Not here: what is defined."""

from __future__ import annotations

from typing import Any

from data_platform.core.importing import importing
from data_platform.core.terminal import busy


def load_definitions() -> Any:
    with busy("loading the definitions"), importing():
        from data_platform.definitions import defs
        from data_platform.operations.declared import keep_lineage

        keep_lineage()
    return defs
