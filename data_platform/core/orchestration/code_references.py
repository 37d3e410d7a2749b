"""Where the code of an asset is, for the links on its page: the contract, and the transform or the SQL.
Not here: what an asset is (assets)."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Table
from data_platform.core.settings import PROJECT_ROOT, settings


def code_references(table: type[Table], *more: Callable[..., Any] | Path) -> dg.CodeReferencesMetadataValue:
    """Links to the contract and to functions or files; into the repository where `DATA_PLATFORM_CODE_URL` names it."""
    named = re.sub("History$", "", table.__name__)  # a journal's contract is made from its table's
    contract = Path(sys.modules[table.__module__].__file__ or "")
    places = [(contract, _line_of_class(contract, named), "contract")]
    for one in more:
        if isinstance(one, Path):
            places.append((one, 1, "SQL"))
        else:
            places.append((Path(one.__code__.co_filename), one.__code__.co_firstlineno, "transform"))
    return dg.CodeReferencesMetadataValue(code_references=[_reference(*place) for place in places])


def _reference(path: Path, line: int, label: str) -> dg.LocalFileCodeReference | dg.UrlCodeReference:
    base = settings().code_url
    if base and path.is_relative_to(PROJECT_ROOT):
        url = f"{base.rstrip('/')}/{path.relative_to(PROJECT_ROOT).as_posix()}#L{line}"
        return dg.UrlCodeReference(url=url, label=label)
    return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=label)


def _line_of_class(path: Path, name: str) -> int:
    return _classes(path).get(name, 1)


@functools.cache
def _classes(path: Path) -> dict[str, int]:
    """Class → its line, by reading the text once: `inspect` parses the file for every class, 80 times at a load."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    found = ((re.match(r"class (\w+)", line), number) for number, line in enumerate(lines, 1))
    return {match[1]: number for match, number in found if match}
