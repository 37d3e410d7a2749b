"""The manifests of dbt projects: made by `dbt parse` once per change of their files, kept in the home.
Belongs here: which project, what its manifest is, where it is kept. Not here: what is made of it (assets)."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_platform.core.durable import write_durably
from data_platform.core.errors import PlatformError
from data_platform.core.scratch import scratch_folder
from data_platform.core.settings import PROJECT_ROOT, settings
from data_platform.warehouse.exchange import message
from data_platform.warehouse.nodes import Nodes, is_lake_table

PROJECT = PROJECT_ROOT / "dbt"
COMMITTED = PROJECT / "manifest.json"
"""What the code location needs of our manifest, written by `make docs`: loading it starts no dbt, which takes 4 s."""
MANIFEST, PARSED = "manifest.json", "partial_parse.msgpack"
WRITTEN_BY_DBT = ("target", "logs")
DBT = str(Path(sys.executable).with_name("dbt"))
KEPT_OF_NODES = (
    "unique_id", "resource_type", "name", "schema", "package_name", "fqn", "tags", "original_file_path",
    "attached_node",
)  # fmt: skip


def digest(project: Path) -> str:
    """Of everything that a manifest follows from."""
    hashed = hashlib.blake2b(f"{version('dbt-core')} {version('dbt-duckdb')}".encode(), digest_size=8)
    for path in sorted(project.rglob("*")):
        inside = path.relative_to(project)
        if path.is_file() and path.suffix in {".sql", ".yml", ".csv", ".py"} and inside.parts[0] not in WRITTEN_BY_DBT:
            hashed.update(f"{inside}\0".encode() + path.read_bytes())
    return hashed.hexdigest()


def manifest(project: Path) -> Mapping[str, Any]:
    """The manifest of a project as its files are; dbt parses it when nothing that is kept tells it. Raises
    PlatformError with dbt's message when a file is wrong."""
    return _manifest(project, digest(project))


@functools.lru_cache(maxsize=8)
def _manifest(project: Path, digest_of_files: str) -> Mapping[str, Any]:
    if project == PROJECT and COMMITTED.exists():
        committed: dict[str, Any] = json.loads(COMMITTED.read_text())
        if committed["metadata"]["digest"] == digest_of_files:
            return committed
    kept = _kept(digest_of_files) / MANIFEST
    if not kept.exists():
        parse(project, kept.parent)
    found: Mapping[str, Any] = json.loads(kept.read_text())
    return found


def _kept(digest_of_files: str) -> Path:
    return settings().home / "dbt" / digest_of_files


def parse(project: Path, to: Path) -> None:
    """Have dbt parse a project, and keep what it made of it in a folder."""
    with scratch_folder("data-platform-dbt-") as target:
        places = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(target)]
        command = [DBT, "--log-format", "json", "parse", *places, "--log-path", str(target)]
        ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, cwd=project, check=False)
        if ended.returncode:
            raise PlatformError(f"dbt cannot parse {project}: {_last_words(ended.stdout)}", "Correct the file.")
        to.mkdir(parents=True, exist_ok=True)
        for name in (PARSED, MANIFEST):
            if (target / name).exists():
                write_durably(to / name, (target / name).read_bytes())


def _last_words(log: str) -> str:
    errors = []
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("info", {}).get("level") == "error":
            errors.append(message(event))
    return " ".join(errors)[:1000] or log[-500:]


def bring_parsed(digest_of_files: str, target: Path) -> None:
    """Put what dbt kept of its last parsing where the next run looks for it: that saves it 2 s."""
    kept = _kept(digest_of_files) / PARSED
    if kept.exists():
        shutil.copy(kept, target / PARSED)


def keep_parsed(digest_of_files: str, target: Path) -> None:
    """Keep it from a run."""
    kept = _kept(digest_of_files) / PARSED
    if not kept.exists() and (target / PARSED).exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_durably(kept, (target / PARSED).read_bytes())


def needed_of(full: Mapping[str, Any], digest_of_files: str) -> dict[str, Any]:
    """What the code location needs of a manifest."""
    nodes = {}
    for unique_id, node in sorted(full["nodes"].items()):
        config = {
            name: node["config"].get(name)
            for name in ("materialized", "severity", "meta", "enabled")
            if node["config"].get(name) not in (None, {})
        }
        nodes[unique_id] = {
            **{name: node[name] for name in KEPT_OF_NODES if node.get(name) not in (None, [])},
            "config": config,
            "depends_on": {"nodes": node["depends_on"].get("nodes", [])},
        }
    names = ("dbt_schema_version", "dbt_version", "adapter_type", "project_name")
    metadata = {name: full["metadata"][name] for name in names} | {"digest": digest_of_files}
    return {"metadata": metadata, "nodes": nodes}


def lake_models(nodes: Nodes) -> dict[str, str]:
    """Key of a contract → the id of its model."""
    return {f"{node['schema']}/{node['name']}": unique_id for unique_id, node in nodes.items() if is_lake_table(node)}


def write() -> Path:
    """Write the committed one."""
    with scratch_folder("data-platform-manifest-") as folder:
        parse(PROJECT, folder)
        full = json.loads((folder / MANIFEST).read_text())
    COMMITTED.write_text(json.dumps(needed_of(full, digest(PROJECT)), indent=0, sort_keys=True) + "\n")
    return COMMITTED
