"""Contracts against an earlier revision, and as Open Data Contract Standard documents.
Not here: what follows from a contract inside the platform (test_contracts)."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from open_data_contract_standard.model import OpenDataContractStandard

from data_platform.core.contract import table as core_contract
from data_platform.core.contract.table import Personal, Rule, Severity, Table, TableRule, column, within
from data_platform.core.errors import PlatformError
from data_platform.core.settings import PROJECT_ROOT
from data_platform.operations.contract_changes import (
    Breaks,
    Change,
    RevisionMissing,
    changes_between,
    compare_with,
    declared_since,
)
from data_platform.operations.contract_facts import table_facts
from data_platform.operations.odcs import export, odcs_yaml
from data_platform_tests.support.homes import all_tables

NOBODY, READERS, PRODUCERS = Breaks.NOBODY, Breaks.READERS, Breaks.PRODUCERS
BEFORE: dict[str, Any] = {
    "__doc__": "Orders.",
    "key": "testing/orders",
    "partition": "day",
    "primary_key": ("day", "order_id"),
    "owner": "team:testing",
    "retention": dt.timedelta(days=90),
    "fresh": within(hours=2),
    "row_rules": (
        Rule("paid", "paid", pl.col("amount") > 0),
        Rule("round", "round", pl.col("amount") % 1 == 0, Severity.WARNING),
    ),
    "table_rules": (),
    "columns": {
        "day": (dt.date, column("Day.")),
        "order_id": (str, column("Id.", min_length=2, pattern="^o")),
        "amount": (float, column("Price.", unit="EUR", ge=0, le=100)),
        "status": (str | None, column("State.", isin=("new", "paid"), severity=Severity.WARNING)),
    },
}


def facts(**changes: Any) -> dict[str, Any]:
    """Facts of the table with changed attributes; a column is replaced by name, or left out by None."""
    declared = BEFORE | {name: changed for name, changed in changes.items() if name in BEFORE}
    columns = BEFORE["columns"] | {name: changed for name, changed in changes.items() if name not in BEFORE}
    columns = {name: found for name, found in columns.items() if found is not None}
    body = {name: value for name, value in declared.items() if name != "columns"}
    body |= {name: declared_column for name, (_, declared_column) in columns.items()}
    body["__annotations__"] = {name: annotation for name, (annotation, _) in columns.items()}
    made = type("Orders", (Table,), body)
    return json.loads(json.dumps(table_facts(made, ())))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("changes", "message", "breaks"),
    [
        ({"note": (str | None, column("Note."))}, "column note added", NOBODY),
        ({"note": (str, column("Note."))}, "column note added, and every row must have it", PRODUCERS),
        ({"status": None}, "column status removed or renamed", READERS),
        ({"amount": (int, column("Price.", unit="EUR", ge=0, le=100))}, "column amount: type Float64 → Int64", READERS),
        ({"amount": (float, column("Price.", unit="USD", ge=0, le=100))}, "column amount: unit EUR → USD", READERS),
        ({"amount": (float | None, column("Price.", unit="EUR", ge=0, le=100))}, "column amount: may be null", READERS),
        ({"status": (str, BEFORE["columns"]["status"][1])}, "column status: may not be null any more", PRODUCERS),
        ({"amount": (float, column("Price.", unit="EUR", ge=1, le=100))}, "at least 0 → 1 (tighter)", PRODUCERS),
        ({"amount": (float, column("Price.", unit="EUR", ge=0, le=99))}, "at most 100 → 99 (tighter)", PRODUCERS),
        ({"amount": (float, column("Price.", unit="EUR", ge=-1, le=100))}, "at least 0 → -1 (looser)", NOBODY),
        ({"amount": (float, column("Price.", unit="EUR", ge=0))}, "at most 100 → none (looser)", NOBODY),
        ({"order_id": (str, column("Id.", min_length=2, pattern="^or"))}, "matches ^o → ^or (tighter)", PRODUCERS),
        ({"order_id": (str, column("Id.", min_length=3, pattern="^o"))}, "at least 2 → 3 (tighter)", PRODUCERS),
        (
            {"status": (str | None, column("State.", isin=("new",), severity=Severity.WARNING))},
            "one of new, paid → new (tighter)",
            NOBODY,
        ),
        ({"status": (str | None, column("State.", isin=("new", "paid")))}, "severity of its bounds", PRODUCERS),
        ({"amount": (float, column("Cost.", unit="EUR", ge=0, le=100))}, "description changed", NOBODY),
        ({"primary_key": ("order_id",)}, "primary key: day, order_id → order_id", READERS),
        ({"partition": None}, "partition: day → none", READERS),
        ({"retention": dt.timedelta(days=30)}, "retention: 90 → 30 days", READERS),
        ({"retention": None}, "retention: 90 → none days", NOBODY),
        ({"fresh": within(hours=3)}, "fresh after (s) changed", NOBODY),
        ({"__doc__": "All orders."}, "description changed", NOBODY),
        ({"owner": "team:others"}, "owner changed", NOBODY),
        ({"row_rules": BEFORE["row_rules"][:1]}, "rule round dropped", NOBODY),
        ({"row_rules": (*BEFORE["row_rules"], Rule("new", "n", pl.col("amount") > 5))}, "rule new added", PRODUCERS),
        (
            {"row_rules": (Rule("paid", "paid", pl.col("amount") > 1), BEFORE["row_rules"][1])},
            "rule paid: condition changed",
            PRODUCERS,
        ),
        (
            {"row_rules": (BEFORE["row_rules"][0], Rule("round", "round", pl.col("amount") % 1 == 0))},
            "rule round: severity warning → error",
            PRODUCERS,
        ),
        (
            {"table_rules": (TableRule("sums", "adds up", lambda rows: rows, severity=Severity.ERROR),)},
            "rule sums added (error)",
            PRODUCERS,
        ),
        ({"table_rules": (TableRule("sums", "adds up", lambda rows: rows),)}, "rule sums added (warning)", NOBODY),
        ({}, None, NOBODY),
    ],
)
def test_each_change_breaks_whom_it_breaks(changes: dict[str, Any], message: str | None, breaks: Breaks) -> None:
    found = list(changes_between({"testing/orders": facts()}, {"testing/orders": facts(**changes)}))
    if message is None:
        assert found == []
        return
    assert [change.breaks for change in found] == [breaks], found
    assert message in found[0].what


def test_all_tables_downstream_are_named() -> None:
    one = facts()
    before = {
        "a/events": one | {"inputs": []},
        "b/clean": one | {"inputs": ["a/events"]},
        "c/days": one | {"inputs": ["b/clean", "c/days"]},
        "d/features": one | {"inputs": ["c/days"]},
        "e/other": one | {"inputs": []},
    }
    now = {key: found for key, found in before.items() if key != "a/events"}
    assert list(changes_between(before, now)) == [
        Change("a/events", "table removed or renamed", READERS, ("b/clean", "c/days", "d/features"))
    ]


BOUND = st.one_of(st.none(), st.integers(-3, 3))


@given(name=st.sampled_from(["ge", "le"]), before=BOUND, now=BOUND)
def test_tighter_is_what_refuses_a_value_that_was_accepted(name: str, before: int | None, now: int | None) -> None:
    def accepted(bound: int | None) -> set[int]:
        meets: Callable[[int], bool] = lambda v: bound is None or (v >= bound if name == "ge" else v <= bound)  # noqa: E731
        return {value for value in range(-9, 10) if meets(value)}

    found = list(
        changes_between(
            {"t/t": facts(amount=(float, column("Price.", **{name: before})))},
            {"t/t": facts(amount=(float, column("Price.", **{name: now})))},
        )
    )
    assert bool(found) == (before != now)
    assert any(change.breaking for change in found) == bool(accepted(before) - accepted(now))


def test_a_declaration_counts_once_and_only_if_it_is_new() -> None:
    line = "- BREAKING a/b: gone\n"
    assert declared_since("", line) == {"a/b"}
    assert declared_since(line, line) == frozenset()
    assert declared_since(line, line + line) == {"a/b"}, "the same thing may happen again"
    assert declared_since("", "- BREAKING a/b:\n - BREAKING c/d: no\n") == frozenset(), "a reason is needed"


# --------------------------------------------------------------------------------------- revisions of a project
@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose one commit holds the platform as it is, but for this very feature."""
    root = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", "contract_changes.py", "contract_facts.py", "contracting.py")
    shutil.copytree(PROJECT_ROOT / "data_platform", root / "data_platform", ignore=ignored)
    shutil.copytree(PROJECT_ROOT / "dbt", root / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copy(PROJECT_ROOT / "pyproject.toml", root)
    (root / "docs").mkdir()
    git(root, "init", "--quiet")
    commit(root)
    return root


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, "-C", str(root), *arguments], check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "state")


def replace_in(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_break_is_found_named_and_can_be_declared(project: Path) -> None:
    assert compare_with("HEAD", project).changes == ()
    contracts = "data_platform/domains/gameplay/contracts/activity.py"
    last = 'dt.datetime = column("Last event of the session.")'
    replace_in(project, contracts, f"ended_at: {last}", f"finished_at: {last}")
    compared = compare_with("HEAD", project)
    downstream = ("gameplay/daily_metrics",)
    assert compared.changes == (
        Change("gameplay/player_sessions", "column ended_at removed or renamed", READERS, downstream),
        Change(
            "gameplay/player_sessions", "column finished_at added, and every row must have it", PRODUCERS, downstream
        ),
    )
    assert compared.undeclared == compared.changes
    (project / "docs/contract_changes.md").write_text("- BREAKING gameplay/player_sessions: renamed\n")
    assert compare_with("HEAD", project).undeclared == ()


def test_a_revision_that_cannot_be_compared_with_is_told_apart_from_a_broken_tree(project: Path) -> None:
    with pytest.raises(RevisionMissing, match="HEAD~1"):
        compare_with("HEAD~1", project)
    with pytest.raises(RevisionMissing, match="--output"):
        compare_with("--output=x", project)
    shutil.copytree(project / "data_platform", project.parent / "outside" / "data_platform")
    with pytest.raises(RevisionMissing):
        compare_with("HEAD", project.parent / "outside")
    (project / "data_platform/definitions.py").write_text("import not_there\n")
    with pytest.raises(PlatformError, match="not_there") as broken:
        compare_with("HEAD", project)
    assert not isinstance(broken.value, RevisionMissing)
    commit(project)
    git(project, "checkout", "--quiet", "HEAD~1", "--", "data_platform")
    with pytest.raises(RevisionMissing, match="not_there"):
        compare_with("HEAD", project)


def test_the_command_line_says_so_and_passes_where_there_is_no_revision() -> None:
    command = [sys.executable, "-m", "data_platform_tests.support.command", "contracts", "diff", "0" * 40]
    environment = os.environ | {"COLUMNS": "200"}
    strict = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    assert (strict.returncode, "Traceback" in strict.stderr) == (1, False)
    lenient = subprocess.run(
        [*command, "--if-there"], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True
    )
    assert lenient.returncode == 0
    assert "not compared" in lenient.stderr


# ------------------------------------------------------------------------------------------------------- ODCS
def test_every_contract_is_a_valid_odcs_document(tmp_path: Path) -> None:
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
    validator = jsonschema.Draft201909Validator(schema)
    tables = [table for table in all_tables() if not table.key.startswith("testing/")]
    written = export(tables, tmp_path / "contracts")
    assert [file.name for file in written] == [f"{table.key.replace('/', '.')}.odcs.yaml" for table in tables]
    for table, file in zip(tables, written, strict=True):
        document = yaml.safe_load(file.read_text())
        assert [error.message for error in validator.iter_errors(document)] == []
        read = OpenDataContractStandard.from_string(file.read_text())
        assert (read.apiVersion, read.kind, read.version) == ("v3.1.0", "DataContract", table.version())
        assert read.schema_ is not None
        properties = read.schema_[0].properties or []
        assert [p.name for p in properties] == list(table.columns)
        assert [p.name for p in properties if not p.required] == [c.name for c in table.columns.values() if c.nullable]
        keys = sorted((p.primaryKeyPosition, p.name) for p in properties if p.primaryKey)
        assert tuple(name for _, name in keys) == table.primary_key
        rules = {q.name for p in properties for q in p.quality or []} | {q.name for q in read.schema_[0].quality or []}
        declared = {r.name for r in (*table.rules(), *table.table_rules)}
        assert rules == declared | {"primary_key_unique"}


def test_bounds_personal_data_and_service_levels_are_in_the_document() -> None:
    facts()
    document = yaml.safe_load(odcs_yaml(core_contract.contract("testing/orders")))
    by_name = {p["name"]: p for p in document["schema"][0]["properties"]}
    assert by_name["amount"]["logicalTypeOptions"] == {"minimum": 0, "maximum": 100}
    assert "logicalTypeOptions" not in by_name["status"], "a warning keeps no row out"
    assert by_name["status"]["quality"][0]["arguments"] == {"validValues": ["new", "paid"]}
    assert by_name["day"]["partitioned"] is True
    assert document["team"] == {"name": "testing"}
    assert document["slaProperties"] == [
        {"property": "freshness", "value": 120, "unit": "min", "element": "orders.day"},
        {"property": "retention", "value": 90, "unit": "d", "element": "orders.day"},
    ]
    facts(order_id=(str, column("Id.", personal=Personal.DIRECT)))
    document = yaml.safe_load(odcs_yaml(core_contract.contract("testing/orders")))
    assert document["schema"][0]["properties"][1]["classification"] == "direct"
