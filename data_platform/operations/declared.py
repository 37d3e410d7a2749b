"""What the definitions declare (lineage, steps, blocking checks), kept in the home: known without Dagster, whose import
alone takes longer than a glance at the lake. Not here: any declaration, finding contracts (core/discovery)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_platform.core.contract import lineage
from data_platform.core.contract.table import Days, contracts
from data_platform.core.discovery import know_contracts
from data_platform.core.durable import move_durably
from data_platform.core.packages import packages
from data_platform.core.settings import PROJECT_ROOT, settings

DEFINITIONS = "data_platform.definitions"
KEPT = "lineage.json"


@dataclass(frozen=True)
class Steps:
    """Which step computes a table, and which checks keep what is downstream waiting."""

    of_table: Mapping[str, str]
    """Key → step, of the tables that a step computes."""
    blocking: frozenset[tuple[str, str]]
    """(table, check)."""


def know_lineage() -> None:
    """Know what each table is computed from: by the definitions once, then by what was kept of them until the code
    changes. Importing them takes 1.6 s of processor time, reading what was kept 3 ms."""
    know_contracts()
    if DEFINITIONS in sys.modules:
        return
    kept = _read(settings().home / KEPT)
    if kept.get("code") != _digest_of_code():
        importlib.import_module(DEFINITIONS)
        keep_lineage()
        return
    tables = contracts()
    for key, inputs in kept["inputs"].items():
        days = [Days(tables[needed], first, last) for needed, first, last in inputs]
        lineage.declare_inputs(tables[key], days, tables.get(kept["computed_with"].get(key)))


def declared_steps() -> Steps:
    """What the definitions say of steps, known as the lineage is. The lineage is known then too."""
    know_lineage()
    if DEFINITIONS in sys.modules:
        return steps_of(sys.modules[DEFINITIONS].defs)
    kept = _read(settings().home / KEPT)
    return Steps(kept["steps"], frozenset((table, check) for table, check in kept["blocking"]))


def steps_of(defs: Any) -> Steps:
    """By the definitions themselves."""
    graph = defs.resolve_asset_graph()
    there = {"/".join(key.path): key for key in graph.materializable_asset_keys}
    return Steps(
        {
            table.key: defs.get_assets_def(there[table.key]).op.name
            for table in contracts().values()
            if table.key in there
        },
        frozenset(
            ("/".join(check.asset_key.path), check.name)
            for check in graph.asset_check_keys
            if graph.get(check).blocking
        ),
    )


def keep_lineage() -> None:
    """Keep what the imported definitions declare, for the next glance; nothing where the home may not be written to."""
    file, code = settings().home / KEPT, _digest_of_code()
    if _read(file).get("code") == code or not file.parent.is_dir():
        return
    inputs = {key: [(d.table.key, d.first, d.last) for d in needed] for key, needed in lineage.INPUTS.items()}
    computed_with = {key: table.key for key, table in lineage.COMPUTED_WITH.items()}
    steps = steps_of(sys.modules[DEFINITIONS].defs)
    declared = {
        "inputs": inputs,
        "computed_with": computed_with,
        "steps": dict(steps.of_table),
        "blocking": sorted(steps.blocking),
    }
    written = file.with_name(f".{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        written.write_text(json.dumps({"code": code} | declared))
        move_durably(written, file)


def _read(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _digest_of_code() -> str:
    """Of names, sizes and times of all code and SQL: what the lineage is declared in."""
    digest = hashlib.blake2b(digest_size=16)
    for root in (*packages().values(), PROJECT_ROOT / "dbt" / "models", PROJECT_ROOT / "dbt" / "tests"):
        for file in sorted(_code(root)):
            found = file.stat()
            digest.update(f"{file} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _code(root: Path) -> Iterator[Path]:
    return (file for ending in ("*.py", "*.sql") for file in root.rglob(ending))
