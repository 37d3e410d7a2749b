"""The code of an asset: where it is, for the links on its page, and a digest that changes when what computes it does.
Not here: what an asset is (assets)."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from data_platform.core.contract.table import Table
from data_platform.core.settings import PROJECT_ROOT, settings


def code_references(table: type[Table], *more: Callable[..., Any] | Path) -> dg.CodeReferencesMetadataValue:
    """Links to the contract and to functions or files; into the repository where `DATA_PLATFORM_CODE_URL` names it."""
    named = re.sub("History$", "", table.__name__)  # a journal's contract is made from its table's
    contract = Path(getattr(sys.modules[table.__module__], "__file__", None) or "")  # none of a notebook
    places = [(contract, _line_of_class(contract, named), "contract")]
    for one in more:
        if isinstance(one, Path):
            places.append((one, 1, "SQL"))
        else:
            places.append((Path(one.__code__.co_filename), one.__code__.co_firstlineno, "transform"))
    return dg.CodeReferencesMetadataValue(code_references=[_reference(*place) for place in places])


def code_version(table: type[Table], *code: Callable[..., Any] | Path) -> str:
    """Changes with the contract, and with what computes the table: the function, its module (but not where assets are
    declared) and those of its own package that it names, or the SQL. Days that failed are asked for again when it
    does."""
    digest = hashlib.blake2b(table.version().encode(), digest_size=6)
    for one in code:
        for text in [_text_of(one)] if isinstance(one, Path) else _texts_behind(one):
            digest.update(text)
    return digest.hexdigest()


def _texts_behind(function: Callable[..., Any]) -> Iterator[bytes]:
    yield function.__code__.co_code + repr(function.__code__.co_consts).encode()
    room, _, own = function.__module__.rpartition(".")
    if own != "assets" and room:
        yield _text_of(Path(function.__code__.co_filename))
    for name in function.__code__.co_names:
        named = function.__globals__.get(name)
        module = named if isinstance(named, ModuleType) else sys.modules.get(getattr(named, "__module__", None) or "")
        if module and module.__name__.startswith(f"{room}.") and (file := getattr(module, "__file__", None)):
            yield _text_of(Path(file))


@functools.cache
def _text_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


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
