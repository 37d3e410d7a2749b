"""What changed in the contracts since a git revision, and whom it breaks.
Belongs here: reading another revision, the rules of compatibility, declarations. Not here: showing it (cli).

Breaking for readers: what a query that worked may trip over. Breaking for producers: rows that were accepted may now be
refused, or days that were published may be held back. Everything else is compatible."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from data_platform.core.contract.table import Severity
from data_platform.core.errors import PlatformError
from data_platform.core.scratch import scratch_folder
from data_platform.core.settings import PROJECT_ROOT
from data_platform.operations import contract_facts

DECLARATIONS = "docs/contract_changes.md"
DECLARATION = re.compile(r"^- BREAKING (?P<table>[\w-]+/[\w-]+): *(?P<reason>\S.*)$", re.MULTILINE)
PACKAGE = "data_platform"
LOADED_WITH = ("dbt", "pyproject.toml")
"""What declares tables beside the package: SQL models, and where a checkout begins."""
Facts = Mapping[str, Any]


class Breaks(StrEnum):
    """Whom a change breaks."""

    NOBODY = "nobody"
    READERS = "readers"
    PRODUCERS = "producers"


@dataclass(frozen=True)
class Change:
    """One difference between two contracts of a table; `downstream` are all tables that are computed from it."""

    table: str
    what: str
    breaks: Breaks
    downstream: tuple[str, ...] = ()

    @property
    def breaking(self) -> bool:
        return self.breaks != Breaks.NOBODY


@dataclass(frozen=True)
class Comparison:
    """All changes since a revision, and the tables that were declared to break since then."""

    changes: tuple[Change, ...]
    declared: frozenset[str]

    @property
    def undeclared(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.breaking and change.table not in self.declared)


class RevisionMissing(PlatformError):
    """The revision cannot be compared with: no git, a shallow clone, a wrong name, contracts that do not load."""


def compare_with(revision: str, root: Path = PROJECT_ROOT) -> Comparison:
    """The working tree's contracts against those of a git revision.

    Raises RevisionMissing when git does not know the revision or its contracts cannot be loaded, PlatformError when
    those of the working tree cannot.
    """
    commit = _commit(revision, root)
    if _git(root, "diff", "--quiet", commit, "--", PACKAGE).returncode == 0 and not _untracked(root):
        return Comparison((), frozenset())
    with scratch_folder("data-platform-contracts-") as folder, ThreadPoolExecutor(2) as both:
        before = both.submit(lambda: contracts_in(_extracted(commit, root, folder)))
        now = both.submit(contracts_in, root)
        try:
            then = before.result()
        except PlatformError as error:
            raise RevisionMissing(f"At {revision}: {error.problem}", error.remedy) from None
        changes = tuple(changes_between(then, now.result()))
    declared_then = _git(root, "show", f"{commit}:{DECLARATIONS}").stdout.decode(errors="replace")
    file = root / DECLARATIONS
    return Comparison(changes, declared_since(declared_then, file.read_text(encoding="utf-8") if file.exists() else ""))


def declared_since(before: str, now: str) -> frozenset[str]:
    """Tables with a line `- BREAKING group/table: reason` more than before."""
    lines = Counter(match.group() for match in DECLARATION.finditer(now))
    lines.subtract(match.group() for match in DECLARATION.finditer(before))
    added = [line for line, count in lines.items() if count > 0]
    return frozenset(match["table"] for line in added if (match := DECLARATION.match(line)))


# --------------------------------------------------------------------------------------------- compatibility
def changes_between(before: Mapping[str, Facts], now: Mapping[str, Facts]) -> Iterator[Change]:
    """Every difference between two sets of contracts (as contract_facts tells them), by table."""
    for key in sorted(before.keys() | now.keys()):
        downstream = tuple(sorted(_downstream(key, before) | _downstream(key, now)))
        if key not in now:
            yield Change(key, "table removed or renamed", Breaks.READERS, downstream)
        elif key not in before:
            yield Change(key, "table added", Breaks.NOBODY)
        else:
            for what, breaks in (*_table_changes(before[key], now[key]), *_column_changes(before[key], now[key])):
                yield Change(key, what, breaks, downstream)


def _downstream(key: str, contracts: Mapping[str, Facts]) -> set[str]:
    found: set[str] = set()
    waiting = [key]
    while waiting:
        needed = waiting.pop()
        users = {user for user, facts in contracts.items() if needed in facts["inputs"]} - found
        found |= users
        waiting += users
    return found


def _table_changes(before: Facts, now: Facts) -> Iterator[tuple[str, Breaks]]:
    for name in ("primary_key", "partition"):
        if before[name] != now[name]:
            yield f"{name.replace('_', ' ')}: {_in_words(before[name])} → {_in_words(now[name])}", Breaks.READERS
    kept_before, kept_now = (facts["retention_days"] or float("inf") for facts in (before, now))
    if kept_before != kept_now:
        change = f"retention: {_in_words(before['retention_days'])} → {_in_words(now['retention_days'])} days"
        yield change, Breaks.READERS if kept_now < kept_before else Breaks.NOBODY
    for name in ("description", "owner", "fresh_seconds"):
        if before[name] != now[name]:
            yield f"{name.replace('_seconds', ' after (s)')} changed", Breaks.NOBODY
    rules_before, rules_now = before["rules"], now["rules"]
    for name in sorted(rules_before.keys() - rules_now.keys()):
        yield f"rule {name} dropped", Breaks.NOBODY
    for name in sorted(rules_now.keys() - rules_before.keys()):
        yield f"rule {name} added ({rules_now[name]['severity']})", _if_blocking(rules_now[name])
    for name in sorted(rules_now.keys() & rules_before.keys()):
        yield from _rule_changes(name, rules_before[name], rules_now[name])


def _rule_changes(name: str, before: Facts, now: Facts) -> Iterator[tuple[str, Breaks]]:
    if before["severity"] != now["severity"]:
        yield f"rule {name}: severity {before['severity']} → {now['severity']}", _if_blocking(now)
    elif before["condition"] != now["condition"]:
        # Whether a condition became tighter cannot be seen; one that blocks is taken for tighter.
        yield f"rule {name}: condition changed", _if_blocking(now)
    elif before["description"] != now["description"]:
        yield f"rule {name}: description changed", Breaks.NOBODY


def _column_changes(before: Facts, now: Facts) -> Iterator[tuple[str, Breaks]]:
    columns_before, columns_now = before["columns"], now["columns"]
    for name in (name for name in columns_before if name not in columns_now):
        yield f"column {name} removed or renamed", Breaks.READERS
    for name in (name for name in columns_now if name not in columns_before):
        if columns_now[name]["nullable"]:
            yield f"column {name} added", Breaks.NOBODY
        else:
            yield f"column {name} added, and every row must have it", Breaks.PRODUCERS
    for name in (name for name in columns_now if name in columns_before):
        for what, breaks in _changes_of_column(columns_before[name], columns_now[name]):
            yield f"column {name}: {what}", breaks


def _changes_of_column(before: Facts, now: Facts) -> Iterator[tuple[str, Breaks]]:
    for name in ("dtype", "unit"):
        if before[name] != now[name]:
            yield (
                f"{'type' if name == 'dtype' else name} {_in_words(before[name])} → {_in_words(now[name])}",
                Breaks.READERS,
            )
    if before["nullable"] != now["nullable"]:
        yield ("may be null now", Breaks.READERS) if now["nullable"] else ("may not be null any more", Breaks.PRODUCERS)
    if before["severity"] != now["severity"] and any(now[name] is not None for name in BOUNDS):
        yield f"severity of its bounds {before['severity']} → {now['severity']}", _if_blocking(now)
    for name, words in BOUNDS.items():
        if before[name] != now[name]:
            tighter = _tighter(name, before[name], now[name])
            which = "tighter" if tighter else "looser"
            change = f"{words} {_in_words(before[name])} → {_in_words(now[name])} ({which})"
            yield change, _if_blocking(now) if tighter else Breaks.NOBODY
    if before["references"] != now["references"]:
        yield f"references {_in_words(before['references'])} → {_in_words(now['references'])}", Breaks.NOBODY
    for name in ("description", "personal"):
        if before[name] != now[name]:
            yield f"{name} changed", Breaks.NOBODY


BOUNDS = {
    "ge": "at least",
    "le": "at most",
    "isin": "one of",
    "pattern": "matches",
    "min_length": "characters at least",
}


def _tighter(bound: str, before: Any, now: Any) -> bool:
    """Whether a value that met the bound may fail it now; of two patterns that is not known, so it may."""
    if now is None:
        return False
    if before is None or bound == "pattern":
        return True
    if bound == "isin":
        return not set(before) <= set(now)
    try:
        raised = float(now) > float(before)
    except (TypeError, ValueError):  # dates: ISO text sorts as they do
        raised = str(now) > str(before)
    return not raised if bound == "le" else raised


def _if_blocking(rule: Facts) -> Breaks:
    """Only rules of severity error refuse rows or hold days back."""
    return Breaks.PRODUCERS if rule["severity"] == Severity.ERROR.value else Breaks.NOBODY


def _in_words(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


# ------------------------------------------------------------------------------------------- other revisions
def contracts_in(root: Path) -> dict[str, Facts]:
    """The contracts of the project in a folder, loaded by a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATA_PLATFORM_")}
    with scratch_folder("data-platform-contracts-") as home:
        done = subprocess.run(
            [sys.executable, "-c", inspect.getsource(contract_facts)],
            cwd=root,
            env=environment | {"PYTHONPATH": str(root), "DATA_PLATFORM_HOME": str(home)},
            capture_output=True,
            timeout=120,
            check=False,
        )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise PlatformError(f"The contracts in {root} cannot be loaded: {lines[-1]}.", "Compare with another revision.")
    return dict(json.loads(done.stdout))


def _commit(revision: str, root: Path) -> str:
    remedy = "Name a commit that this clone has (a shallow clone lacks older ones: `git fetch --unshallow`)."
    try:
        found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except FileNotFoundError:
        raise RevisionMissing("There is no git on this machine.", "Install it to compare contracts.") from None
    if found.returncode != 0:
        raise RevisionMissing(f"git finds no commit {revision!r} in {root}.", remedy)
    return found.stdout.decode().strip()


def _untracked(root: Path) -> bool:
    return bool(_git(root, "ls-files", "--others", "--exclude-standard", "--", PACKAGE).stdout.strip())


def _extracted(commit: str, root: Path, folder: Path) -> Path:
    """What contracts are loaded from, as of the commit, under a folder."""
    there = _git(root, "ls-tree", "--name-only", commit, "--", *LOADED_WITH).stdout.decode().split()
    archive = _git(root, "archive", "--format=tar", commit, "--", PACKAGE, *there)
    if archive.returncode != 0:
        raise PlatformError(f"Commit {commit[:12]} has no folder {PACKAGE}.", "Compare with a later revision.")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=60, check=False)
